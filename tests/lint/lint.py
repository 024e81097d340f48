"""What the lints share: the build's facts, a compiler for samples, and the samples' promise.

A lint is tests/lint/test_NAME.py. It looks at the project, and at its samples: files in
tests/lint/samples/ that break its rule, each of which has to be refused. A sample says why in its
first lines, `Refused: TEXT`, and TEXT has to be in the complaint.

Not a suite itself: no test_ in the name, not executable.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
SAMPLES = pathlib.Path(__file__).resolve().parent / "samples"

sys.path.insert(0, str(ROOT))

from tests import cases  # pylint: disable=wrong-import-position # after the path


def run(*command):
    """Run a program in the project's folder; return its output, fail with what it says."""
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                            env=dict(os.environ, LC_ALL="C"))
    if result.returncode != 0:
        raise cases.Failure(f"{shlex.join(map(str, command))} failed:\n"
                            f"{result.stdout}{result.stderr}")
    return result.stdout


def facts():
    """What tests/lint/lint.mk wrote down: {"core": [sources], "x64": [flags], ...}."""
    path = BUILD / "lint" / "facts"
    if not path.exists():
        raise cases.Failure(f"{path} is missing: run `make lint-objects`")
    rows = (shlex.split(line) for line in path.read_text().splitlines())
    return {row[0]: row[1:] for row in rows if row}


def objects(variant, sources):
    """The objects of these sources; one that was not built is a failure."""
    paths = [BUILD / variant / "obj" / pathlib.Path(source).with_suffix(".o")
             for source in sources]
    missing = [str(path.relative_to(ROOT)) for path in paths if not path.exists()]
    if missing or not paths:
        raise cases.Failure(f"not built: {' '.join(missing) or 'anything'}")
    return paths


def compile_sample(name, *flags):
    """Compile tests/lint/samples/NAME with these flags; return the object."""
    source = SAMPLES / name
    target = BUILD / "lint" / "samples" / pathlib.Path(name).with_suffix(".o")
    target.parent.mkdir(parents=True, exist_ok=True)
    run("gcc", *flags, "-Wno-missing-prototypes", "-c", str(source.relative_to(ROOT)), "-o",
        str(target))
    return target


def promise(path):
    """The text that a sample says it is refused with."""
    match = re.search(r"Refused: (.*?)\.?(?: \*/)?$", path.read_text(errors="replace"), re.M)
    if not match:
        raise cases.Failure(f"{path.name} does not say `Refused: TEXT`")
    return match.group(1)


def check_samples(folder, complaints_of):
    """Every file below samples/FOLDER has to give a complaint, and the one that it says.

    complaints_of(path) returns a list of lines.
    """
    paths = sorted(path for path in (SAMPLES / folder).rglob("*") if path.is_file())
    cases.check(paths, f"no samples in {folder}")
    for path in paths:
        complaints = complaints_of(path)
        text = promise(path)
        cases.check(any(text in line for line in complaints),
                    f"{path.relative_to(SAMPLES)} is not refused with '{text}' but with:\n"
                    + ("\n".join(complaints) or "nothing"))


def check_none(complaints, what):
    """Fail with every complaint, the count in the first line."""
    if complaints:
        raise cases.Failure(f"{len(complaints)} {what}\n" + "\n".join(complaints))


def files(*patterns, folders=("core", "drivers", "efi", "include", "tools", "tests")):
    """The project's own files with these names, samples aside."""
    for folder in folders:
        for pattern in patterns:
            for path in sorted((ROOT / folder).rglob(pattern)):
                if path.is_file() and SAMPLES not in path.parents:
                    yield path

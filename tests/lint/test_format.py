#!/usr/bin/python3
"""How files look: clang-format for C, and for every text file of ours

    no tab (makefiles aside), no blank at a line's end, at most 100 columns, a line feed at the end;
    its first words are a comment that says what it is.

Scripts for the shell pass shellcheck; scripts for Python compile.
"""

import json
import os
import re

import lint
from tests import cases

MAX_COLUMNS = 100
SUFFIXES = ("*.c", "*.h", "*.S", "*.py", "*.sh", "*.mk", "*.awk", "*.lds")
# What a file begins with; the comment has to say something, so three words.
HEADS = {
    ".c": re.compile(r"/\* ?\S+(\s+\S+){2}"),
    ".py": re.compile(r'(#!/usr/bin/python3\n)?(# [^\n]*\n)*"""\S+(\s+\S+){2}'),
    ".sh": re.compile(r"#!/[^\n]*\n#\s*\S+(\s+\S+){2}"),
    ".mk": re.compile(r"# \S+(\s+\S+){2}"),
}
HEADS |= {".h": HEADS[".c"], ".S": HEADS[".c"]}


def text_complaints(path):
    text = path.read_text()
    name = path.name
    # A here-document may hold a tab, and so may a recipe begin with one.
    tab = re.compile(r"^\s*\t" if path.suffix == ".sh" else r"\t")
    complaints = []
    for number, line in enumerate(text.split("\n"), 1):
        if tab.search(line) and path.suffix != ".mk" and name != "Makefile":
            complaints.append(f"{path}:{number}: tab")
        if line != line.rstrip():
            complaints.append(f"{path}:{number}: blank at the end of the line")
        if len(line) > MAX_COLUMNS:
            complaints.append(f"{path}:{number}: {len(line)} columns")
    if not text.endswith("\n") or text.endswith("\n\n"):
        complaints.append(f"{path}: does not end with one line feed")
    head = HEADS.get(".mk" if name == "Makefile" else path.suffix)
    if head and not head.match(text):
        complaints.append(f"{path}: does not begin with a comment that says what it is")
    return complaints


def clang_format_complaints(paths):
    """Ask once for all files: every place where clang-format would change something."""
    result = lint.subprocess.run(
        ["clang-format", "--dry-run", "-Werror", "--ferror-limit=3", *map(str, paths)],
        cwd=lint.ROOT, capture_output=True, text=True, check=False)
    return [line for line in result.stderr.splitlines() if "error:" in line]


def shellcheck_complaints(paths):
    """shellcheck reads the scripts as bash; what they source is theirs."""
    result = lint.subprocess.run(["shellcheck", "--format=json", "--shell=bash", *map(str, paths)],
                                 cwd=lint.ROOT, capture_output=True, text=True, check=False)
    if result.returncode > 1:
        return [f"shellcheck: {result.stderr}"]
    return [f"{row['file']}:{row['line']}: SC{row['code']} {row['message']}"
            for row in json.loads(result.stdout)]


def compile_complaints(path):
    try:
        compile(path.read_text(), str(path), "exec")
    except SyntaxError as error:
        return [f"{path}: {error}"]
    return []


def is_bash(path):
    return path.read_text().startswith("#!/bin/bash")


def sample_complaints(path):
    complaints = text_complaints(path)
    if path.suffix in (".c", ".h"):
        complaints += clang_format_complaints([path])
    if path.suffix == ".sh":
        complaints += shellcheck_complaints([path])
    if path.suffix == ".py":
        complaints += compile_complaints(path)
    return complaints


def c_files():
    return [*lint.files("*.c", "*.h"),
            *(path for path in sorted(lint.SAMPLES.rglob("*.[ch]")) if "format" not in path.parts)]


def test_format_samples_are_refused():
    lint.check_samples("format", sample_complaints)


def test_format_text_of_every_file():
    paths = [*lint.files(*SUFFIXES), lint.ROOT / "Makefile"]
    cases.check(len(paths) > 50, f"only {len(paths)} files were found")
    lint.check_none([line for path in paths for line in text_complaints(path)], "complaints")


def test_format_clang_format():
    paths = c_files()
    cases.check(len(paths) > 50, f"only {len(paths)} files were found")
    lint.check_none(clang_format_complaints(paths), "places that clang-format would change")


def test_format_shellcheck():
    paths = [path for path in lint.files("*.sh") if is_bash(path)]
    cases.check(paths, "no shell script was found")
    lint.check_none(shellcheck_complaints(paths), "complaints of shellcheck")


def test_format_python_compiles():
    complaints = [line for path in lint.files("*.py") for line in compile_complaints(path)]
    lint.check_none(complaints, "Python files that do not compile")


def test_format_suites_can_be_started():
    """The runner starts shell suites directly: they have to be executable."""
    complaints = [f"{path}: is not executable" for path in lint.files("test_*.sh")
                  if not os.access(path, os.X_OK)]
    lint.check_none(complaints, "suites")


if __name__ == "__main__":
    cases.main(globals())

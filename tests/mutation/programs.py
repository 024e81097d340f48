"""The test programs that make built, with sanitizers and without, and how a mutant gets into one.

The mutant's file is compiled as make does it, and the program is linked with this object in front
of the archives. May run make, the compiler and the programs. Invariant: nothing that make built is
changed; all that is made here is in the folder that the caller gives.
"""

import os
import pathlib
import shlex
import subprocess
import sys

from tests.mutation import mutants
from tools import speed

ROOT = mutants.ROOT
BUILD = os.environ.get("BUILD", "build")
SAN = f"{BUILD}/san"
# The same programs without sanitizers: several times as fast, and enough for most mistakes.
PLAIN = f"{BUILD}/mutation/plain"
PLAIN_SETTINGS = (f"BUILD={PLAIN}", f"THIRD_PARTY={BUILD}/third_party", "SAN_FLAGS=",
                  "SAN_CFLAGS=$(COMMON_CFLAGS) -Wno-error -O1 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64")
# These draw random operations, fail every call in turn or cut the power: minutes each. A mistake is
# to be noticed by a test that was meant to.
LEFT_OUT = ("tests/fault/test_amend_cuts", "tests/fault/test_bitmap_cuts", "tests/fault/test_crash",
            "tests/fault/test_fail_nth", "tests/fault/test_header_cuts", "tests/fault/test_model",
            "tests/fuzz_write/")
# Seconds for a program beyond 8 times what it takes without a mistake: of a processor, so that
# other programs do not matter, and of a watch for one that sleeps for ever.
CPU_SECONDS = 4
WATCH_SECONDS = 60


def test_names():
    """Names of the programs that may notice a mistake, such as tests/unit/core/read/test_window."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "tests").rglob("test_*.c"))
    names = sorted(str(path) for path in paths
                   if os.access(ROOT / SAN / path, os.X_OK)
                   and not str(path).startswith(LEFT_OUT))
    if not names:
        sys.exit("mutate: no test program; run `make san`")
    return names


def build_plain(names):
    """Let make build the programs without sanitizers."""
    print("the programs are built without sanitizers", flush=True)
    subprocess.run(["make", "-s", f"-j{os.environ.get('JOBS', 2)}", *PLAIN_SETTINGS,
                    *(f"{PLAIN}/san/{name}" for name in names)],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Programs:
    """make's commands for the programs in a folder, such as build/san."""

    def __init__(self, names, folder, settings=()):
        self.folder = folder
        self.commands = make_commands(names, folder, settings)

    def command(self, target):
        """The words of the command that makes a target below the folder."""
        path = f"{self.folder}/{target}"
        if path not in self.commands:
            sys.exit(f"mutate: make has no command for {path}")
        return shlex.split(self.commands[path])


def make_commands(names, folder, settings):
    """{target: command} of every program and every source that has mutants, from one dry run."""
    touched = mutants.sources("") + [f"{name}.c" for name in names]
    done = subprocess.run(["make", "-n", "--no-print-directory", *settings,
                           *(word for path in touched for word in ("-W", path)),
                           *(f"{folder}/{name}" for name in names)],
                          cwd=ROOT, capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.replace("\\\n", " ").splitlines():
        words = line.split()
        if "-o" in words[:-1]:
            found[words[words.index("-o") + 1]] = line
    return found


def object_of(source):
    return f"obj/{pathlib.Path(source).with_suffix('.o')}"


def compile_mutant(programs, mutant, folder):
    """Make the object of a mutant; False if it does not compile."""
    lines = (ROOT / mutant.source).read_text(encoding="utf-8").split("\n")
    lines[mutant.number] = mutant.after
    source = folder / mutant.source
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("\n".join(lines), encoding="utf-8")
    words = programs.command(object_of(mutant.source))
    words[words.index("-o") + 1] = str(folder / "mutant.o")
    words[words.index("-c") + 1] = str(source)
    words = [word for word in words if word not in ("-MMD", "-MP", "-fstack-usage", "-Werror")]
    # Wrong types are what the compiler notices, and no mistake that a test has to.
    at = words.index("-c")
    words[at:at] = ["-Wno-error", "-Werror=incompatible-pointer-types", "-Werror=int-conversion",
                    "-iquote", str(pathlib.Path(mutant.source).parent)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode == 0


def link_mutant(programs, name, mutant, folder):
    """Link a test program with the mutant's object; return its path."""
    words = programs.command(name)
    at = words.index("-o") + 1
    words[at] = str(folder / "program")
    words = [word for word in words if word != f"{programs.folder}/{object_of(mutant.source)}"]
    words[at + 1:at + 1] = ["-Wl,-S", str(folder / "mutant.o")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"mutate: {name} does not link with {mutant.key()}:\n{done.stderr[-500:]}")
    return folder / "program"


def run_program(path, seconds):
    """The exit status of a program that takes so many seconds of a processor without a mistake;
    None: out of time. It ends after the first case that fails."""
    limit = int(CPU_SECONDS + 8 * seconds)
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", LC_ALL="C.UTF-8", T_STOP="1")
    try:
        status = subprocess.run(["prlimit", f"--cpu={limit}:{limit}", str(path)], cwd=ROOT,
                                env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                timeout=speed.stretch(WATCH_SECONDS + limit),
                                check=False).returncode
    except subprocess.TimeoutExpired:
        return None
    return None if status == -9 else status

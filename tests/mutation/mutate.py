#!/usr/bin/python3
"""Mutation testing of the tests: make small mistakes in the code, and see whether a test notices.

    tests/mutation/mutate.py [--count 60] [--seed N] [--only PART] [--all] [--json FILE]
    tests/mutation/mutate.py --list --count 400 --seed 1     only show the mutants

A mutant is one change in one function: a relation or a logical operator is turned, a constant is
changed, a statement is left out, two arguments are swapped, or a check that ends a function is
removed.
The object of its file is compiled again, each test program that contains the file is linked with it
(`make san` must have built them), and the programs run until one fails: caught. The program that
mirrors the file comes first. Programs that take long come last, and only with --all. A file that no
program on the host contains is counted apart.

Mutants that cannot be noticed, because they do the same, are listed with the reason in
tests/mutation/equivalent.txt. A mutant that does not compile is not counted. The result is text,
and JSON with --json; the exit status is 1 if a mutant survived.
"""

import argparse
import atexit
import dataclasses
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tools import speed  # noqa: E402

BUILD = os.environ.get("BUILD", "build")
SAN = f"{BUILD}/san"
# Several runs may go on at the same time.
WORK = ROOT / BUILD / f"mutation/{os.getpid()}"
EQUIVALENT = ROOT / "tests/mutation/equivalent.txt"
# What is mutated; what does not exist is left out.
SOURCES = ("core/*/*.c", "drivers/efi/block_io.c", "drivers/efi/disk_io.c", "efi/config/*.c",
           "efi/driver/attach_disk.c", "efi/driver/detach_disk.c", "efi/driver/publish.c",
           "efi/driver/registry.c", "efi/driver/volumes.c")
# A program below tests/fault/, or one that takes longer on the reference machine, needs --all.
QUICK_SECONDS = 20
TOO_LONG = 1e9
LIMIT_SECONDS = 20  # and then 4 times what the program takes without a mistake

RELATIONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
             "&&": "||", "||": "&&"}
OPERATOR = re.compile(r" (<=|>=|==|!=|&&|\|\||<|>) ")
SUM = re.compile(r"(?<=[\w)\]]) ([+-]) (?=[\w(])")
NUMBER = re.compile(r"(?<![\w.\"'\[])(\d+)(u|ull|ul)?(?![\w.\]x])")
STATEMENT = re.compile(r"^\s+(?!(?:return|goto|break|continue|case|else|if|for|while)\b)"
                       r"([\w.>\[\]*()+-]+(\s*[-+|&^]?=\s[^=].*|\(.*\)|\+\+|--));\s*$")
DECLARATION = re.compile(r"^\s+(const |static |struct |enum |unsigned |u?int\d+_t|size_t|bool|char|"
                         r"EFI_|UINT|BOOLEAN|void )")
ARGUMENTS = re.compile(r"(?<=[(,] )?\b([a-z_]\w*(?:->\w+|\.\w+)?), ([a-z_]\w*(?:->\w+|\.\w+)?)"
                       r"(?=[,)])")
CHECK = re.compile(r"^(\s+)if \((.*)\)$")


@dataclasses.dataclass
class Mutant:
    """One mistake: line `number` of `source` becomes `after`."""

    source: str
    number: int
    kind: str
    before: str
    after: str
    result: str = ""
    by: str = ""

    def key(self):
        """What a line of equivalent.txt says of it; no line number, so it survives other edits."""
        return f"{self.source}: {self.before.strip()} => {self.after.strip()}"


def masked(text):
    """The text with comments, strings and preprocessor lines as blanks of the same length."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    text = re.sub(r'/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)\'', blank, text, flags=re.S)
    text = re.sub(r"^#(?:.*\\\n)*.*$", blank, text, flags=re.M)
    return re.sub(r"_Static_assert\([^;]*;", blank, text, flags=re.S)


def function_lines(lines):
    """Numbers of the lines inside functions; tables of constants are none."""
    inside, is_function = False, False
    for number, line in enumerate(lines):
        if line.startswith("{") or (re.match(r"^\S.*\{$", line) and "=" not in line):
            inside = True
            is_function = line.startswith("{") and ")" in lines[number - 1]
        elif line.startswith("}"):
            inside = False
        elif inside and is_function:
            yield number


def replacements(line, following):
    """[(kind, line with a mistake)] of one line without comments and strings."""
    if DECLARATION.match(line) and "=" not in line:
        return
    for match in OPERATOR.finditer(line):
        if not line.strip().startswith("#"):
            yield "relation", replaced(line, match, 1, RELATIONS[match.group(1)])
    for match in SUM.finditer(line):
        yield "sum", replaced(line, match, 1, "-" if match.group(1) == "+" else "+")
    for match in NUMBER.finditer(line):
        yield "constant", replaced(line, match, 1, str(int(match.group(1)) + 1))
    for match in ARGUMENTS.finditer(line):
        if match.group(1) != match.group(2) and "(" in line[: match.start()]:
            yield "arguments", (line[: match.start()] + f"{match.group(2)}, {match.group(1)}"
                                + line[match.end():])
    if STATEMENT.match(line) and not DECLARATION.match(line):
        yield "statement", re.match(r"\s*", line).group() + "(void)0;"
    check = CHECK.match(line)
    if check and re.match(r"\s+(return|goto)\b", following):
        yield "check", f"{check.group(1)}if (0)"


def replaced(line, match, group, text):
    return line[: match.start(group)] + text + line[match.end(group):]


def mutants_of(source):
    """All mutants of a file. Lines are compared without comments, so those get lost in a mutant."""
    lines = masked((ROOT / source).read_text(encoding="utf-8")).split("\n")
    original = (ROOT / source).read_text(encoding="utf-8").split("\n")
    for number in function_lines(lines):
        if '"' in original[number]:
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        for kind, after in replacements(lines[number], following):
            yield Mutant(source, number, kind, original[number], after)


def sources(part):
    paths = [str(path.relative_to(ROOT)) for pattern in SOURCES
             for path in sorted(ROOT.glob(pattern))]
    return [path for path in paths if not part or part in path]


def choose(count, seed, part):
    """A seeded choice out of all mutants: the kinds take turns, so that none is rare."""
    draw = random.Random(seed)
    kinds = {}
    for source in sources(part):
        for mutant in mutants_of(source):
            kinds.setdefault(mutant.kind, []).append(mutant)
    for rows in kinds.values():
        draw.shuffle(rows)
    chosen = []
    while len(chosen) < count and any(kinds.values()):
        chosen += [kinds[kind].pop() for kind in sorted(kinds) if kinds[kind]]
    return chosen[:count]


# ---- building ----


class Programs:
    """The test programs that `make san` built: what each contains, and how each is linked."""

    def __init__(self):
        self.symbols = {}
        self.commands = {}
        for path in sorted((ROOT / SAN / "tests").rglob("test_*")):
            if path.suffix == "" and os.access(path, os.X_OK) and path.is_file():
                name = str(path.relative_to(ROOT / SAN))
                if (ROOT / f"{name}.c").exists():
                    self.symbols[name] = defined(path)
        if not self.symbols:
            sys.exit("mutate: no test program; run `make san`")

    def with_object(self, source):
        """Programs that contain the file, the one that mirrors it first."""
        wanted = defined(ROOT / SAN / "obj" / pathlib.Path(source).with_suffix(".o"))
        names = [name for name, symbols in self.symbols.items() if symbols & wanted]
        stem, folder = pathlib.Path(source).stem, str(pathlib.Path(source).parent)
        # Folders in the order in which they find things out soonest.
        order = ("tests/unit/", "tests/bad/", "tests/contract/", "tests/fault/")

        def rank(name):
            place = next((i for i, prefix in enumerate(order) if name.startswith(prefix)), 9)
            return (pathlib.Path(name).name != f"test_{stem}", f"/{folder}/" not in f"/{name}",
                    place, name)
        return sorted(names, key=rank)

    def command(self, target, touched):
        """The command of make that makes a target."""
        key = (target, touched)
        if key not in self.commands:
            done = subprocess.run(["make", "-n", "--no-print-directory", "-W", touched, target],
                                  cwd=ROOT, capture_output=True, text=True, check=True)
            rows = [line for line in done.stdout.replace("\\\n", " ").splitlines()
                    if f"-o {target} " in line + " "]
            if not rows:
                sys.exit(f"mutate: make has no command for {target}:\n{done.stdout[-500:]}")
            self.commands[key] = shlex.split(rows[-1])
        return list(self.commands[key])


def defined(path):
    """Global functions that an object or program defines."""
    done = subprocess.run(["nm", "--defined-only", "-g", str(path)], capture_output=True, text=True,
                          check=False)
    rows = (line.split() for line in done.stdout.splitlines())
    return {row[2] for row in rows if len(row) == 3 and row[1] == "T"
            and re.match(r"(q2|mc)_", row[2])}


def compile_mutant(programs, mutant):
    """The object of a mutant, or None if it does not compile."""
    lines = (ROOT / mutant.source).read_text(encoding="utf-8").split("\n")
    lines[mutant.number] = mutant.after
    source = WORK / mutant.source
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("\n".join(lines), encoding="utf-8")
    target = f"{SAN}/obj/{pathlib.Path(mutant.source).with_suffix('.o')}"
    words = programs.command(target, mutant.source)
    words[words.index("-o") + 1] = str(WORK / "mutant.o")
    words[words.index("-c") + 1] = str(source)
    words = [word for word in words if word not in ("-MMD", "-MP", "-fstack-usage", "-Werror")]
    # Wrong types are what the compiler notices, and no mistake that a test has to.
    words[1:1] = ["-Wno-error", "-Werror=incompatible-pointer-types", "-Werror=int-conversion",
                  "-iquote", str(pathlib.Path(mutant.source).parent)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    return WORK / "mutant.o" if done.returncode == 0 else None


def link_mutant(programs, name, mutant, target):
    """A test program with the mutant's object in front of the archives."""
    words = programs.command(f"{SAN}/{name}", f"{name}.c")
    words[words.index("-o") + 1] = str(target)
    own = f"{SAN}/obj/{pathlib.Path(mutant.source).with_suffix('.o')}"
    words = [word for word in words if word != own]
    words.insert(words.index("-o") + 2, str(WORK / "mutant.o"))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"mutate: {name} does not link with {mutant.key()}:\n{done.stderr[-500:]}")


# ---- running ----


def run_program(path, limit):
    """(exit status, seconds of the reference machine); None as the status: out of time."""
    factor = speed.measure()
    begin = time.monotonic()
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", LC_ALL="C.UTF-8")
    try:
        status = subprocess.run([str(path)], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                timeout=limit * factor, check=False).returncode
    except subprocess.TimeoutExpired:
        status = None
    return status, (time.monotonic() - begin) / factor


class Times:
    """Seconds that each program takes without a mistake. They are kept in a file, because they do
    not change often. A program over the limit counts as one that takes for ever."""

    def __init__(self, run_all):
        self.limit = 1200 if run_all else 2 * QUICK_SECONDS
        self.path = WORK.parent / f"times{'-all' if run_all else ''}.json"
        self.seconds = json.loads(self.path.read_text()) if self.path.exists() else {}

    def of(self, name):
        if name not in self.seconds:
            status, seconds = run_program(ROOT / SAN / name, self.limit)
            if status is None:
                seconds = TOO_LONG
            elif status != 0:
                sys.exit(f"mutate: {name} fails without a mistake (exit status {status})")
            self.seconds[name] = round(seconds, 2)
            self.path.write_text(json.dumps(self.seconds, indent=1))
        return self.seconds[name]


def judge(programs, times, mutant, run_all):
    """Fill in the mutant's result."""
    mutant.result, mutant.by = "survived", ""
    if not compile_mutant(programs, mutant):
        mutant.result = "does not compile"
        return
    names = programs.with_object(mutant.source)
    if not names:
        mutant.result = "no program"
        return
    for name in names:
        if not run_all and (name.startswith("tests/fault/") or times.of(name) > QUICK_SECONDS):
            continue
        target = WORK / "program"
        link_mutant(programs, name, mutant, target)
        status, _ = run_program(target, LIMIT_SECONDS + 4 * times.of(name))
        if status != 0:
            mutant.result, mutant.by = "caught", name + (" (time)" if status is None else "")
            return


def equivalents():
    """{key: reason} of tests/mutation/equivalent.txt: a line `FILE: BEFORE => AFTER`, then
    indented lines with the reason."""
    found, key = {}, None
    if EQUIVALENT.exists():
        for line in EQUIVALENT.read_text(encoding="utf-8").splitlines():
            if line.startswith("    ") and key:
                found[key] = (found[key] + " " + line.strip()).strip()
            elif line and not line.startswith("#"):
                key = line.strip()
                found[key] = ""
    return found


def show(mutant):
    print(f"{mutant.result:<9} {mutant.kind:<9} {mutant.source}:{mutant.number + 1}"
          f"{'  by ' + mutant.by if mutant.by else ''}", flush=True)
    if mutant.result != "caught":
        print(f"    {mutant.before.strip()}\n    {mutant.after.strip()}", flush=True)


def run(programs, mutants, run_all, excused, quiet=False):
    times = Times(run_all)
    for mutant in mutants:
        if mutant.key() in excused:
            mutant.result, mutant.by = "equivalent", excused[mutant.key()]
        else:
            judge(programs, times, mutant, run_all)
        if not quiet:
            show(mutant)


def summary(mutants):
    """{result: how many}."""
    counts = {}
    for mutant in mutants:
        counts[mutant.result] = counts.get(mutant.result, 0) + 1
    return counts


def start():
    """Make the folder of this run, which goes with it."""
    WORK.mkdir(parents=True, exist_ok=True)
    atexit.register(shutil.rmtree, WORK, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", help="a part of the name of the files")
    parser.add_argument("--all", action="store_true", help="programs that take long as well")
    parser.add_argument("--list", action="store_true", help="show the mutants and end")
    parser.add_argument("--json", help="file for the result")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    mutants = choose(args.count, seed, args.only)
    print(f"seed {seed}, {len(mutants)} mutants", flush=True)
    if args.list:
        for mutant in mutants:
            show(mutant)
        return 0
    start()
    run(Programs(), mutants, args.all, equivalents())
    counts = summary(mutants)
    judged = counts.get("caught", 0) + counts.get("survived", 0)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(
            {"seed": seed, "counts": counts,
             "mutants": [dataclasses.asdict(mutant) for mutant in mutants]}, indent=1))
    print(", ".join(f"{number} {result}" for result, number in sorted(counts.items())))
    if judged:
        print(f"{counts.get('caught', 0) / judged:.1%} of {judged} mutants were caught")
    return 1 if counts.get("survived") or not judged else 0


if __name__ == "__main__":
    sys.exit(main())

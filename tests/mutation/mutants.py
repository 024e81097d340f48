"""Mutants: small mistakes in single lines of the sources, and a seeded choice of them.

The lines are compared without comments and strings. May read the sources and nothing else.
Invariant: the same seed gives the same choice, and an edit changes only what it touches.
"""

import collections
import dataclasses
import hashlib
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What is mutated; what does not exist is left out.
SOURCES = ("core/*/*.c", "drivers/efi/block_io.c", "drivers/efi/disk_io.c", "efi/config/*.c",
           "efi/driver/attach_disk.c", "efi/driver/detach_disk.c", "efi/driver/publish.c",
           "efi/driver/registry.c", "efi/driver/volumes.c")
EQUIVALENT = ROOT / "tests/mutation/equivalent.txt"

RELATIONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
             "&&": "||", "||": "&&"}
OPERATOR = re.compile(r" (<=|>=|==|!=|&&|\|\||<|>) ")
SUM = re.compile(r"(?<=[\w)\]]) ([+-]) (?=[\w(])")
NUMBER = re.compile(r"(?<![\w.\"'\[])(\d+)(u|ull|ul)?(?![\w.\]x])")
STATEMENT = re.compile(r"^\s+(?!(?:return|goto|break|continue|case|else|if|for|while)\b)"
                       r"([\w.>\[\]*()+-]+(\s*[-+|&^]?=\s[^=].*|\(.*\)|\+\+|--));\s*$")
DECLARATION = re.compile(r"^\s+(const |static |struct |enum |unsigned |u?int\d+_t|size_t|bool|char|"
                         r"EFI_|UINT|BOOLEAN|void )")
ARGUMENTS = re.compile(r"(?:(?<=, )|(?<=\())([a-z_]\w*(?:->\w+|\.\w+)?), "
                       r"([a-z_]\w*(?:->\w+|\.\w+)?)(?=[,)])")
# The order of their arguments does not matter.
SYMMETRIC = re.compile(r"\b(q2_min_u64|q2_max_u64|least|q2_text_equal|q2_same_file)\($")
CHECK = re.compile(r"^(\s+)if \((.*)\)$")


@dataclasses.dataclass
class Mutant:
    """One mistake: line `number` of `source` becomes `after`."""

    source: str
    number: int
    kind: str
    before: str
    after: str
    nth: int = 0  # how many before it in the file read the same
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


def replacements(line, text, following):
    """[(kind, line with a mistake)]. Mistakes are looked for in `line`, which is `text` without
    comments and strings, and so is the line that follows."""
    if DECLARATION.match(line) and "=" not in line:
        return
    for match in OPERATOR.finditer(line):
        yield "relation", replaced(text, match, 1, RELATIONS[match.group(1)])
    for match in SUM.finditer(line):
        yield "sum", replaced(text, match, 1, "-" if match.group(1) == "+" else "+")
    for match in NUMBER.finditer(line):
        yield "constant", replaced(text, match, 1, str(int(match.group(1)) + 1))
    for match in ARGUMENTS.finditer(line):
        before = line[: match.start()]
        if match.group(1) != match.group(2) and "(" in before and not SYMMETRIC.search(before):
            yield "arguments", replaced(text, match, 0, f"{match.group(2)}, {match.group(1)}")
    if STATEMENT.match(line) and not DECLARATION.match(line):
        yield "statement", re.match(r"\s*", line).group() + "(void)0;"
    check = CHECK.match(line.rstrip())
    if check and re.match(r"\s+(return|goto)\b", following):
        yield "check", f"{check.group(1)}if (0)"


def replaced(text, match, group, new):
    return text[: match.start(group)] + new + text[match.end(group):]


def mutants_of(source):
    """All mutants of a file."""
    lines = masked((ROOT / source).read_text(encoding="utf-8")).split("\n")
    original = (ROOT / source).read_text(encoding="utf-8").split("\n")
    seen = collections.Counter()
    for number in function_lines(lines):
        if '"' in original[number]:
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        for kind, after in replacements(lines[number], original[number], following):
            mutant = Mutant(source, number, kind, original[number], after)
            mutant.nth = seen[mutant.key()]
            seen[mutant.key()] += 1
            yield mutant


def sources(part):
    paths = [str(path.relative_to(ROOT)) for pattern in SOURCES
             for path in sorted(ROOT.glob(pattern))]
    return [path for path in paths if not part or part in path]


def choose(count, seed, part):
    """A seeded choice out of all mutants: the kinds take turns, so that none is rare."""
    kinds = {}
    for source in sources(part):
        for mutant in mutants_of(source):
            kinds.setdefault(mutant.kind, []).append(mutant)
    for rows in kinds.values():
        rows.sort(key=lambda mutant: draw(seed, mutant))
    chosen = []
    while len(chosen) < count and any(kinds.values()):
        chosen += [kinds[kind].pop() for kind in sorted(kinds) if kinds[kind]]
    return chosen[:count]


def draw(seed, mutant):
    """The place of a mutant in the order of a seed. It does not depend on other mutants."""
    text = f"{seed} {mutant.kind} {mutant.nth} {mutant.key()}"
    return hashlib.sha256(text.encode()).hexdigest()


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

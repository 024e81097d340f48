#!/usr/bin/python3
"""The engine stands alone: core/ needs memcpy, memmove, memset and memcmp from outside and nothing
else, and has no data of its own that could change.  (CONTRIBUTING.md, 2.9 and 2.11)
"""

import lint
from tests import cases

ALLOWED = {"memcpy", "memmove", "memset", "memcmp"}
# The linker makes it up for position-independent code.
LINKER = {"_GLOBAL_OFFSET_TABLE_"}


def symbols(objects):
    """(undefined names, {defined global name: type}) of the objects taken together."""
    undefined, defined = set(), {}
    for line in lint.run("nm", "-A", "-P", "-g", *map(str, objects)).splitlines():
        name, kind = line.split(": ", 1)[1].split()[:2]
        if kind == "U":
            undefined.add(name)
        else:
            defined[name] = kind
    return undefined - set(defined) - LINKER, defined


def writable_sections(path):
    """Sections of an object with content that a program could write to."""
    for line in lint.run("objdump", "-h", "-w", str(path)).splitlines():
        fields = line.split()
        if len(fields) < 7 or not fields[0].isdigit() or int(fields[2], 16) == 0:
            continue
        constant = "READONLY" in line or fields[1].startswith(".data.rel.ro")
        if "ALLOC" in line and not constant:
            yield fields[1]


def complaints_of(objects):
    undefined, defined = symbols(objects)
    complaints = [f"undefined: {name}" for name in sorted(undefined - ALLOWED)]
    complaints += [f"common variable: {name}" for name, kind in defined.items() if kind == "C"]
    for path in objects:
        complaints += [f"{path.name}: writable data in {section}"
                       for section in writable_sections(path)]
    return complaints


def sample_complaints(path):
    flags = lint.facts()["x64_flags"]
    return complaints_of([lint.compile_sample(path.relative_to(lint.SAMPLES), *flags)])


def check_core(variant):
    objects = lint.objects(variant, lint.facts()["core"])
    undefined, defined = symbols(objects)
    # A lint that sees nothing finds nothing.
    cases.check("q2_disk_open" in defined and "memcpy" in undefined,
                "the symbols that have to be there are not")
    lint.check_none(complaints_of(objects), f"symbols of core/ in build/{variant}")


def test_symbols_samples_are_refused():
    lint.check_samples("symbols", sample_complaints)


def test_symbols_of_core_on_the_host():
    check_core("host")


def test_symbols_of_core_in_firmware():
    check_core("x64")


if __name__ == "__main__":
    cases.main(globals())

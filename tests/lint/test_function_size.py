#!/usr/bin/python3
"""Functions do one thing: half of them within 15 lines, nine in ten within 40, none over 80.
(CONTRIBUTING.md, 2.10; tests aside)

Lines are counted from the one with the function's name to its closing brace.
"""

import json

import lint
from tests import cases

FOLDERS = ("core", "drivers", "efi", "tools", "include")
MAX_LINES = 80
SHARES = ((0.5, 15), (0.9, 40))


def functions(paths):
    """[(lines, place, name)], the longest first."""
    text = lint.run("ctags", "--options=NONE", "--output-format=json", "--languages=C,C++",
                    "--langmap=C:.c.h", "--kinds-C=f", "--fields=+ne", "-f", "-",
                    *map(str, paths))
    tags = [json.loads(line) for line in text.splitlines()]
    return sorted(((tag["end"] - tag["line"] + 1, f"{tag['path']}:{tag['line']}", tag["name"])
                   for tag in tags if "end" in tag), reverse=True)


def complaints_of(found, with_shares=True):
    complaints = [f"{place}: {name}: {lines} lines, more than {MAX_LINES}"
                  for lines, place, name in found if lines > MAX_LINES]
    for share, limit in SHARES if with_shares else ():
        within = sum(lines <= limit for lines, _, _ in found)
        if within < share * len(found):
            complaints.append(f"{within} of {len(found)} functions are within {limit} lines, "
                              f"less than {share:.0%}")
    return complaints


def report(found):
    for share, limit in SHARES:
        within = sum(lines <= limit for lines, _, _ in found)
        print(f"# within {limit} lines: {within} of {len(found)} ({within / len(found):.0%}, "
              f"wanted {share:.0%})")
    for lines, place, name in found[:5]:
        print(f"#   {lines:3} {place} {name}")


def test_function_size_samples_are_refused():
    lint.check_samples("function_size", lambda path: complaints_of(functions([path])))


def test_function_size_of_every_folder():
    paths = list(lint.files("*.c", "*.h", folders=FOLDERS))
    found = functions(paths)
    cases.check(len(found) > 100, f"only {len(found)} functions were found")
    report(found)
    lint.check_none(complaints_of(found), "complaints")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""Layers: which folder may include which. DESIGN.md, 1.1, has the picture.

core/ is built in floors; a floor may include itself, include/ and the floors that ALLOWED names.
The public headers declare functions of every floor, so includes alone do not prove the direction:
the symbols of the objects have to keep to the same table. They also show which files of its own
folder a file calls: its head has to name them (CONTRIBUTING.md, 2.10).

Everybody may use core/base. The rest of the engine is reached through include/, except the pure
readers of file systems and LUKS headers, which adapters and programs use directly. """

import pathlib
import re

import lint
from tests import cases

INCLUDE = re.compile(r'^\s*#\s*include\s*(.*?)\s*(?:/\*.*)?$', re.M)
FREESTANDING = {"limits.h", "stdalign.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h"}

# Folders of ours that a folder may include from, beside itself. The longest name that fits counts.
ALLOWED = {
    "include": set(),
    "core/base": {"include"},
    "core/format": {"include", "core/base"},
    "core/read": {"include", "core/base", "core/format"},
    "core/check": {"include", "core/base", "core/format", "core/read"},
    # Snapshots count references as the check does.
    "core/write": {"include", "core/base", "core/format", "core/read", "core/check"},
    "core/repair": {"include", "core/base", "core/format", "core/read", "core/check",
                    "core/write"},
    "core/open": {"include", "core/base", "core/format", "core/read", "core/check", "core/write",
                  "core/repair"},
    "core/fs": {"include", "core/base"},
    "core/luks": {"include", "core/base"},
    "core/handoff": {"include", "core/base"},
    "core/spec": {"include", "core/base"},
    "core": {"include"},
    "drivers": {"include", "core/base", "core/fs", "core/luks"},
    "efi": {"include", "core/base", "core/fs", "core/luks", "core/spec", "drivers"},
    "tools": {"include", "core/base", "core/fs", "core/luks", "core/spec", "drivers"},
}

# An outside interface: its headers. A header in none of them is refused until it is put here.
INTERFACES = {
    "the C library": re.compile(
        r"(assert|ctype|dirent|errno|fcntl|getopt|inttypes|locale|math|poll|pthread|sched|"
        r"semaphore|signal|stdatomic|stdio|stdlib|string|strings|termios|time|unistd|fnmatch|"
        r"glob|libgen|endian)\.h"
        r"|(sys|linux|net|netinet|arpa)/[\w-]+\.h"),
    "UEFI": re.compile(r"(efi\w*|\w+/efi\w*|protocol/\w+|libsmbios)\.h"),
    "zlib": re.compile(r"(zlib|zconf|zutil|inftrees|inflate|inffast)\.h"),
    "zstd": re.compile(r"zstd\w*\.h|(common|decompress)/\w+\.h"),
    "BearSSL": re.compile(r"(inner|bearssl\w*)\.h"),
    "libqcow": re.compile(r"libqcow\.h"),
}
# Interfaces that a folder's files may use beside the freestanding headers, and how many.
OUTSIDE = {
    "include": (set(), 0),
    "core": (set(), 0),
    "drivers": (set(INTERFACES), 1),
    "efi": ({"UEFI"}, 1),
    # libqcow: the bench's other reader, a program of its own.
    "tools": ({"the C library", "libqcow"}, 2),
}


def includes(path):
    return [match.group(1) for match in INCLUDE.finditer(path.read_text())]


def resolve(root, path, name):
    """The file of ours that #include "name" in path means; None: there is none."""
    for folder in (path.parent, root / "include", root):
        candidate = pathlib.Path(folder, name).resolve()
        if candidate.is_file() and candidate.is_relative_to(root):
            return candidate
    return None


def interface_of(header):
    for name, headers in INTERFACES.items():
        if headers.fullmatch(header):
            return name
    return None


def outside_interfaces(root, path, seen=None):
    """The outside interfaces of a file and of its own folder's files that it includes."""
    seen = set() if seen is None else seen
    if path in seen:
        return set()
    seen.add(path)
    found = set()
    for text in includes(path):
        inner = resolve(root, path, text[1:-1])
        if text.startswith("<") and text[1:-1] not in FREESTANDING:
            found.add(interface_of(text[1:-1]))
        elif inner and inner.relative_to(root).parts[0] == path.relative_to(root).parts[0]:
            found |= outside_interfaces(root, inner, seen)
    return found


def folder_rule(folder):
    """The row of ALLOWED for a folder: the longest one that holds it."""
    return max((row for row in ALLOWED if folder.is_relative_to(row)), key=len)


def may_include(here, there):
    rule = folder_rule(here)
    return any(there.is_relative_to(row) for row in ALLOWED[rule] | {rule})


def judge_include(root, path, folder, text):
    """What is wrong with one #include, or None."""
    if text[:1] not in ('"', "<"):
        return "is not a plain file name"
    name = text[1:-1]
    if text.startswith('"'):
        inner = resolve(root, path, name)
        if inner is None:
            return "is no file of this project"
        there = inner.relative_to(root).parent
        if there.is_relative_to("tools/third_party"):
            return "stands in for the C library, for third-party sources only"
        here = path.relative_to(root).parent
        if not may_include(here, there):
            return f"is in {there}/, which {here}/ may not include"
        return None
    if name in FREESTANDING:
        return None
    if interface_of(name) is None:
        return "belongs to no interface that tests/lint/test_layers.py knows"
    if interface_of(name) not in OUTSIDE[folder][0]:
        return f"belongs to {interface_of(name)}, which {folder}/ may not include"
    return None


def complaints_of(root, path):
    folder = path.relative_to(root).parts[0]
    where = path.relative_to(root)
    complaints = []
    for text in includes(path):
        wrong = judge_include(root, path, folder, text)
        if wrong:
            complaints.append(f"{where}: {text} {wrong}")
    outside = {name for name in outside_interfaces(root, path) if name}
    if len(outside) > max(OUTSIDE[folder][1], 0) and not complaints:
        complaints.append(f"{where}: binds {len(outside)} interfaces: {', '.join(sorted(outside))}")
    return complaints


def symbols_of_core():
    """([(object's place, name it needs)], {name: object that defines it}) of core's objects.

    Those of the host: core/ has no #ifdef, so the other variants have the same calls.
    """
    paths = [path.relative_to(lint.ROOT) for path in sorted((lint.ROOT / "core").glob("*/*.c"))]
    return symbols(lint.BUILD / "host" / "obj", lint.objects("host", paths))


def symbols(folder, objects):
    """([(object's place below folder, name it needs)], {name: object that defines it})."""
    needs, object_of = [], {}
    for line in lint.run("nm", "-A", "-P", "-g", *map(str, objects)).splitlines():
        path, rest = line.split(": ", 1)
        name, kind = rest.split()[:2]
        place = pathlib.Path(path).relative_to(folder)
        if kind == "U":
            needs.append((place, name))
        else:
            object_of[name] = place
    return needs, object_of


def judge_symbols(needs, object_of):
    return [f"{place} needs {name} of {object_of[name].parent}" for place, name in needs
            if name in object_of and not may_include(place.parent, object_of[name].parent)]


def head_of(place):
    """The comment that the source of an object begins with."""
    return (lint.ROOT / place.with_suffix(".c")).read_text().partition("*/")[0]


def judge_heads(needs, object_of, head):
    """What calls a file of its own folder that its head does not name."""
    called = {(place, object_of[name]) for place, name in needs
              if name in object_of and object_of[name].parent == place.parent}
    return [f"{place.with_suffix('.c')}: the head does not name {callee.stem}.c"
            for place, callee in sorted(called)
            if callee != place
            and not re.search(rf"\b{callee.stem}\.[ch]\b|\bits own folder\b", head(place))]


def sample_symbols(path):
    place = path.relative_to(lint.SAMPLES)
    built = lint.compile_sample(place, *lint.facts()["host_flags"])
    needs, _ = symbols(lint.BUILD / "lint" / "samples" / "floors", [built])
    return judge_symbols(needs, symbols_of_core()[1])


def sources():
    shims = lint.ROOT / "tools" / "third_party" / "freestanding"
    return [path for path in lint.files("*.c", "*.h", folders=OUTSIDE) if shims not in path.parents]


def test_layers_samples_are_refused():
    root = lint.SAMPLES / "layers"
    lint.check_samples("layers", lambda path: complaints_of(root, path))


def test_layers_every_include_is_allowed():
    found = sources()
    cases.check(len(found) > 20, f"only {len(found)} files were found")
    complaints = [line for path in found for line in complaints_of(lint.ROOT, path)]
    lint.check_none(complaints, "includes against the layers")


def test_layers_samples_of_symbols_are_refused():
    lint.check_samples("floors", sample_symbols)


def test_layers_every_symbol_is_allowed():
    needs, object_of = symbols_of_core()
    # A lint that sees nothing finds nothing.
    cases.check((pathlib.Path("core/open/open.o"), "q2_layers_open") in needs,
                "the call that has to be there is not")
    lint.check_none(judge_symbols(needs, object_of), "symbols against the layers")


def test_layers_head_without_a_file_that_is_called_is_refused():
    place, callee = pathlib.Path("core/a/reader.o"), pathlib.Path("core/a/cache.o")
    for head, expected in (("May call cache.c.", 0), ("Calls its own folder.", 0),
                           ("May call slice_cache.c.", 1), ("May call nothing.", 1)):
        found = judge_heads([(place, "q2_cache_get"), (place, "memcpy")],
                            {"q2_cache_get": callee, "q2_read": place}, lambda _, head=head: head)
        cases.check_equal(len(found), expected, f"complaints about a head '{head}'")


def test_layers_every_head_names_the_files_that_are_called():
    lint.check_none(judge_heads(*symbols_of_core(), head_of), "heads")


if __name__ == "__main__":
    cases.main(globals())

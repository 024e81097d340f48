#!/usr/bin/python3
"""Layers: which folder may include which.  (design, "Folders and the direction between them")

    include/   freestanding C headers and include/
    core/      include/, core/, freestanding C headers
    drivers/   include/, drivers/, and one outside interface for each file
    efi/       include/, drivers/, efi/, gnu-efi, freestanding C headers
    tools/     include/, drivers/, tools/, the C library
    tests/     everything
"""

import pathlib
import re

import lint
from tests import cases

INCLUDE = re.compile(r'^\s*#\s*include\s*(.*?)\s*(?:/\*.*)?$', re.M)
FREESTANDING = {"limits.h", "stdalign.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h"}

# Our folders that a folder may include from, itself among them.
ALLOWED = {
    "include": {"include"},
    "core": {"include", "core"},
    "drivers": {"include", "drivers"},
    "efi": {"include", "drivers", "efi"},
    "tools": {"include", "drivers", "tools"},
}

# An outside interface: its headers. A header in none of them is refused until it is put here.
INTERFACES = {
    "the C library": re.compile(
        r"(assert|ctype|errno|fcntl|getopt|inttypes|locale|math|poll|pthread|sched|signal|stdio|"
        r"stdlib|string|strings|termios|time|unistd|fnmatch|glob|libgen|endian)\.h"
        r"|(sys|linux)/\w+\.h"),
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


def judge_include(root, path, folder, text):
    """What is wrong with one #include, or None."""
    if text[:1] not in ('"', "<"):
        return "is not a plain file name"
    name = text[1:-1]
    if text.startswith('"'):
        inner = resolve(root, path, name)
        if inner is None:
            return "is no file of this project"
        parts = inner.relative_to(root).parts
        if parts[0] not in ALLOWED[folder]:
            return f"is in {parts[0]}/, which {folder}/ may not include"
        if parts[:2] == ("drivers", "freestanding"):
            return "stands in for the C library, for third-party sources only"
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


def sources():
    shims = lint.ROOT / "drivers" / "freestanding"
    return [path for path in lint.files("*.c", "*.h", folders=ALLOWED) if shims not in path.parents]


def test_layers_samples_are_refused():
    root = lint.SAMPLES / "layers"
    lint.check_samples("layers", lambda path: complaints_of(root, path))


def test_layers_every_include_is_allowed():
    found = sources()
    cases.check(len(found) > 20, f"only {len(found)} files were found")
    complaints = [line for path in found for line in complaints_of(lint.ROOT, path)]
    lint.check_none(complaints, "includes against the layers")


if __name__ == "__main__":
    cases.main(globals())

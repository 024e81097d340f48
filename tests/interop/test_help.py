#!/usr/bin/python3
"""Help of the host command: every way to it, and the tables that it is made from."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import Folder  # noqa: E402


def listed(folder):
    """{verb: [(letter, name, value, text)]} out of `help --list`."""
    verbs = {}
    for line in folder.good("help", "--list").splitlines():
        kind, verb, *rest = line.split("\t")
        if kind == "verb":
            check_equal(len(rest), 2, line)
            verbs[verb] = []
        else:
            check_equal((kind, len(rest)), ("option", 4), line)
            verbs[verb].append(tuple(rest))
    return verbs


def test_help_is_reached_in_every_way():
    with Folder("help") as folder:
        overview = folder.good("help")
        check_equal(folder.good("--help"), overview, "--help")
        check_equal(folder.good("-h"), overview, "-h")
        check_equal(folder.good("help", "--help"), overview, "help --help")
        check_equal(folder.ours(), (1, overview, ""), "no arguments")
        for verb in listed(folder):
            check(f"\n  {verb} " in overview, f"{verb} is not in the overview")
            own = folder.good("help", verb)
            check_equal(folder.good(verb, "--help"), own, f"{verb} --help")
            check_equal(folder.good(verb, "-h"), own, f"{verb} -h")


def test_help_of_a_verb_that_does_not_exist():
    with Folder("help") as folder:
        for words in (["frobnicate"], ["help", "frobnicate"], ["fro\nb"]):
            status, out, err = folder.ours(*words)
            check_equal((status, out), (1, ""), words)
            check("there is no verb 'fro" in err and "metalcow help" in err, err)
            check("\nb" not in err, "a control character reached the terminal")


def test_every_listed_option_is_in_help_and_only_those():
    with Folder("help") as folder:
        for verb, options in listed(folder).items():
            lines = folder.good("help", verb).split("options:\n")[1].splitlines()
            starts = [line.split("  ")[1] or line.strip().split("  ")[0]
                      for line in lines if line.startswith("  -") or line.startswith("      --")]
            check_equal(len(starts), len(options), f"{verb}: options in help")
            for letter, name, value, _ in options:
                want = f"{letter}, {name}" if letter and name else letter or name
                want += ("=" if name else " ") + value if value else ""
                check(any(line.strip().startswith(want) for line in lines), f"{verb}: {want}")


def test_no_option_of_a_verb_has_two_meanings():
    with Folder("help") as folder:
        for verb, options in listed(folder).items():
            for column in (0, 1):
                given = [row[column] for row in options if row[column]]
                check_equal(len(given), len(set(given)), f"{verb}: {given}")
            check(len(options) <= 36, f"{verb}: raise MAX_OPTIONS in arguments.c")


def test_every_listed_option_is_taken():
    """Wrong values and values that are missing are told from options that are unknown."""
    with Folder("help") as folder:
        for verb, options in listed(folder).items():
            plain = [name or letter for letter, name, value, _ in options
                     if not value and name != "--help"]
            taking = [(letter, name) for letter, name, value, _ in options if value]
            last = ["1M"] if verb == "resize" else []  # its last word is never an option
            for letter, name in taking[:1] + taking[-1:]:
                status, _, err = folder.ours(verb, *plain, name or letter, *last)
                check(status != 0 and f"a value is missing after '{name or letter}'" in err,
                      f"{verb} {name or letter}: {err}")
            status, _, err = folder.ours(verb, "--no-such-option")
            check(status != 0 and "unrecognized option '--no-such-option'" in err, err)
            check(f"metalcow help {verb}" in err, err)


def test_a_word_that_is_none_of_an_options_values():
    with Folder("help") as folder:
        for words, want in (
                (["check", "-r", "some", "x"], "leaks, all"),
                (["map", "--output=xml", "x"], "human, json, html, svg"),
                (["resize", "--preallocation", "1234", "x", "1M"], "off, metadata, falloc, full")):
            status, out, err = folder.ours(*words)
            check_equal((status, out), (1, ""), words)
            check(f"possible values: {want}\n" in err, err)


def keys():
    """{key: (kind, value, refusal)} out of the one table of a disk's keys."""
    source = (pathlib.Path(__file__).resolve().parents[2] / "core/spec/disk_spec.c").read_text()
    rows = re.findall(r'^    \{"([a-z-]+)", (?:NULL|"--[a-z-]+"), AT\(\w+\), '
                      r'MC_SPEC_([A-Z]+)(.*?)\},$', source, re.M | re.S)
    return {key: (kind, re.sub(r'"\s+"', "", rest)) for key, kind, rest in rows}


def test_an_option_that_is_a_key_takes_what_the_key_takes():
    """The host command refuses what the table of keys refuses, in its words."""
    table = keys()
    found, tried = set(), set()
    with Folder("help") as folder:
        for verb, options in listed(folder).items():
            for _, name, value, _ in options:
                key = name[2:].rstrip("2")
                if key not in table or (verb, name) in (("create", "--format"),
                                                        ("io", "--snapshot")):  # as qemu-io's
                    continue
                kind, row = table[key]
                check(f'"{value}"' in row or value == "FMT", f"{verb} {name}: {value}, not {row}")
                if name in tried:
                    continue
                tried.add(name)
                words = ["x"] * 3
                if kind == "WORD":
                    want = re.search(r'"(is [^"]+)"', row).group(1)
                    bad = "nonsense"
                elif kind == "SIZE":
                    want, bad = "is no size up to 1024G, such as 64M", "1025G"
                elif key == "snapshot":
                    want, bad = "is longer than 255 bytes", "n" * 256
                elif kind == "PATHS":
                    want, bad = "is said more often than images can have layers", "x"
                    words = [f"{name}={bad}"] * 31 + words
                else:
                    continue
                status, out, err = folder.ours(verb, f"{name}={bad}", *words)
                check(status != 0 and out == "", f"{verb} {name}")
                check(f"{name}: '{bad}' {want}\n" in err, f"{verb} {name}: {err}")
                found.add(key)
    check_equal(found, {"format", "backing-file", "backing-format", "snapshot", "names", "mode",
                        "overlay-size"}, "keys that are options")


if __name__ == "__main__":
    cases.main(globals())

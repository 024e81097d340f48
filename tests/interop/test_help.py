#!/usr/bin/python3
"""Help of the host command: every way to it, and the tables that it is made from."""

import pathlib
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
            check("Command not found: fro" in err and "metalcow help" in err, err)
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
                (["info", "-f", "vmdk", "x"], "qcow2, raw"),
                (["check", "-r", "some", "x"], "leaks, all"),
                (["map", "--output=xml", "x"], "human, json, html, svg"),
                (["resize", "--preallocation", "1234", "x", "1M"], "off, metadata, falloc, full")):
            status, out, err = folder.ours(*words)
            check_equal((status, out), (1, ""), words)
            check(f"possible values: {want}\n" in err, err)


if __name__ == "__main__":
    cases.main(globals())

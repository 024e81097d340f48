#!/usr/bin/python3
"""Every sentence that core/ can say of an image stands, word for word, in a test.

A rule without a bad image (tests/bad/bad_images.h) or a unit test shows up here: its message is in
core/ and in no test. Findings of the check count as well.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LITERAL = r'"(?:[^"\\\n]|\\.)*"'
# Not of images: texts of statuses are a table with a test of its own, feature names are data, and
# what fails while writing has its suites in tests/fault/, which fail every call in turn.
ELSEWHERE = {"status.c", "header_write.c", "alloc.c", "order.c", "table.c", "write.c",
             "write_compressed.c", "copied_fix.c", "store.c", "snapshot_write.c",
             "repair.c", "rebuild.c", "bitmap_record.c",
             "bitmap_resize.c", "bitmap_write.c"}
# Two words at the least: names of fields and formats are no sentences.
SENTENCE = re.compile(r"\w.* .*\w")


def literals(text):
    """String literals of a C source, adjacent ones joined, comments and includes left out."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^\s*#\s*include.*$", " ", text, flags=re.M)
    text = re.sub(r"_Static_assert\(.*?\);", " ", text, flags=re.S)
    for match in re.finditer(rf"{LITERAL}(?:\s*{LITERAL})*", text):
        yield "".join(part[1:-1] for part in re.findall(LITERAL, match.group(0)))


def main():
    said = {}
    for source in sorted((ROOT / "core").rglob("*.c")):
        if source.name in ELSEWHERE or source.parent.name in ("fs", "handoff", "spec"):
            continue  # these speak of volumes, records and settings, and have suites of their own
        for sentence in literals(source.read_text()):
            if SENTENCE.fullmatch(sentence):
                said.setdefault(sentence, source.relative_to(ROOT))
    tested = "\0".join(
        literal
        for folder in ("unit", "bad", "fault", "contract")
        for source in sorted((ROOT / "tests" / folder).rglob("*.[ch]"))
        for literal in literals(source.read_text()))
    failed = 0
    for sentence, source in said.items():
        if sentence in tested:
            print(f"ok - {source}: {sentence}")
        else:
            failed += 1
            print(f"not ok - {source}: {sentence}: no test has this sentence")
    print(f"{len(said) - failed} passed, {failed} failed")
    return 1 if failed or not said else 0


if __name__ == "__main__":
    sys.exit(main())

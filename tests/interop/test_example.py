#!/usr/bin/python3
"""tools/example/read_image.c: a program that only reads links no code that writes, and it reads
what qemu-img reads."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

PROGRAM = tool.BUILD / "host/read_image"
READING = {"base", "format", "read"}  # the floors of core/ that it may link
WRITES = re.compile(r"q2_(write|clusters|sectors|commit|store|table|create|copied|repair|references"
                    r"|header_(set|change)|slice_(put|edit|write)|refcount_(put|take|lower)"
                    r"|disk_(write|flush|discard|resize|check|repair|set))")
SIZE_LIMIT = 64 * 1024  # bytes of code and constants; the host command has more than ten times that


def symbols(*paths):
    """[(file, public name that it defines)]."""
    status, out, err = folder.run("nm", "-A", "-P", "-g", "--defined-only", *paths)
    check_equal(status, 0, f"nm: {err}")
    rows = (line.split(": ", 1) for line in out.splitlines())
    return [(pathlib.Path(path), rest.split()[0]) for path, rest in rows]


def floors_of_names():
    """{public name of core/: floor that defines it}."""
    objects = [tool.BUILD / "host/obj" / path.relative_to(ROOT).with_suffix(".o")
               for path in sorted((ROOT / "core").glob("*/*.c"))]
    return {name: path.parent.name for path, name in symbols(*objects)}


def test_example_links_nothing_that_writes():
    floor_of = floors_of_names()
    linked = {name for _, name in symbols(PROGRAM)}
    check("q2_disk_read" in linked and "q2_disk_flush" in floor_of, "the symbols were not found")
    wrong = [f"{name} of core/{floor_of[name]}" for name in sorted(linked)
             if floor_of.get(name, "read") not in READING or WRITES.match(name)]
    check(not wrong, f"it links {', '.join(wrong)}")


def test_example_is_small():
    status, out, err = folder.run("size", PROGRAM)
    check_equal(status, 0, f"size: {err}")
    text, data = map(int, out.splitlines()[1].split()[:2])
    print(f"# {text} bytes of code and constants, {data} of data")
    check(text + data < SIZE_LIMIT, f"{text + data} bytes, more than {SIZE_LIMIT}")


def test_example_reads_what_qemu_reads():
    folder.qemu_img("create", "-q", "-f", "qcow2", "base.qcow2", "1000000")
    folder.qemu_io("qcow2", "base.qcow2", "write -P 1 0 300000")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2",
                    "1500000")
    folder.qemu_io("qcow2", "top.qcow2", "write -P 2 70000 5000", "write -z 131072 65536")
    folder.qemu_img("convert", "-O", "raw", "top.qcow2", "raw")
    want = (folder.path / "raw").read_bytes()[:1500160]
    for offset, length in ((0, None), (69999, 5002), (1400000, 1000000), (99999999, 1)):
        words = [str(offset)] + ([] if length is None else [str(length)])
        target = folder.path / "out"
        status, _, err = folder.run("sh", "-c", '"$0" "$@" >out', PROGRAM, "top.qcow2", *words)
        check_equal((status, err), (0, ""), f"read_image {words}")
        end = len(want) if length is None else offset + length
        check_equal(target.read_bytes() == want[offset:end], True, f"bytes of read_image {words}")


def test_example_explains_what_it_refuses():
    (folder.path / "text").write_text("no image")
    for words, want in ((["nothing"], "does not exist"), (["text"], "not a qcow2 image"),
                        ([], "usage"), (["text", "1x"], "usage")):
        status, _, err = folder.run(PROGRAM, *words)
        check(status != 0 and want in err, f"read_image {words}: status {status}, {err!r}")


if __name__ == "__main__":
    with tool.Folder("example") as folder:
        main(globals())

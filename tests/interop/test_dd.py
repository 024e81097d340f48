#!/usr/bin/python3
"""metalcow dd beside qemu-img dd and dd(1)."""

import itertools
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop.tool import Folder  # noqa: E402

SEED = 20261128
SIZE = 300 * 1024  # no multiple of the larger blocks

folder = Folder("dd")


def content(name):
    return (folder.path / name).read_bytes()


def remove(*names):
    for name in names:
        (folder.path / name).unlink(missing_ok=True)


def make_disk():
    """disk.raw with data, zeros, data; disk.qcow2 the same, with a snapshot of other content."""
    if (folder.path / "disk.raw").exists():
        return
    rnd = random.Random(SEED)
    data = rnd.randbytes(100 * 1024) + bytes(120 * 1024) + rnd.randbytes(80 * 1024)
    (folder.path / "disk.raw").write_bytes(data)
    folder.good("create", "-q", "-f", "qcow2", "disk.qcow2", str(SIZE))
    folder.good("io", "-c", f"write -P 7 0 {SIZE}", "disk.qcow2")
    folder.good("snapshot", "-c", "old", "disk.qcow2")
    folder.good("convert", "-n", "-f", "raw", "-O", "qcow2", "disk.raw", "disk.qcow2")


def test_blocks_and_skip_are_qemus():
    make_disk()
    for block, skip in itertools.product(("512", "4k", "64k", "1M"), (0, 1, 3, 80)):
        remove("ours", "qemus")
        words = (f"bs={block}", f"skip={skip}")
        status, _, err = folder.ours("dd", "if=disk.qcow2", "of=ours", *words)
        theirs, _, complaint = folder.run("qemu-img", "dd", "-f", "qcow2", "-O", "raw",
                                          "if=disk.qcow2", "of=qemus", *words)
        check_equal(status, theirs, f"{words}: exit status; {err}")
        check_equal(err == "", complaint == "", f"{words}: a complaint; {err}")
        check(content("ours") == content("qemus"), f"{words}: the content")


def test_count_is_counted_after_skip():
    make_disk()
    for block, count, skip in ((512, 0, 0), (512, 7, 0), (512, 7, 9), (1000, 3, 2), (65536, 9, 1),
                               (4096, 1, 74), (4096, 2, 74)):
        remove("ours", "dds")
        words = (f"bs={block}", f"count={count}", f"skip={skip}")
        folder.good("dd", "-O", "raw", "of=ours", "if=disk.qcow2", *words)
        subprocess.run(["dd", "if=disk.raw", "of=dds", "status=none", *words], cwd=folder.path,
                       check=True)
        check(content("ours") == content("dds"), f"{words}: the content")


def test_largest_numbers_are_qemus():
    make_disk()
    for word in ("count", "skip"):
        for number, status in ((2**63 - 1, 0), (2**63, 1), (2**64 - 1, 1)):
            remove("ours", "qemus")
            words = ("-f", "raw", "if=disk.raw", f"{word}={number}")
            got = folder.ours("dd", *words, "of=ours")[0]
            theirs = folder.run("qemu-img", "dd", *words, "of=qemus")[0]
            check_equal((got, theirs), (status, status), f"{word}={number}")


def test_formats_and_snapshots():
    make_disk()
    remove("out")
    folder.good("dd", "-O", "qcow2", "if=disk.qcow2", "of=out", "bs=64k", "skip=1")
    check_equal(folder.qemu_img("check", "-f", "qcow2", "out").splitlines()[0],
                "No errors were found on the image.", "qemu-img check")
    folder.qemu_img("convert", "-f", "qcow2", "-O", "raw", "out", "raw")
    check(content("raw") == content("disk.raw")[65536:], "a qcow2 output")
    remove("out")
    folder.good("dd", "-f", "raw", "if=disk.raw", "of=out", "bs=1k", "count=10")
    check(content("out") == content("disk.raw")[:10240], "a raw input")
    remove("out")
    folder.good("dd", "--snapshot=old", "if=disk.qcow2", "of=out", "count=3")
    check(content("out") == bytes([7]) * 1536, "a snapshot")


def test_wrong_operands_change_nothing():
    make_disk()
    before = content("disk.raw")
    for words in (("if=disk.raw",), ("of=out",), ("if=disk.raw", "of=out", "bs=0"),
                  ("if=disk.raw", "of=out", "bs=2G"), ("if=disk.raw", "of=out", "bs=x"),
                  ("if=disk.raw", "of=out", "count=9223372036854775808"),
                  ("if=disk.raw", "of=out", "skip=18446744073709551615"),
                  ("if=disk.raw", "of=out", "count=-1"), ("if=disk.raw", "of=out", "conv=sync"),
                  ("if=gone", "of=out"), ("-O", "vmdk", "if=disk.raw", "of=out"),
                  ("if=disk.raw", "of=disk.raw"), ("if=disk.raw", "of=out", "a", "b", "c", "d")):
        remove("out")
        status, _, err = folder.ours("dd", "-f", "raw", *words)
        check(status == 1 and err.startswith("metalcow: "), f"{words}: {status} {err}")
        check(not (folder.path / "out").exists(), f"{words} made the output")
        check(content("disk.raw") == before, f"{words} changed the input")


if __name__ == "__main__":
    with folder:
        main(globals())

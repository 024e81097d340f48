#!/usr/bin/python3
"""metalcow bench: what it reads, writes, says and refuses. Times are not judged."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop.tool import Folder  # noqa: E402

SIZE = 1024 * 1024

folder = Folder("bench")


def make(name="disk.qcow2"):
    (folder.path / name).unlink(missing_ok=True)
    folder.good("create", "-q", "-f", "qcow2", name, str(SIZE))
    folder.good("io", "-c", f"write -P 1 0 {SIZE}", name)


def content(name):
    folder.good("convert", "-O", "raw", name, "out.raw")
    return (folder.path / "out.raw").read_bytes()


def test_reads_say_how_long_they_took():
    make()
    before = (folder.path / "disk.qcow2").read_bytes()
    out = folder.good("bench", "-c", "10", "-s", "64k", "-o", "4k", "-d", "1", "disk.qcow2")
    lines = out.splitlines()
    check_equal(lines[0], "10 reads of 65536 bytes, one after the other, from offset 4096 on, "
                          "65536 bytes apart", "the first line")
    check(re.fullmatch(r"Run completed in \d+\.\d{3} seconds\.", lines[1]) is not None, lines[1])
    check_equal(len(lines), 2, "lines")
    check((folder.path / "disk.qcow2").read_bytes() == before, "reads change nothing")
    check_equal(folder.good("bench", "-q", "disk.qcow2"), "", "output of -q")


def test_writes_are_qemus():
    for words in (("-c", "3", "-s", "512", "-S", "1024", "-o", "512", "--pattern=7"),
                  ("-c", "5", "-s", "4k"), ("-c", "300", "-s", "4k", "--pattern=255"),
                  ("-c", "7", "-s", "8k", "-S", "64k", "--flush-interval=2", "--pattern=0x5a")):
        make("ours.qcow2")
        make("qemus.qcow2")
        folder.good("bench", "-w", "-q", *words, "ours.qcow2")
        folder.qemu_img("bench", "-w", "-q", "-d", "1", "-f", "qcow2", *words, "qemus.qcow2")
        check(content("ours.qcow2") == content("qemus.qcow2"), f"{words}: the content")
        folder.qemu_img("check", "-q", "ours.qcow2")


def test_requests_stay_inside_the_disk():
    make()
    end = SIZE - 4096
    folder.good("bench", "-w", "-q", "-c", "3", "-s", "4k", "-o", str(end), "-S", str(1 << 30),
                "--pattern=2", "disk.qcow2")
    data = content("disk.qcow2")
    check_equal(data[end:], bytes([2]) * 4096, "the offset wraps at the end of the disk")
    check_equal(data[:end], bytes([1]) * end, "the rest")
    folder.good("bench", "-w", "-q", "-c", "2", "-s", "4k", "-o", str(end - 4095), "--pattern=3",
                "disk.qcow2")
    data = content("disk.qcow2")
    check_equal(data[:4096], bytes([3]) * 4096, "a request that would leave the disk")


def test_steps_that_are_qemus():
    make()
    for words, status in ((("-S", "2G"), 1), (("-s", "1M", "-S", "1"), 1), (("-S", "0"), 0),
                          (("-s", "512k", "-S", "512k"), 0), (("-s", "512k", "-S", "524289"), 1),
                          (("-s", "1M", "-S", "1M"), 0), (("-s", "1M"), 0)):
        theirs = folder.run("qemu-img", "bench", "-c", "2", "-d", "1", *words, "disk.qcow2")[0]
        got = folder.ours("bench", "-c", "2", *words, "disk.qcow2")[0]
        check_equal((got, theirs), (status, status), f"{words}: our and qemu's status")


def test_flushes_are_made():
    make()
    calls = folder.traced("bench", "-w", "-q", "-c", "9", "-s", "64k", "--flush-interval=3",
                          "disk.qcow2")
    more = [call for call, _ in calls].count("flush")
    calls = folder.traced("bench", "-w", "-q", "-c", "9", "-s", "64k", "disk.qcow2")
    check(more > [call for call, _ in calls].count("flush") > 0, f"{more} flushes")


def test_refusals():
    make()
    before = (folder.path / "disk.qcow2").read_bytes()
    for words, text in (
            (("-d", "64"), "-d: requests are made one after the other, so the depth can only be 1"),
            (("-s", "0"), "-s: a request has 1 byte to 1 GiB"),
            (("-s", "2G"), "-s: a request has 1 byte to 1 GiB"),
            (("-S", "2G"), "-S: requests are at most 2147483647 bytes apart"),
            (("-s", "1M", "-S", "1"), "-S: a request would leave the disk after one step"),
            (("-s", "512k", "-S", str(512 * 1024 + 1)), "-S: a request would leave the disk"),
            (("-c", "0"), "-c: at least one request must be made"),
            (("-w", "--pattern=256"), "--pattern: a byte has a value of 0 to 255"),
            (("--pattern=0",), "--pattern and --flush-interval are for writes; add -w"),
            (("--flush-interval=1",), "--pattern and --flush-interval are for writes; add -w"),
            (("-w", "-o", str(SIZE - 4095)), "disk.qcow2: the range is not inside the disk")):
        status, out, err = folder.ours("bench", *words, "disk.qcow2")
        check_equal((status, out), (1, ""), f"{words}: status and output")
        check(f"metalcow: {text}" in err, f"{words}: {err}")
    check((folder.path / "disk.qcow2").read_bytes() == before, "refusals change nothing")


if __name__ == "__main__":
    with folder:
        main(globals())

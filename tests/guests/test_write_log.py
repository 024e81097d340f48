#!/usr/bin/python3
"""tests/guests/write_log.py: what a power cut leaves of writes; the log is made by QEMU."""

import pathlib
import random
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.guests import write_log  # noqa: E402
from tests.guests.write_log import Write  # noqa: E402
from tools import fs  # noqa: E402


def logged(folder, *commands):
    """The log of qemu-io's commands."""
    disk, log = pathlib.Path(folder, "disk"), pathlib.Path(folder, "log")
    fs.make_sparse(disk, 1 << 20)
    log.touch()
    words = [word for command in commands for word in ("-c", command)]
    fs.run("qemu-io", *words, "--image-opts", f"driver=blklogwrites,file.driver=file,"
           f"file.filename={disk},log.driver=file,log.filename={log}")
    return log


def test_a_log_of_qemu_is_read():
    with tempfile.TemporaryDirectory() as folder:
        log = logged(folder, "write -P 1 4096 1024", "flush", "write -P 2 0 512",
                     "write -z 8192 512")
        writes = [write for write in write_log.read(log, log.stat().st_size) if write.data]
        check_equal([(write.offset, len(write.data), set(write.data)) for write in writes],
                    [(4096, 1024, {1}), (0, 512, {2}), (8192, 512, {0})], "the writes")
        flushes = [write.flush for write in write_log.read(log, log.stat().st_size)]
        check_equal(flushes[:3], [False, True, False], "the flush")
        check_equal(len(write_log.read(log, 513)), 1, "entries that begin before an offset")


def test_a_log_without_a_request_is_empty():
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "log")
        log.touch()
        check_equal(write_log.read(log, 0), [], "the writes")


def refused(log, content, why):
    log.write_bytes(content)
    try:
        write_log.read(log, len(content))
    except write_log.LogError as error:
        check(why in str(error), f"another refusal: {error}")
    else:
        check(False, f"no refusal of {why}")


def test_a_log_that_is_cut_off_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        log = logged(folder, "write -P 1 4096 1024")
        content = log.read_bytes()
        refused(log, content[:2000], "is cut off")
        refused(log, b"x" + content[1:], "no log")
        refused(log, content[:528] + b"\x04" + content[529:], "flags 4")


OLD = Write(0, b"o" * 1024)
FLUSH = Write(0, b"", flush=True)
NEW = Write(512, b"n" * 1024)


def test_what_was_flushed_is_kept_and_the_rest_may_be_lost():
    dice = random.Random(1)
    everything = [OLD, FLUSH, NEW]
    check_equal(write_log.survivors(everything, dice, 0.0, False), [OLD], "all is lost")
    check_equal(write_log.survivors(everything, dice, 1.0, False), [OLD, NEW], "none is")
    check_equal(write_log.survivors([NEW], dice, 0.0, False), [], "nothing was flushed")
    check_equal(write_log.survivors([NEW, Write(0, b"x" * 512, flush=True)], dice, 0.0, False),
                [NEW], "the data of a flush is not covered by it")


def test_a_torn_write_has_some_of_its_sectors():
    long = Write(0, bytes(range(256)) * 2 * 64)
    kept = write_log.survivors([FLUSH, long], random.Random(1), 0.5, True)
    check(8 < len(kept) < 56, f"{len(kept)} of 64 sectors")
    for write in kept:
        check_equal(write.data, long.data[write.offset : write.offset + 512], "a sector")


def test_a_write_outside_is_found():
    ranges = [(1024, 2048), (512, 1024), (4096, 4608)]
    for write, offset in ((Write(512, bytes(1536)), None), (Write(512, bytes(2048)), 2048),
                          (Write(0, bytes(512)), 0), (Write(4096, bytes(512)), None),
                          (Write(1536, bytes(4096)), 2048)):
        check_equal(write_log.first_outside([write], ranges), offset, f"offset {write.offset}")


def test_a_write_is_translated_to_files_and_undone():
    places = [(1000, 1004, "a", 0), (2000, 2008, "a", 4), (1004, 1008, "b", 100)]
    parts = list(write_log.translate(Write(998, b"0123456789"), places))
    check_equal(parts, [("a", Write(0, b"2345")), ("b", Write(100, b"6789"))], "two files")
    check_equal(list(write_log.translate(Write(2006, b"xyz"), places)), [("a", Write(10, b"xy"))],
                "the second piece")
    with tempfile.TemporaryDirectory() as folder:
        disk = pathlib.Path(folder, "disk")
        disk.write_bytes(b"abcdefgh")
        undo = write_log.apply([Write(1, b"XX"), Write(2, b"YYY")], disk)
        check_equal(disk.read_bytes(), b"aXYYYfgh", "after the writes")
        write_log.apply(undo, disk)
        check_equal(disk.read_bytes(), b"abcdefgh", "after they were undone")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""`metalcow convert --salvage`: what cannot be read becomes zeros, as with qemu-img, and nothing
else does."""

import os
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

folder = tool.Folder("salvage")
SIZE = 18 << 16
BAD = (1100000, 1101000)  # bytes of the disk that the file has at a bad place
SECTORS = (1100000 // 512 * 512, 1101312)  # what is lost for it
LIBRARY = tool.BUILD / "san/tests/interop/fail_read.so"


def contents():
    return random.Random(27).randbytes(SIZE)


def write(name, data):
    (folder.path / name).write_bytes(data)
    return name


def convert(program, bad_file, bad, *arguments):
    """Run `convert` of a program that cannot read bytes [bad[0], bad[1]) of a file."""
    (folder.path / "out").unlink(missing_ok=True)
    done = subprocess.run(
        [str(program), "convert", *arguments, "out"], cwd=folder.path, capture_output=True,
        check=False, text=True,
        env={**os.environ, "LD_PRELOAD": str(LIBRARY), "FAIL_READ": str(folder.path / bad_file),
             "FAIL_READ_RANGE": f"{bad[0]}-{bad[1] - 1}",
             "ASAN_OPTIONS": "verify_asan_link_order=0"})
    return done.returncode, done.stderr


def bytes_of_output(image_format):
    """The disk in out, as qemu-img reads it."""
    (folder.path / "read.raw").unlink(missing_ok=True)
    folder.qemu_img("convert", "-f", image_format, "-O", "raw", "out", "read.raw")
    return (folder.path / "read.raw").read_bytes()


def check_salvages(bad_file, bad, source_format, *arguments, output=("-O", "raw")):
    """Both programs make the same disk and succeed. Returns it, and our warnings."""
    got = []
    for program in ("qemu-img", tool.METALCOW):
        status, err = convert(program, bad_file, bad, "-f", source_format, "--salvage", *output,
                              *arguments)
        check_equal(status, 0, f"{program} {output} {arguments}: {err}")
        got.append(bytes_of_output(output[1]))
    check(got[0] == got[1], f"{output} {arguments}: another disk than qemu-img's")
    return got[1], err


def lost(data, begin, end):
    return data[:begin] + bytes(end - begin) + data[end:]


def test_sectors_that_cannot_be_read_become_zeros():
    data = contents()
    write("source.raw", data)
    for output in (("-O", "raw"), ("-O", "raw", "-S", "0"), ("-O", "qcow2"), ("-O", "qcow2", "-c"),
                   ("-O", "qcow2", "-o", "preallocation=metadata")):
        disk, err = check_salvages("source.raw", BAD, "raw", "source.raw", output=output)
        check(disk == lost(data, *SECTORS), f"{output}: not the sectors that are bad")
        check_equal(err, f"metalcow: warning: 1536 bytes of the disk at offset {SECTORS[0]} become "
                    "zeros: source.raw: the file cannot be read or written, at offset "
                    f"{SECTORS[0]:#x}\n", output)


def test_quiet_says_nothing_and_without_salvage_it_fails():
    write("source.raw", contents())
    for program in ("qemu-img", tool.METALCOW):
        check_equal(convert(program, "source.raw", BAD, "-q", "--salvage", "-f", "raw",
                            "source.raw"), (0, ""), f"{program} -q")
        status, err = convert(program, "source.raw", BAD, "-f", "raw", "source.raw")
        check(status == 1 and err, f"{program} without --salvage: {status} {err}")


def test_metadata_and_compressed_clusters_that_cannot_be_read():
    """An L2 table takes its clusters with it, a bad sector those that are compressed into it."""
    data = (b"some words, " * SIZE)[:SIZE]
    write("source.raw", data)
    for options, bad, all_lost in (((), (262144, 262145), True),
                                   (("-c",), (327680, 328192), False)):
        folder.qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, "source.raw",
                        "source.qcow2")
        disk, err = check_salvages("source.qcow2", bad, "qcow2", "source.qcow2")
        check((disk == bytes(SIZE)) == all_lost and disk != data, f"{options} {bad}: {err}")
        check("warning: " in err, err)


def test_what_is_lost_below_an_overlay_and_in_one_of_several_inputs():
    data = contents()
    write("base.raw", data)
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2")
    folder.qemu_io("qcow2", "top.qcow2", "write -P 9 64k 64k")
    disk, err = check_salvages("base.raw", BAD, "qcow2", "top.qcow2")
    check(disk == lost(data[:65536] + b"\t" * 65536 + data[131072:], *SECTORS), "an overlay")
    check("base.raw" in err, err)
    disk, _ = check_salvages("base.raw", BAD, "raw", "base.raw", "base.raw")
    check(disk == lost(data, *SECTORS) * 2, "two inputs")
    check_salvages("top.qcow2", (327680, 393216), "qcow2", "-B", "base.raw", "-F", "raw",
                   "top.qcow2", output=("-O", "qcow2"))


def test_a_file_system_that_copies_salvages_nothing():
    write("source.raw", contents())
    for program in ("qemu-img", tool.METALCOW):
        status, err = convert(program, "source.raw", BAD, "-C", "--salvage", "-f", "raw",
                              "source.raw")
        check(status == 1 and err and not (folder.path / "out").exists(), f"{program}: {err}")
    check("--salvage" in err, err)


if __name__ == "__main__":
    with folder:
        main(globals())

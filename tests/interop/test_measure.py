#!/usr/bin/python3
"""`metalcow measure` gives the figures of `qemu-img measure`, over geometries and contents."""

import itertools
import json
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

folder = tool.Folder("measure")
SEED = 20


def both(*arguments):
    """Both programs' exit status and figures; errors must be said by both."""
    answers = []
    for program in ("qemu-img", tool.METALCOW):
        status, out, err = folder.run(program, "measure", "--output=json", *arguments)
        check((status == 0) == (err == ""), f"{program} {arguments}: {status}, {err}")
        answers.append((status, json.loads(out) if status == 0 else None))
    theirs, ours = answers
    check_equal(ours, theirs, f"measure {' '.join(map(str, arguments))}")
    return theirs[0]


def test_sizes_over_geometries():
    chooser = random.Random(SEED)
    sizes = [0, 1, 512, 65535, 65537, 10 << 20, 1 << 40]
    refused = 0
    for bits, refcounts, extended in itertools.product(range(9, 22), (1, 16, 64), (False, True)):
        size = chooser.choice(sizes) if chooser.random() < .5 else chooser.randrange(1 << 44)
        options = f"cluster_size={1 << bits},refcount_bits={refcounts}"
        options += ",extended_l2=on" if extended else ""
        refused += both("-O", "qcow2", "-o", options, "--size", size) != 0
    check(0 < refused < 30, f"{refused} of 78 were refused")


def test_options():
    for options in ("preallocation=off", "preallocation=metadata", "preallocation=falloc",
                    "preallocation=full", "compat=0.10", "compat=1.1", "lazy_refcounts=on",
                    "compat=0.10,cluster_size=4k", "compression_type=zstd", "cluster_size=1.5k",
                    "refcount_bits=3", "refcount_bits=128", "compat=0.10,refcount_bits=8",
                    "compat=0.9", "preallocation=some", "nonsense=1", "cluster_size=4M",
                    "extended_l2=on,cluster_size=8k", "extended_l2=maybe"):
        both("-O", "qcow2", "-o", options, "--size", "3G")
    both("-O", "qcow2", "-o", "cluster_size=4k", "-o", "refcount_bits=64", "--size", "3G")
    for size in ("0", "1", "1000", "5G"):
        both("-O", "raw", "--size", size)
        both("--size", size)
    both("-O", "raw", "-o", "cluster_size=4k", "--size", "1G")


def test_human_form():
    for arguments in (("-O", "qcow2", "--size", "64M"), ("--size", "1M")):
        status, want, _ = folder.run("qemu-img", "measure", *arguments)
        check_equal((status, folder.good("measure", *arguments)), (0, want), f"{arguments}")
    make_images()
    check_equal(folder.good("measure", "-O", "qcow2", "top.qcow2"),
                folder.qemu_img("measure", "-O", "qcow2", "-f", "qcow2", "top.qcow2"), "of a file")


def test_wrong_command_lines():
    for arguments, words in ((("-O", "qcow2"), "needs --size N or a file"),
                             (("-O", "qcow2", "--size", "1M", "x"), "not both"),
                             (("-O", "vmdk", "--size", "1M"), "vmdk"),
                             (("--size", "1Q"), "1Q"), (("-O", "qcow2", "gone.qcow2"), "gone"),
                             (("-O", "qcow2", "-o", "encrypt.format=luks", "--size", "1"),
                              "needs encrypt.key-secret")):
        status, out, err = folder.ours("measure", *arguments)
        check_equal((status, out), (1, ""), f"{arguments}")
        check(err.startswith("metalcow: ") and words in err, f"{arguments}: {err}")


def test_size_takes_no_option_about_a_file():
    words = "leave them out"
    for arguments in (("-l", "nosuch"), ("-l", "snapshot.name=nosuch"), ("-f", "qcow2"),
                      ("--snapshot=nosuch",), ("--passphrase-file=gone",), ("--key-file=gone",),
                      ("--data-file=gone",), ("--backing-file=gone",), ("--names=none",),
                      ("--backing-format=raw",)):
        arguments = ("-O", "qcow2", *arguments, "--size", "1M")
        if arguments[2] in ("-l", "-f"):
            check_equal(folder.run("qemu-img", "measure", *arguments)[0], 1, f"{arguments}")
        status, out, err = folder.ours("measure", *arguments)
        check_equal((status, out), (1, ""), f"{arguments}")
        check(err.startswith("metalcow: ") and words in err, f"{arguments}: {err}")


def make_images():
    """A chain with compressed clusters and zeros, a snapshot, bitmaps, and a sparse raw file."""
    for name in ("base.qcow2", "top.qcow2", "old.qcow2"):
        (folder.path / name).unlink(missing_ok=True)
    chooser = random.Random(SEED)
    folder.qemu_img("create", "-q", "-f", "raw", "some.raw", "9999872")
    folder.qemu_io("raw", "some.raw", *(
        f"write {chooser.randrange(9000) * 1024} {chooser.randrange(1, 300)}k" for _ in range(20)))
    folder.qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "some.raw", "base.qcow2")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "base.qcow2",
                    "-F", "qcow2", "top.qcow2", "12M")
    folder.qemu_io("qcow2", "top.qcow2", "write 0 5k", "write -z 2M 1M", "write 11M 9000")
    folder.qemu_img("snapshot", "-c", "first", "top.qcow2")
    folder.qemu_io("qcow2", "top.qcow2", "write 6M 3M")
    for name, granularity in (("a", 65536), ("a longer name", 512)):
        folder.qemu_img("bitmap", "--add", "-g", granularity, "top.qcow2", name)
    folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "old.qcow2", "5M")
    folder.qemu_io("qcow2", "old.qcow2", "write 1M 1M")


def test_files():
    make_images()
    for name, options in itertools.product(
            ("top.qcow2", "base.qcow2", "old.qcow2"),
            ("cluster_size=512", "cluster_size=4k", "cluster_size=64k", "cluster_size=2M",
             "compat=0.10", "extended_l2=on", "preallocation=full",
             "backing_file=base.qcow2,backing_fmt=qcow2")):
        both("-O", "qcow2", "-o", options, "-f", "qcow2", name)
        both("-O", "raw", "-f", "qcow2", name)
    for unit in ("512", "4k", "2M"):
        both("-O", "qcow2", "-o", f"cluster_size={unit}", "-f", "raw", "some.raw")
    both("-O", "qcow2", "-f", "qcow2", "-l", "first", "top.qcow2")
    figures = json.loads(folder.good("measure", "-O", "qcow2", "--output=json", "top.qcow2"))
    check(figures["bitmaps"] > 0, f"no bitmaps in {figures}")


if __name__ == "__main__":
    with folder:
        main(globals())

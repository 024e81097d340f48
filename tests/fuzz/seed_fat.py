#!/usr/bin/python3
"""Make the seeds of fuzz_fat: small FAT volumes, as records of the sectors that are not zero.

    tests/fuzz/seed_fat.py [FOLDER]        default tests/fuzz/corpus/fat; needs mkfs.fat and mtools

The result is the same on every run; it is committed, so only a change of the format needs a new
one.
"""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile

SECTOR = 512

# Name, KiB, options of mkfs.fat.
VOLUMES = [
    ("fat12", 128, ["-F", "12", "-s", "1"]),
    ("fat16", 4096, ["-F", "16", "-s", "1"]),
    ("fat32", 34816, ["-F", "32", "-s", "1"]),
    ("fat16_sector_1024", 16384, ["-F", "16", "-S", "1024", "-s", "2"]),
]


def run(*command):
    """Run a tool; its failure is ours."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_volume(image, kib, options, folder):
    """A volume with a file in a folder, one with a long name, and one in two pieces."""
    with open(image, "wb") as file:
        file.truncate(kib * 1024)
    run("mkfs.fat", "--invariant", *options, image)
    for name, size in (("a", 1600), ("b", 700), ("c", 2500)):
        (folder / name).write_bytes(bytes(ord(name) for _ in range(size)))
    run("mmd", "-i", image, "::/img")
    run("mcopy", "-i", image, str(folder / "a"), "::/hole")
    run("mcopy", "-i", image, str(folder / "b"), "::/long name.qcow2")
    run("mdel", "-i", image, "::/hole")
    run("mcopy", "-i", image, str(folder / "c"), "::/img/a.qcow2")
    run("mcopy", "-i", image, str(folder / "a"), "::/a")


def records(image):
    """The volume's sectors that are not zero."""
    data = pathlib.Path(image).read_bytes()
    zero = bytes(SECTOR)
    return b"".join(
        struct.pack("<I", at // SECTOR) + data[at : at + SECTOR]
        for at in range(0, len(data), SECTOR)
        if data[at : at + SECTOR] != zero
    )


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fuzz/corpus/fat")
    target.mkdir(parents=True, exist_ok=True)
    os.environ.update(SOURCE_DATE_EPOCH="1700000000", MTOOLS_SKIP_CHECK="1", LC_ALL="C", TZ="UTC")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for name, kib, options in VOLUMES:
        with tempfile.TemporaryDirectory() as folder:
            image = os.path.join(folder, "image")
            make_volume(image, kib, options, pathlib.Path(folder))
            (target / name).write_bytes(records(image))


if __name__ == "__main__":
    main()

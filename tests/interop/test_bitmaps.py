#!/usr/bin/python3
"""`metalcow bitmap`, and bitmaps that are kept while an image is written, beside qemu-img 7.2.

Twins of one image go through the same operations, ours by metalcow and theirs by QEMU's programs,
and hold the same bits; QEMU's check finds nothing in ours."""

import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop.bitmap_file import IN_USE, bitmaps, directory  # noqa: E402
from tests.interop.tool import Folder  # noqa: E402

MIB = 1 << 20


def mark_in_use(path, wanted):
    """As a program that died leaves it."""
    _, entries = directory(path)
    with path.open("r+b") as file:
        for name, entry, _, _, flags, _ in entries:
            if name == wanted:
                file.seek(entry + 12)
                file.write(struct.pack(">I", flags | IN_USE))


class Twins:
    """Two copies of an image in a folder: ours/x.qcow2 and theirs/x.qcow2."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("ours", "theirs"):
            shutil.rmtree(folder.path / name, ignore_errors=True)
            (folder.path / name).mkdir()

    def path(self, side, name="x.qcow2"):
        return self.folder.path / side / name

    def make(self, name, *commands):
        """commands: words for qemu-img; FILE stands for the image."""
        for words in commands:
            self.folder.qemu_img(*[self.path("theirs", name) if word == "FILE" else word
                                   for word in words])
        shutil.copy(self.path("theirs", name), self.path("ours", name))

    def both(self, *words, name="x.qcow2"):
        """Run one command line by both; both succeed or both fail. Returns the status."""
        def put(side):
            return [self.path(side, word[1:]) if word.startswith("@") else word
                    for word in words]
        ours = self.folder.ours(*put("ours"))
        theirs = self.folder.run("qemu-img", *put("theirs"))
        check_equal(ours[0], theirs[0], f"{words}: {ours} {theirs}")
        if ours[0] != 0:
            check(ours[2].startswith("metalcow: "), f"{words} without a reason: {ours}")
        self.compare(words, name)
        return ours[0]

    def io(self, *commands):
        words = [word for command in commands for word in ("-c", command)]
        self.folder.good("io", *words, self.path("ours"))
        self.folder.qemu_io("qcow2", self.path("theirs"), *commands)
        self.compare(commands)

    def compare(self, what, name="x.qcow2"):
        if self.path("ours", name).exists(): # QEMU 7.2 leaks when a bitmap's disk shrinks
            self.folder.qemu_img("check", "-q", self.path("ours", name))
            check_equal(bitmaps(self.path("ours", name)), bitmaps(self.path("theirs", name)),
                        f"bitmaps after {what}")


def test_command_lines():
    """Each in turn on what the ones before it left: same exit status, same bitmaps."""
    with Folder("bitmap-lines") as folder:
        twins = Twins(folder)
        twins.make("small.qcow2", ("create", "-q", "-f", "qcow2", "FILE", "1M"),
                   ("bitmap", "--add", "FILE", "m"))
        twins.make("old.qcow2", ("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "FILE", "1M"))
        twins.make("raw", ("create", "-q", "-f", "raw", "FILE", "1M"))
        twins.make("x.qcow2", ("create", "-q", "-f", "qcow2", "FILE", "64M"))
        for line, status in (
                ("bitmap --add @x.qcow2 b0", 0), ("bitmap --add @x.qcow2 b0", 1),
                ("bitmap --add -g 4k --disable @x.qcow2 fine", 0),
                ("bitmap --add -g 2G @x.qcow2 coarse", 0), ("bitmap -g 512 --add @x.qcow2 c", 0),
                ("bitmap --add -g 1000 @x.qcow2 d", 1), ("bitmap --add -g 256 @x.qcow2 d", 1),
                ("bitmap --add -g 4G @x.qcow2 d", 1), ("bitmap @x.qcow2 b0", 1),
                ("bitmap --add @x.qcow2", 1), ("bitmap -g 4k --clear @x.qcow2 b0", 1),
                ("bitmap -b @small.qcow2 --clear @x.qcow2 b0", 1),
                ("bitmap -F qcow2 --clear @x.qcow2 b0", 1), ("bitmap --remove @x.qcow2 no", 1),
                ("bitmap --clear @x.qcow2 no", 1), ("bitmap --enable @x.qcow2 no", 1),
                ("bitmap --merge no @x.qcow2 b0", 1), ("bitmap --merge b0 @x.qcow2 no", 1),
                ("bitmap --merge m -b @small.qcow2 -F qcow2 @x.qcow2 b0", 1),
                ("bitmap --add @old.qcow2 b", 1), ("bitmap --add -f raw @raw b", 1),
                ("convert --bitmaps -O qcow2 @old.qcow2 @x2.qcow2", 1),
                ("convert --bitmaps -O qcow2 @raw @x2.qcow2", 1),
                ("bitmap --enable --disable @x.qcow2 b0", 0), ("bitmap --enable @x.qcow2 b0", 0),
                ("bitmap --remove --add @x.qcow2 coarse", 0), ("bitmap --remove @x.qcow2 c", 0),
                ("bitmap --clear --remove --remove @x.qcow2 coarse", 1),
                (f"bitmap --add @x.qcow2 {'n' * 1023}", 0),
                (f"bitmap --add @x.qcow2 {'n' * 1024}", 1),
                (f"bitmap --remove @x.qcow2 {'n' * 1023}", 0)):
            check_equal(twins.both(*line.split()), status, line)
        check_equal(twins.both("bitmap", "--add", "@x.qcow2", ""), 1, "an empty name")


def test_inconsistent_bitmaps():
    with Folder("bitmap-broken") as folder:
        twins = Twins(folder)
        twins.make("x.qcow2", ("create", "-q", "-f", "qcow2", "FILE", "64M"),
                   ("bitmap", "--add", "FILE", "bad"), ("bitmap", "--add", "FILE", "good"),
                   ("snapshot", "-c", "s", "FILE"))
        for side in ("ours", "theirs"):
            mark_in_use(twins.path(side), "bad")
        for line, status in (
                ("resize @x.qcow2 128M", 1), ("resize --shrink @x.qcow2 1M", 1),
                ("bitmap --clear @x.qcow2 bad", 1), ("bitmap --enable @x.qcow2 bad", 1),
                ("bitmap --merge bad @x.qcow2 good", 1), ("bitmap --merge good @x.qcow2 bad", 1),
                ("convert --bitmaps -O qcow2 @x.qcow2 @c.qcow2", 1),
                ("convert --skip-broken-bitmaps -O qcow2 @x.qcow2 @c.qcow2", 1),
                ("convert --bitmaps -O raw @x.qcow2 @c.raw", 1),
                ("snapshot -a s @x.qcow2", 1), ("bitmap --remove @x.qcow2 bad", 0),
                ("snapshot -a s @x.qcow2", 1), ("resize -q @x.qcow2 128M", 0),
                ("snapshot -d s @x.qcow2", 0)):
            check_equal(twins.both(*line.split()), status, line)
        for side in ("ours", "theirs"):
            check(not twins.path(side, "c.qcow2").exists(), f"{side}: a refused copy was made")
        mark_in_use(twins.path("ours"), "good")
        status, _, err = folder.ours("convert", "--bitmaps", "--skip-broken-bitmaps", "-O",
                                     "qcow2", twins.path("ours"), twins.path("ours", "c.qcow2"))
        check(status == 0 and "was not stored completely: bitmap 'good'" in err, err)
        check_equal(bitmaps(twins.path("ours", "c.qcow2")), {}, "nothing is left to copy")
        mark_in_use(twins.path("ours"), "good")
        status, _, err = folder.ours("resize", twins.path("ours"), "256M")
        check("remove it first" in err and "good" in err, err)


def random_operation(chooser, twins, size):
    """One operation by both programs; returns the disk's size."""
    kind = chooser.choice(("io", "io", "io", "io", "merge", "toggle", "clear", "resize",
                           "snapshot", "again"))
    if kind == "io":
        commands = []
        for _ in range(chooser.randrange(1, 4)):
            at = chooser.randrange(size // 512) * 512
            length = min(chooser.choice((512, 70000 // 512 * 512, 900 * 1024)), size - at)
            what = chooser.choice(("write -P 1", "write -P 2", "write -z", "write -z -u"))
            commands.append(f"{what} {at} {length}")
            cluster = chooser.randrange(size // 65536) * 65536
            commands.append(f"discard {cluster} 64k")
        twins.io(*commands)
    elif kind == "merge":
        twins.both("bitmap", "--merge", chooser.choice(("a", "b")), "@x.qcow2",
                   chooser.choice(("b", "c")))
    elif kind == "toggle":
        twins.both("bitmap", chooser.choice(("--enable", "--disable")), "@x.qcow2",
                   chooser.choice(("a", "b", "c")))
    elif kind == "clear":
        twins.both("bitmap", "--clear", "@x.qcow2", chooser.choice(("b", "c")))
    elif kind == "again":
        twins.both("bitmap", "--remove", "--add", "-g", chooser.choice(("512", "4k", "1M")),
                   "@x.qcow2", "c")
    elif kind == "snapshot":
        twins.both("snapshot", "-c", "s", "@x.qcow2")
        twins.both("snapshot", "-d", "s", "@x.qcow2")
    else:
        size = chooser.randrange(1, 64) * MIB + chooser.randrange(128) * 512
        twins.both("resize", "-q", "--shrink", "@x.qcow2", str(size))
    return size


def test_random_operations():
    for seed, options in enumerate(("cluster_size=64k", "cluster_size=4k",
                                    "cluster_size=512,refcount_bits=1",
                                    "cluster_size=16k,extended_l2=on")):
        chooser = random.Random(seed)
        with Folder("bitmap-random") as folder:
            twins = Twins(folder)
            twins.make("x.qcow2", ("create", "-q", "-f", "qcow2", "-o", options, "FILE", "16M"),
                       ("bitmap", "--add", "FILE", "a"),
                       ("bitmap", "--add", "-g", "512", "FILE", "b"),
                       ("bitmap", "--add", "--disable", "--granularity=4k", "FILE", "c"))
            size = 16 * MIB
            if "refcount_bits=1" in options: # no snapshots then
                twins.both("snapshot", "-c", "s", "@x.qcow2")
            for _ in range(8):
                if "refcount_bits=1" not in options or chooser.random() < 0.7:
                    size = random_operation(chooser, twins, size)


def nbd_dirty(folder, name, bitmap):
    """What QEMU says is dirty: (start, length) by qemu-nbd."""
    socket = folder.path / "s"
    server = subprocess.Popen(["qemu-nbd", "-r", "-t", "-f", "qcow2", "-k", str(socket), "-B",
                               bitmap, str(folder.path / name)])
    try:
        for _ in range(600):
            if socket.exists():
                break
            time.sleep(0.05)
        out = folder.qemu_img("map", "--output=json", "--image-opts",
                              f"driver=nbd,server.type=unix,server.path={socket},"
                              f"x-dirty-bitmap=qemu:dirty-bitmap:{bitmap}")
    finally:
        server.terminate()
        server.wait()
    return [(entry["start"], entry["length"]) for entry in json.loads(out) if not entry["data"]]


def test_qemu_reads_what_we_kept():
    """All of our writing verbs; then QEMU itself tells what is dirty."""
    with Folder("bitmap-nbd") as folder:
        folder.good("create", "-q", "-f", "qcow2", "x.qcow2", "4M")
        folder.good("bitmap", "--add", "x.qcow2", "b")
        (folder.path / "bytes").write_bytes(b"x" * 100)
        folder.good("write", 65536 - 50, "x.qcow2", "bytes")
        folder.good("zero", 1 * MIB, 1, "x.qcow2")
        folder.good("discard", 2 * MIB, 65536, "x.qcow2")
        folder.good("resize", "-q", "x.qcow2", "6M")
        folder.good("create", "-q", "-f", "qcow2", "-b", "x.qcow2", "-F", "qcow2", "top.qcow2",
                    "8M")
        folder.qemu_io("qcow2", "top.qcow2", "write 3M 64k", "write 7M 64k")
        folder.good("commit", "-q", "top.qcow2")
        folder.qemu_img("check", "-q", "x.qcow2")
        wanted = [(0, 131072), (MIB, 65536), (2 * MIB, 65536), (3 * MIB, 65536), (7 * MIB, 65536)]
        check_equal(nbd_dirty(folder, "x.qcow2", "b"), wanted, "what QEMU says is dirty")
        folder.good("convert", "--bitmaps", "-c", "-O", "qcow2", "x.qcow2", "y.qcow2")
        check_equal(nbd_dirty(folder, "y.qcow2", "b"), wanted, "the same of the copy")
        check_equal(json.loads(folder.good("info", "--output=json", "y.qcow2"))
                    ["format-specific"]["data"]["bitmaps"],
                    json.loads(folder.qemu_img("info", "--output=json", "y.qcow2"))
                    ["format-specific"]["data"]["bitmaps"], "info")


def test_commit_and_convert():
    with Folder("bitmap-chain") as folder:
        twins = Twins(folder)
        twins.make("x.qcow2", ("create", "-q", "-f", "qcow2", "FILE", "1M"),
                   ("bitmap", "--add", "-g", "512", "FILE", "b"))
        for side in ("ours", "theirs"):
            folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "x.qcow2", "-F", "qcow2",
                            twins.path(side, "top.qcow2"), "3M")
            folder.qemu_img("bitmap", "--add", twins.path(side, "top.qcow2"), "t")
            folder.qemu_io("qcow2", twins.path(side, "top.qcow2"), "write -P 3 100k 3k",
                           "write -P 4 2M 64k")
        twins.both("commit", "-q", "@top.qcow2")
        twins.compare("commit", "top.qcow2")
        twins.both("convert", "--bitmaps", "-O", "qcow2", "-o", "cluster_size=4k", "@x.qcow2",
                   "@y.qcow2", name="y.qcow2")
        twins.both("bitmap", "--merge", "b", "-b", "@x.qcow2", "-F", "qcow2", "@y.qcow2", "b",
                   name="y.qcow2")
        twins.both("convert", "-n", "--bitmaps", "-O", "qcow2", "@x.qcow2", "@y.qcow2",
                   name="y.qcow2")


if __name__ == "__main__":
    main(globals())

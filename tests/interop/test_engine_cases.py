#!/usr/bin/python3
"""What public reports and ordinary use found in the engine, end to end, with QEMU beside it.

Each case makes its own images with qemu-img and qemu-io, has metalcow change them, and asks
both programs what they are then.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import METALCOW, Folder  # noqa: E402

MIB = 1 << 20


def used(path):
    """Bytes that the file system has given a file."""
    return os.stat(path).st_blocks * 512


def check_clean(folder, name):
    check_equal(folder.run("qemu-img", "check", name)[0], 0, f"qemu-img check {name}")


def test_file_that_ends_inside_its_last_cluster():
    with Folder("short-end") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "a.qcow2", "1M")
        folder.qemu_io("qcow2", "a.qcow2", "write -P 1 0 2k")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "o.qcow2")
        folder.qemu_io("qcow2", "o.qcow2", "write -P 7 0 64k")
        folder.good("io", "-c", "write -P 2 8k 4k", "-c", "write -P 3 512k 4k", "a.qcow2")
        folder.qemu_io("qcow2", "a.qcow2", "read -P 1 0 2k", "read -P 0 2k 6k", "read -P 2 8k 4k",
                       "read -P 3 512k 4k")
        check_clean(folder, "a.qcow2")
        folder.good("commit", "o.qcow2")
        folder.qemu_io("qcow2", "a.qcow2", "read -P 7 0 64k")
        check_clean(folder, "a.qcow2")


def test_raw_data_file_is_the_disk():
    with Folder("raw-data") as folder:
        folder.good("create", "-q", "-f", "qcow2", "-o", "data_file=d.raw,data_file_raw=on",
                    "t.qcow2", "1M")
        with open(folder.path / "d.raw", "r+b") as data:
            data.write(b"system")
            data.truncate(2 * MIB)
            data.seek(MIB)
            data.write(b"T" * MIB)
        check_equal(folder.good("read", "0", "6", "t.qcow2"), "system", "what was put into it")
        folder.good("resize", "-q", "t.qcow2", "2M")
        folder.qemu_io("qcow2", "t.qcow2", "read -P 84 1M 1M")
        folder.qemu_io("raw", "d.raw", "read -P 84 1M 1M")
        check_clean(folder, "t.qcow2")
        folder.good("create", "-q", "-f", "qcow2", "-o", "data_file=e.raw,data_file_raw=on",
                    "u.qcow2", "10240")
        folder.good("io", "-c", "write -P 17 0 10240", "u.qcow2")
        folder.good("resize", "-q", "u.qcow2", "1M")
        folder.qemu_io("qcow2", "u.qcow2", "read -P 17 0 10240", "read -P 0 10240 1038336")


def test_disk_of_an_odd_size_grows():
    with Folder("odd") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "a.qcow2", "2M")
        with open(folder.path / "a.qcow2", "r+b") as image:
            image.seek(24)
            image.write((1000001).to_bytes(8, "big"))
        folder.good("resize", "-q", "a.qcow2", "+1M")
        size = json.loads(folder.qemu_img("info", "--output=json", "a.qcow2"))["virtual-size"]
        check_equal(size, (1000001 + MIB + 511) // 512 * 512, "the new size")


def test_space_is_given_back():
    with Folder("space") as folder:
        image = folder.path / "s.qcow2"
        for verb in (["resize", "-q", "--shrink", "s.qcow2", "1M"],
                     ["io", "-c", "discard 0 20M", "s.qcow2"],
                     ["snapshot", "-d", "a", "s.qcow2"]):
            folder.qemu_img("create", "-q", "-f", "qcow2", "s.qcow2", "64M")
            folder.qemu_io("qcow2", "s.qcow2", "write -P 1 0 20M")
            if verb[0] == "snapshot":
                folder.qemu_img("snapshot", "-c", "a", "s.qcow2")
                folder.qemu_io("qcow2", "s.qcow2", "write -P 2 0 20M")
            before = used(image)
            folder.good(*verb)
            check(used(image) < before - 15 * MIB, f"{verb}: {before} to {used(image)} bytes")
            check_clean(folder, "s.qcow2")
        folder.qemu_io("qcow2", "s.qcow2", "read -P 2 0 20M")
        (folder.path / "d.raw").write_bytes(b"r" * 4 * MIB)
        folder.good("io", "-f", "raw", "-c", "discard 1M 2M", "d.raw")
        check(used(folder.path / "d.raw") <= 2 * MIB + 65536, "a raw disk's discard")
        folder.qemu_io("raw", "d.raw", "read -P 114 0 1M", "read -P 0 1M 2M", "read -P 114 3M 1M")


def test_commit_empties_the_overlay():
    with Folder("commit-space") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "b.qcow2", "64M")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", "o.qcow2")
        folder.qemu_io("qcow2", "o.qcow2", "write -P 2 0 20M")
        folder.good("commit", "-q", "o.qcow2")
        check(os.stat(folder.path / "o.qcow2").st_size < MIB, "the overlay was not cut")
        check_clean(folder, "o.qcow2")
        folder.qemu_io("qcow2", "o.qcow2", "read -P 2 0 20M")


def test_dirty_image_is_repaired_on_the_way_to_writing():
    with Folder("dirty") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "l.qcow2", "8M")
        folder.run("qemu-io", "-f", "qcow2", "-c", "write -P 3 0 1M", "-c", "abort", "l.qcow2")
        status, _, err = folder.ours("io", "-c", "write -P 4 0 4k", "l.qcow2")
        check_equal((status, err), (0, "metalcow: l.qcow2: the image was not closed cleanly; its "
                                       "record of which clusters are in use has been repaired\n"),
                    "writing a dirty image")
        check_clean(folder, "l.qcow2")
        folder.qemu_io("qcow2", "l.qcow2", "read -P 4 0 4k", "read -P 3 4k 1020k")


def test_bitmaps_are_not_void_after_a_write():
    with Folder("bitmaps") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "b.qcow2", "8M")
        folder.qemu_img("bitmap", "--add", "b.qcow2", "b0")
        status, _, err = folder.ours("io", "-c", "write 0 64k", "b.qcow2")
        check_equal(status, 0, err)
        check_equal(err, "", "what is said")
        info = json.loads(folder.qemu_img("info", "--output=json", "b.qcow2"))
        check_equal([bitmap["flags"] for bitmap in info["format-specific"]["data"]["bitmaps"]],
                    [["auto"]], "the bitmap's flags")
        check_clean(folder, "b.qcow2")
        folder.qemu_img("bitmap", "--remove", "b.qcow2", "b0")
        check_clean(folder, "b.qcow2")


def test_killed_convert_leaves_nothing_that_opens():
    seed = 20261128
    print(f"# seed {seed}")
    rng = random.Random(seed)
    with Folder("killed") as folder:
        (folder.path / "src.raw").write_bytes(rng.randbytes(8 * MIB))
        for options in ([], ["-c"], ["-o", "cluster_size=4k"], ["-o", "preallocation=metadata"]):
            for limit in (0, 1, 200000, 2 * MIB):
                image = folder.path / "o.qcow2"
                image.unlink(missing_ok=True)
                with subprocess.Popen([METALCOW, "convert", "-f", "raw", "-O", "qcow2", *options,
                                       "src.raw", "o.qcow2"], cwd=folder.path,
                                      stderr=subprocess.DEVNULL) as process:
                    while process.poll() is None:
                        if image.exists() and image.stat().st_size >= limit:
                            process.send_signal(signal.SIGKILL)
                            break
                        time.sleep(0.0005)
                if process.returncode == 0 or not image.exists():
                    continue
                opens = folder.run("qemu-img", "info", "-f", "qcow2", "o.qcow2")[0] == 0
                if opens:  # killed after the magic was written: then it is complete
                    folder.qemu_img("compare", "-f", "raw", "-F", "qcow2", "src.raw", "o.qcow2")


if __name__ == "__main__":
    cases.main(globals())

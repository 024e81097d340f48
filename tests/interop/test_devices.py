#!/usr/bin/python3
"""Block devices as images and outputs, beside qemu-img 7.2.

The devices are loop devices over files in the test's folder. Where the system gives none (they need
root), the cases look at nothing.
"""

import contextlib
import os
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

SEED = 20261130
MIB = 1 << 20
SIZE = 32 * MIB
folder = tool.Folder("devices")


@contextlib.contextmanager
def device(name, *options):
    """The path of a device whose bytes are random, or None."""
    path = folder.path / name
    path.write_bytes(random.Random(SEED).randbytes(MIB) * (SIZE // MIB))
    done = subprocess.run(["losetup", *options, "-f", "--show", str(path)], check=False,
                          capture_output=True, text=True)
    if done.returncode != 0:
        print(f"# no loop device: {done.stderr.strip()}")
        yield None
        return
    try:
        yield done.stdout.strip()
    finally:
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


def test_zeros_take_no_room_on_a_device():
    """A thin device has room for what is not zero only."""
    folder.qemu_img("create", "-q", "-f", "qcow2", "thin.qcow2", SIZE)
    folder.qemu_io("qcow2", "thin.qcow2", "write -P 1 1M 1M", "write -z 3M 4M")
    folder.qemu_img("convert", "-O", "raw", "thin.qcow2", "want")
    with device("theirs") as path:
        if path is None:
            return
        folder.qemu_img("convert", "-n", "-O", "raw", "thin.qcow2", path)
        os.sync()
        most = (folder.path / "theirs").stat().st_blocks * 512 + MIB
    for options in ((), ("-n",), ("-n", "-t", "none")):
        with device("thin") as path:
            folder.good("convert", *options, "-O", "raw", "thin.qcow2", path)
            os.sync()
            check(pathlib.Path(path).read_bytes() == (folder.path / "want").read_bytes(), options)
            used = (folder.path / "thin").stat().st_blocks * 512
            check(used <= most, f"{options}: {used} bytes of the file are in use")
    with device("thin") as path:
        folder.good("convert", "-n", "-S", "0", "-O", "raw", "thin.qcow2", path)
        os.sync()
        used = (folder.path / "thin").stat().st_blocks * 512
        check(used >= SIZE, f"-S 0: only {used} bytes of the file are in use")


def test_resize_of_a_device_to_its_size_does_nothing():
    with device("same") as path:
        if path is None:
            return
        for options, status in (((SIZE,), 0), (("+0",), 0), ((2 * SIZE,), 1), (("+512",), 1),
                                (("--shrink", SIZE // 2), 1)):
            ours = folder.ours("resize", "-f", "raw", path, *options)
            theirs = folder.run("qemu-img", "resize", "-f", "raw", path, *options)
            check_equal((ours[0], ours[1]), (theirs[0], theirs[1]), f"{options}: {ours[2]}")
            check_equal(ours[0], status, f"{options}: {ours[2]}")


def test_a_read_only_device_is_refused_before_anything_is_written():
    folder.qemu_img("create", "-q", "-f", "qcow2", "small.qcow2", MIB)
    with device("read-only", "-r") as path:
        if path is None:
            return
        for words in (("convert", "-n", "-O", "raw", "small.qcow2", path),
                      ("convert", "-O", "qcow2", "small.qcow2", path),
                      ("create", "-q", "-f", "qcow2", path, "1M"),
                      ("io", "-f", "raw", "-c", "write 0 512", path)):
            status, out, err = folder.ours(*words)
            check_equal((status, out, err),
                        (1, "", f"metalcow: {path}: the file can only be read\n"), f"{words}")
        check_equal(folder.good("read", "-f", "raw", "0", "0", path), "", "reading")


if __name__ == "__main__":
    with folder:
        main(globals())

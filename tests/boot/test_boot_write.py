#!/usr/bin/python3
"""Writing to disks of ours: mode overlay, mode rw, mode ro; through the firmware's FAT driver.

The shell writes to the guest's own ESP on the published disk. What the modes promise: in overlay it
reads back and is gone afterwards; in rw it is in the image; in ro it is refused.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools import fs  # noqa: E402

IMAGE = r"fs0:\img\debian.qcow2"
TEXT = b"written through the disk\r\n" * 300
LARGE = bytes(range(256)) * 8192


def check(output, pattern):
    cases.check(re.search(pattern, output), f"no '{pattern}' in:\n{output.strip()}")


def stick(variant="plain", **content):
    files = {"/probe.efi": harness.BUILD / "x64/tests/probe.efi", "/text.txt": TEXT,
             "/large.bin": LARGE, **content.pop("files", {})}
    return harness.stick(image=variant, application="/metalcow.efi", files=files, **content)


def attach(shell, words, number=0):
    """Attach and return the name of the guest's volume, such as fs1:."""
    check(shell.shell(f"metalcow.efi attach {words}"), f"disk {number}:")
    shell.shell("map -r")
    for volume in ("fs1", "fs2"):
        if "EFI" in shell.shell(f"ls {volume}:\\"):
            return volume
    raise cases.Failure("no volume on the disk")


def test_write_overlay_is_gone_afterwards_and_read_only_is_refused():
    with stick("data-file") as path, harness.shell(path) as shell:
        volume = attach(shell, f"{IMAGE} --mode overlay")
        shell.shell(f"cp fs0:\\text.txt {volume}:\\new.txt")
        check(shell.shell(f"comp fs0:\\text.txt {volume}:\\new.txt"), r"(?i)no difference")
        check(shell.shell("metalcow.efi list"), r"(?m)^0 +88 MiB +overlay +/img/.*room for 6[0-3]")
        shell.shell("metalcow.efi detach 0")
        volume = attach(shell, f"{IMAGE} --mode overlay --overlay-size 1M", 1)
        cases.check("new.txt" not in shell.shell(f"ls {volume}:\\"), "the write outlived detach")
        # Full: the copy fails, what is there still reads.
        output = shell.shell(f"cp fs0:\\large.bin {volume}:\\large.bin")
        cases.check(not re.search(r"(?i)\[ok\]", output), f"2 MiB fit into 1 MiB: {output}")
        # The firmware's FAT driver gives a volume up whose disk failed; another start finds it.
        check(shell.shell("probe.efi connect"), "probe: connect ok")
        check(shell.shell(f"ls {volume}:\\EFI"), "BOOT")
        shell.shell("metalcow.efi detach 1")
        output = shell.shell(f"metalcow.efi attach {IMAGE} --mode overlay --overlay-size 4K")
        check(output, "overlay: too small for this disk")
        volume = attach(shell, IMAGE, 2)
        check(shell.shell(f"cp fs0:\\text.txt {volume}:\\new.txt"),
              r"(?i)protected|failed to open")
        cases.check("new.txt" not in shell.shell(f"ls {volume}:\\"), "a file came into being")


def writable(path, bus="virtio"):
    """A stick that the machine writes to."""
    return harness.Drive(path, bus=bus, snapshot=False)


@contextlib.contextmanager
def writing_shell(path, bus="virtio", **options):
    with harness.Machine([writable(path, bus)], log=harness.log_path(), **options) as shell:
        shell.enter_shell()
        shell.shell("fs0:")
        yield shell


def stick_offset(path):
    """Where the FAT volume of a stick of ours begins."""
    with open(path, "rb") as file:
        file.seek(512)
        return fs.MIB if file.read(8) == b"EFI PART" else 0


def check_stick(path, folder):
    """The stick is sound, and so is the image that comes off it."""
    offset = stick_offset(path)
    volume = folder / "volume.img"
    with open(path, "rb") as source, open(volume, "wb") as target:
        source.seek(offset)
        size = os.path.getsize(path) - (2 * fs.MIB if offset else 0)
        os.copy_file_range(source.fileno(), target.fileno(), size)
    fs.run("fsck.vfat", "-n", volume)
    fs.run("mcopy", "-n", "-o", "-i", volume, "::/img/*", folder)
    fs.run("qemu-img", "check", "debian.qcow2", cwd=folder)
    volume.unlink()


def guest_file(folder, name):
    """A file of the guest's ESP, out of the image; None if it is not there."""
    raw = folder / "guest.raw"
    fs.run("qemu-img", "convert", "-O", "raw", "debian.qcow2", raw, cwd=folder)
    done = subprocess.run(["mtype", "-i", f"{raw}@@{fs.MIB}", f"::/{name}"], check=False,
                          capture_output=True)
    return done.stdout if done.returncode == 0 else None


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix="metalcow-write-") as folder:
        yield pathlib.Path(folder)


def check_written(variant, room_pattern):
    """Files written in mode rw are in the image after a reset, and stick and image are sound."""
    with stick(variant, size=300 * fs.MIB) as path, scratch() as folder:
        with writing_shell(path) as shell:
            volume = attach(shell, f"{IMAGE} --mode rw")
            check(shell.shell("metalcow.efi list"), room_pattern)
            shell.shell(f"cp fs0:\\text.txt {volume}:\\new.txt")
            shell.shell(f"cp fs0:\\large.bin {volume}:\\large.bin")
            check(shell.shell(f"comp fs0:\\large.bin {volume}:\\large.bin"), "(?i)no difference")
            check(shell.shell(f"metalcow.efi attach {IMAGE}"), "attached for writing, so")
            check(shell.shell(f"metalcow.efi attach {IMAGE} --mode rw"), "attached already, so")
            shell.send_line("reset")
            shell.wait_end()
        check_stick(path, folder)
        cases.check_equal(guest_file(folder, "new.txt"), TEXT, "new.txt in the image")
        cases.check_equal(guest_file(folder, "large.bin"), LARGE, "large.bin in the image")
        yield path, folder


def test_write_internal_data_is_there_after_reset():
    for path, folder in check_written("plain", r"(?m)^0 +88 MiB +rw +/img/.*room for 6[0-4]"):
        # Attached again by another run of the firmware, and detached.
        with writing_shell(path) as shell:
            volume = attach(shell, f"{IMAGE} --mode rw")
            check(shell.shell(f"comp fs0:\\text.txt {volume}:\\new.txt"), "(?i)no difference")
            shell.shell(f"rm {volume}:\\new.txt")
            shell.shell("metalcow.efi detach 0")
            check(shell.shell("metalcow.efi list"), "no disk is attached")
            volume = attach(shell, IMAGE, 1)
            cases.check("new.txt" not in shell.shell(f"ls {volume}:\\"), "a deleted file is back")
        check_stick(path, folder)
        cases.check_equal(guest_file(folder, "new.txt"), None, "new.txt after it was deleted")


def test_write_data_file_is_there_after_reset():
    for _ in check_written("data-file", r"(?m)^0 +88 MiB +rw +/img/debian.qcow2\s*$"):
        pass


if __name__ == "__main__":
    cases.main(globals())

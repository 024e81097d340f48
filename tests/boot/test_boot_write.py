#!/usr/bin/python3
"""Writing to disks of ours: mode overlay, mode rw, mode ro; through the firmware's FAT driver.

The shell writes to the guest's own ESP on the published disk. What the modes promise: in overlay it
reads back and is gone afterwards; in rw it is in the image; in ro it is refused.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

IMAGE = r"fs0:\img\debian.qcow2"
TEXT = b"written through the disk\r\n" * 300


def check(output, pattern):
    cases.check(re.search(pattern, output), f"no '{pattern}' in:\n{output.strip()}")


def stick(variant="plain", **content):
    files = {"/probe.efi": harness.BUILD / "x64/tests/probe.efi", "/text.txt": TEXT,
             "/large.bin": bytes(range(256)) * 8192, **content.pop("files", {})}
    return harness.stick(image=variant, application="/metalcow.efi", files=files, **content)


def attach(shell, words, number=0):
    """Attach and return the name of the guest's volume, such as fs1:."""
    check(shell.shell(f"metalcow.efi attach {words}"), f"disk {number}:")
    shell.shell("map -r")
    for volume in ("fs1", "fs2"):
        if "EFI" in shell.shell(f"ls {volume}:\\"):
            return volume
    raise cases.Failure("no volume on the disk")


def test_write_overlay_reads_back_and_is_gone_afterwards():
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


def test_write_read_only_disk_is_refused():
    with stick() as path, harness.shell(path) as shell:
        volume = attach(shell, IMAGE)
        check(shell.shell(f"cp fs0:\\text.txt {volume}:\\new.txt"), r"(?i)protected|failed to open")
        cases.check("new.txt" not in shell.shell(f"ls {volume}:\\"), "a file came into being")


if __name__ == "__main__":
    cases.main(globals())

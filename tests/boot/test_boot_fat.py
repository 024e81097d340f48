#!/usr/bin/python3
"""Odd but readable FAT volumes in the firmware: the firmware's own copy of the file is the oracle.

One boot of a machine with many volumes on one disk. METALCOW_ODD_VOLUMES=200 tests that many, in
several boots (make odd-fat); the default is one boot.
"""

import os
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tests.fat import images, odd_fat  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402

FAT_PROBE = harness.BUILD / "x64/tests/fat_probe.efi"
NB_VOLUMES = int(os.environ.get("METALCOW_ODD_VOLUMES", "26"))
VOLUMES_PER_BOOT = 50


def write_odd(volume, file, base):
    volume.write(file, base)


def probe_disk(disk, command, nb, memory=1536):
    """Boot with a disk of volumes, run fat_probe; return its lines. Every volume must answer."""
    files = {"/metalcowdxe.efi": harness.DRIVER, "/fat_probe.efi": FAT_PROBE}
    with harness.stick(application=None, files=files) as stick:
        drives = [Drive(stick), Drive(disk)]
        with Machine(drives, memory=memory, log=harness.log_path(), timeout=560) as machine:
            machine.enter_shell(timeout=240)
            for number in range(nb + 3):  # the stick's own volume among the others
                machine.shell(f"fs{number}:")
                if "fat_probe.efi" in machine.shell("ls fat_probe.efi"):
                    break
            machine.shell("load metalcowdxe.efi")
            text = machine.shell(f"fat_probe.efi {command}", timeout=300)
    lines = re.findall(r"fat_probe: .*", text)
    for line in lines:
        if not line.startswith("fat_probe: ok"):
            print(f"# {line}")
    return lines


def test_fat_odd_volumes_are_read_as_the_firmware_reads_them():
    failed = 0
    print(f"# seeds 0 to {NB_VOLUMES - 1}")
    with tempfile.TemporaryDirectory(dir=harness.BUILD) as name:
        folder = pathlib.Path(name)
        template = images.make_template(folder)
        for first in range(0, NB_VOLUMES, VOLUMES_PER_BOOT):
            seeds = range(first, min(first + VOLUMES_PER_BOOT, NB_VOLUMES))
            volumes = [odd_fat.OddVolume(seed, template) for seed in seeds]
            disk = images.make_disk(folder / "odd.img", volumes, write_odd)
            lines = probe_disk(disk, f"odd {images.DATA_START}", len(volumes))
            good = {int(word) for word in re.findall(r"fat_probe: ok (\d+) ", "\n".join(lines))}
            missing = [f"{v.seed} {v.theme}" for v in volumes if v.seed not in good]
            if missing:
                print(f"# not read: {', '.join(missing)}")
            failed += len(missing)
            disk.unlink()
    cases.check_equal(failed, 0, "volumes that are not read as the firmware reads them")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""What boot loaders write to a disk of mode rw.

GRUB's environment block is written in place, below GRUB's own file systems; systemd-boot's count
of tries is a file renamed through the firmware's FAT driver. Nobody flushes. The guest starts
directly after that, and then the power goes.
"""

import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tests.boot.test_boot_write import check_stick, scratch  # noqa: E402
from tools import fs  # noqa: E402
from tools.guest import make_guest  # noqa: E402

ESP_START = make_guest.ESP["start"]
GRUBENV = b"# GRUB Environment Block\n"
COUNTING_STUB = ("load_env -f ($root)/EFI/debian/grubenv\n"
                 "set tries=2\n"
                 "save_env -f ($root)/EFI/debian/grubenv tries\n" + make_guest.GRUB_STUB)


def boot_writing(loader, raw, folder):
    """Boot a guest's disk as a qcow2 image in mode rw; its disk as it is afterwards, raw."""
    image = folder / "debian.qcow2"
    fs.run("qemu-img", "convert", "-O", "qcow2", raw, image)
    entry = {"image": "/img/debian.qcow2", "mode": "rw", "room": "8M"}
    with harness.stick(entry=entry, files={"/img/debian.qcow2": image},
                       size=300 * fs.MIB) as stick:
        image.unlink()
        with harness.Machine([harness.Drive(stick, snapshot=False)],
                             log=harness.log_path()) as running:
            harness.check_guest(running, loader)
            running.stop()
        check_stick(stick, folder)
    fs.run("qemu-img", "convert", "-O", "raw", image, raw)


def esp(raw, *command):
    return subprocess.run([command[0], "-i", f"{raw}@@{ESP_START}", *command[1:]], check=True,
                          capture_output=True).stdout


def test_loader_grub_saves_its_environment():
    with scratch() as folder:
        raw = folder / "guest.raw"
        shutil.copyfile(harness.guest_raw(), raw)
        fs.fat_copy(raw, ESP_START, COUNTING_STUB.encode(), "EFI/debian/grub.cfg")
        fs.fat_copy(raw, ESP_START, GRUBENV.ljust(1024, b"#"), "EFI/debian/grubenv")
        boot_writing("grub", raw, folder)
        block = esp(raw, "mtype", "::/EFI/debian/grubenv")
        cases.check_equal(block, (GRUBENV + b"tries=2\n").ljust(1024, b"#"), "grubenv")


def test_loader_systemd_boot_counts_its_tries():
    with scratch() as folder:
        raw = folder / "guest.raw"
        shutil.copyfile(harness.guest_raw("systemd-boot"), raw)
        fs.fat_copy(raw, ESP_START, b"timeout 0\ndefault debian*\nconsole-mode keep\n",
                    "loader/loader.conf")
        esp(raw, "mren", "::/loader/entries/debian.conf", "debian+3.conf")
        boot_writing("systemd-boot", raw, folder)
        listing = esp(raw, "mdir", "-b", "::/loader/entries").decode()
        cases.check(re.search(r"debian\+2-1\.conf", listing), f"entries: {listing}")
        cases.check("debian+3" not in listing, f"entries: {listing}")
        fs.run("mcopy", "-n", "-i", f"{raw}@@{ESP_START}", "::/loader/entries/debian+2-1.conf",
               folder / "entry.conf")
        cases.check("title Debian" in (folder / "entry.conf").read_text(), "the entry's text")


if __name__ == "__main__":
    cases.main(globals())

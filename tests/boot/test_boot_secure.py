#!/usr/bin/python3
"""Secure Boot: what `make sign` signs runs, and nothing else does.

The machine trusts the snakeoil key of the ovmf package. The guest is the one of systemd-boot, its
loader and kernel signed with the same key. GRUB's guest has no signature that this machine knows.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools import fs, snakeoil  # noqa: E402
from tools.qemu.machine import Drive, Machine, OVMF  # noqa: E402

ESP_OFFSET = fs.MIB
ENTRY = {"image": "/img/guest.qcow2"}


@contextlib.contextmanager
def work_folder():
    with tempfile.TemporaryDirectory(prefix="metalcow-secure-", dir=harness.BUILD) as name:
        yield pathlib.Path(name)


def signed_programs():
    programs = snakeoil.sign_programs(harness.BUILD)
    for program in programs:
        done = subprocess.run(["sbverify", "--cert", snakeoil.CERTIFICATE, program], check=False,
                              capture_output=True, text=True)
        cases.check_equal((done.returncode, done.stderr), (0, ""), f"sbverify {program.name}")
    return programs


def signed_guest(folder):
    """The guest of systemd-boot as an image, with loader and kernel signed."""
    raw, image = folder / "guest.raw", folder / "guest.qcow2"
    fs.run("cp", "--sparse=always", harness.guest_raw("systemd-boot"), raw)
    volume = f"{raw}@@{ESP_OFFSET}"
    listing = fs.run("mdir", "-b", "-/", "-i", volume, "::/")
    for line in (listing or "").split():
        if line.lower().endswith(".efi") or "vmlinuz" in line:
            loader = folder / "loader"
            loader.unlink(missing_ok=True)
            fs.run("mcopy", "-n", "-i", volume, line, loader)
            snakeoil.sign(loader, folder / "loader.signed")
            fs.run("mcopy", "-D", "o", "-i", volume, folder / "loader.signed", line)
    fs.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    return image


@contextlib.contextmanager
def machine(files):
    """A machine with Secure Boot that starts /EFI/BOOT/BOOTX64.EFI of a stick with these files."""
    path = harness.BUILD / f"boot/secure-{os.getpid()}.img"
    harness.make_stick.make_stick(path, files)
    try:
        with Machine([Drive(path)], log=harness.log_path(), secure_boot=True) as running:
            yield running
    finally:
        path.unlink(missing_ok=True)


def stick_files(program, image):
    return {harness.BOOT_PATH: program, "/img/guest.qcow2": image,
            harness.ENTRY_PATH: harness.entry_text(ENTRY)}


def test_secure_boot_signed_programs_start_a_signed_guest():
    with work_folder() as folder:
        application, _ = signed_programs()
        with machine(stick_files(application, signed_guest(folder))) as running:
            harness.check_guest(running, "systemd-boot")


def test_secure_boot_unsigned_loader_in_the_image_is_refused():
    """Also one whose only signature is of a key that the machine does not have."""
    image = harness.image_folder("plain") / "debian.qcow2"
    with work_folder() as folder:
        application, _ = signed_programs()
        with machine(stick_files(application, image)) as running:
            running.expect(r"Secure Boot does not allow this boot loader",
                           absent=r"METALCOW-GUEST-UP")
            running.expect(r"sign it with a key that this machine trusts")


def test_secure_boot_signed_application_with_an_unsigned_driver_is_refused():
    image = harness.image_folder("plain") / "debian.qcow2"
    with work_folder() as folder:
        snakeoil.sign(harness.APPLICATION, folder / "half.efi")
        with machine(stick_files(folder / "half.efi", image)) as running:
            running.expect(r"Secure Boot does not allow the driver inside metalcow\.efi",
                           absent=r"METALCOW-GUEST-UP")


def test_secure_boot_unsigned_application_is_refused_by_the_firmware():
    image = harness.image_folder("plain") / "debian.qcow2"
    with machine(stick_files(harness.APPLICATION, image)) as running:
        running.expect(r"Access Denied", absent=r"METALCOW-GUEST-UP|metalcow:")


if __name__ == "__main__":
    cases.check((OVMF / "OVMF_CODE_4M.secboot.fd").exists(), "no firmware with Secure Boot")
    cases.main(globals())

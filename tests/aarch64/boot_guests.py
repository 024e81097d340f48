#!/usr/bin/python3
"""Real AArch64 guests in EDK2's firmware: Debian's kernel by GRUB and by systemd-boot.

The application starts the loader inside the image, or Driver#### alone publishes the disk and the
firmware's boot manager starts it. `make test-aarch64-guests` runs this.
"""

import contextlib
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.aarch64.boot_aarch64 import FIRMWARE, PROGRAMS, Aarch64  # noqa: E402
from tests.boot import harness  # noqa: E402
from tests.boot.test_boot_driver import remove_shell_option  # noqa: E402
from tools import fs  # noqa: E402
from tools.qemu.machine import Drive  # noqa: E402

BOOT_PATH = "/EFI/BOOT/BOOTAA64.EFI"
TIMEOUT = 400


class Machine(Aarch64):
    """A machine that keeps its variables where the caller says so."""

    def command(self):
        words = super().command()
        if not self.variables:
            return words
        if not self.variables.exists():
            shutil.copyfile(FIRMWARE / "AAVMF_VARS.fd", self.variables)
        own = str(pathlib.Path(self.folder) / "vars.fd")
        return [word.replace(own, str(self.variables)) for word in words]


@contextlib.contextmanager
def stick_of(files):
    path = harness.BUILD / f"boot/aa64-{os.getpid()}.img"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield harness.make_stick.make_stick(path, files)
    finally:
        path.unlink(missing_ok=True)


def guest_files(variant, loader, keys):
    """A guest's image and its entry. Its disk is build/guest/aa64/LOADER.raw."""
    return {harness.ENTRY_PATH: harness.entry_text({"image": "/img/debian.qcow2", **keys}),
            **harness.image_files(variant, f"aa64/{loader}")}


def check_boots(path, loader, snapshot=True, **options):
    with Machine([Drive(path, snapshot=snapshot)], log=harness.log_path(), timeout=TIMEOUT,
                 **options) as running:
        harness.check_guest(running, f"aa64/{loader}")
        return running.text


def boot_by_application(variant, loader, mode):
    content = {BOOT_PATH: PROGRAMS / "metalcow.efi",
               **guest_files(variant, loader, {"mode": mode})}
    with stick_of(content) as path:
        text = check_boots(path, loader, snapshot=mode != "rw")
        cases.check("metalcow: starting Debian" in text, f"not by the application:\n{text[-1500:]}")
        if mode == "rw":
            check_image(path)


def check_image(path):
    """The image on the stick is whole after a boot that could write to it."""
    image = path.with_suffix(".qcow2")
    try:
        fs.run("mcopy", "-n", "-i", f"{path}@@{fs.MIB}", "::/img/debian.qcow2", image)
        fs.run("qemu-img", "check", image)
    finally:
        image.unlink(missing_ok=True)


def test_aarch64_guest_by_grub():
    boot_by_application("data-file", "grub", "ro")


def test_aarch64_guest_by_systemd_boot_in_mode_overlay():
    boot_by_application("zstd", "systemd-boot", "overlay")


def test_aarch64_guest_by_grub_in_mode_rw():
    boot_by_application("plain", "grub", "rw")


def test_aarch64_driver_variable_alone_starts_the_guest():
    """`metalcow install` in the shell; then the boot manager alone, without the application."""
    content = {"/metalcow.efi": PROGRAMS / "metalcow.efi",
               **guest_files("plain", "systemd-boot", {"attach": "yes"})}
    with stick_of(content) as path, harness.kept_variables() as variables:
        with Machine([Drive(path, snapshot=False)], log=harness.log_path(), timeout=TIMEOUT,
                     variables=variables) as running:
            running.enter_shell()
            running.shell("fs0:")
            output = running.shell("metalcow.efi install")
            cases.check("Driver0000 is new" in output, output)
            remove_shell_option(running)
            running.send_line("reset -s")
            running.wait_end()
        text = check_boots(path, "systemd-boot", variables=variables)
        cases.check("metalcow.efi" not in text, f"the application ran:\n{text[-1500:]}")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""The AArch64 programs in emulated firmware: EDK2's (qemu-efi-aarch64) and U-Boot's.

`make test-aarch64` runs this. Not a suite of `make test`: it needs another QEMU, a cross compiler,
and minutes of emulation.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.aarch64 import guest  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools import fs  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402

FIRMWARE = pathlib.Path(os.environ.get("METALCOW_AAVMF", "/usr/share/AAVMF"))
UBOOT = os.environ.get("METALCOW_UBOOT", "/usr/lib/u-boot/qemu_arm64/u-boot.bin")
PROGRAMS = harness.BUILD / "aa64"
IMAGE = r"fs0:\img\a.qcow2"
MIB = 1024 * 1024


class Aarch64(Machine):
    """A virt machine with EDK2's firmware, a shell on the serial port."""

    def command(self):
        folder = pathlib.Path(self.folder)
        shutil.copyfile(FIRMWARE / "AAVMF_VARS.fd", folder / "vars.fd")
        words = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57", "-m", "512",
                 "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-net", "none",
                 "-serial", "stdio", "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
                 "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}/AAVMF_CODE.fd",
                 "-drive", f"if=pflash,unit=1,format=raw,file={folder}/vars.fd"]
        for number, drive in enumerate(self.drives):
            words += drive.arguments(number)
        return words + self.extra


class UBoot(Aarch64):
    """The same machine with U-Boot, which starts the loader of a disk by itself."""

    def command(self):
        words = super().command()
        while "-drive" in words and "if=pflash" in words[words.index("-drive") + 1]:
            del words[words.index("-drive"):words.index("-drive") + 2]
        return words + ["-bios", UBOOT]


def check(output, pattern):
    found = re.search(pattern, output)
    cases.check(found, f"no '{pattern}' in:\n{output.strip()}")
    return found


@contextlib.contextmanager
def images():
    """{path on the stick: file}: an image of 8 MiB with data in every cluster, and a compressed one
    of the same disk."""
    with tempfile.TemporaryDirectory(prefix="metalcow-aa64-", dir=harness.BUILD) as name:
        folder = pathlib.Path(name)
        words = b"".join((0x6D657461 << 32 | i // 64).to_bytes(8, "little")
                         for i in range(8 * MIB // 8))
        (folder / "a.raw").write_bytes(words)
        for name, options in {"a.qcow2": [], "zlib.qcow2": ["-c"],
                              "zstd.qcow2": ["-c", "-o", "compression_type=zstd"]}.items():
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options,
                            folder / "a.raw", folder / name], check=True)
        yield {f"/img/{path.name}": path for path in folder.glob("*.qcow2")}


@contextlib.contextmanager
def shell(bus="virtio", drives=()):
    with images() as files:
        content = {"/metalcow.efi": PROGRAMS / "metalcow.efi",
                   "/probe.efi": PROGRAMS / "tests/probe.efi", **files}
        path = harness.BUILD / f"boot/aa64-{os.getpid()}.img"
        path.parent.mkdir(parents=True, exist_ok=True)
        harness.make_stick.make_stick(path, content)
        try:
            with Aarch64([Drive(path, bus=bus), *drives], log=harness.log_path(),
                         timeout=400) as running:
                running.enter_shell()
                running.shell("fs0:")
                yield running
        finally:
            path.unlink(missing_ok=True)


def test_aarch64_attach_list_and_read_every_format():
    with shell() as running:
        for number, name in enumerate(("a", "zlib", "zstd")):
            check(running.shell(rf"metalcow.efi attach fs0:\img\{name}.qcow2", timeout=100),
                  f"disk {number}:")
            check(running.shell("metalcow.efi list"), rf"(?m)^{number} +8 MiB +ro +/img/{name}")
            check(running.shell("probe.efi read 0 2048", timeout=100), "probe: read ok")
            check(running.shell("probe.efi read 14336 2048", timeout=100), "probe: read ok")
            check(running.shell(f"metalcow.efi detach {number}"), r"^\s*$")
        check(running.shell("metalcow.efi list"), "no disk")


def test_aarch64_write_modes():
    with shell() as running:
        for number, mode in enumerate(("overlay", "rw")):
            check(running.shell(f"metalcow.efi attach {IMAGE} --mode {mode}", timeout=100),
                  f"disk {number}:")
            check(running.shell("probe.efi write 100 600", timeout=100), "probe: write ok")
            check(running.shell("probe.efi flush"), "probe: flush ok")
            check(running.shell("probe.efi read 0 2048", timeout=100), "probe: read ok")
            running.shell(f"metalcow.efi detach {number}")


def test_aarch64_hostile_calls_and_queued_reads():
    with shell(bus="nvme") as running:
        check(running.shell(f"metalcow.efi attach {IMAGE} --mode overlay", timeout=100), "disk 0:")
        check(running.shell("probe.efi levels", timeout=100), "probe: levels ok")
        check(running.shell("probe.efi queue", timeout=200), "probe: queue ok")


def boot_of_image(machine, pattern, absent):
    """The application is the stick's loader. The loader inside its image is probe.efi, which says
    that it has no words."""
    with tempfile.TemporaryDirectory(prefix="metalcow-aa64-", dir=harness.BUILD) as name:
        folder = pathlib.Path(name)
        loader = {"/EFI/BOOT/BOOTAA64.EFI": PROGRAMS / "tests/probe.efi"}
        harness.make_stick.make_stick(folder / "in.raw", loader)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "in.raw",
                        folder / "in.qcow2"], check=True)
        content = {"/EFI/BOOT/BOOTAA64.EFI": PROGRAMS / "metalcow.efi",
                   "/img/in.qcow2": folder / "in.qcow2",
                   harness.ENTRY_PATH: harness.entry_text({"image": "/img/in.qcow2"})}
        harness.make_stick.make_stick(folder / "stick.img", content)
        with machine([Drive(folder / "stick.img")], log=harness.log_path(), timeout=200) as running:
            running.expect(pattern, absent=absent)


def test_aarch64_loader_inside_an_image_starts():
    boot_of_image(Aarch64, r"probe: probe failed: arguments", r"^metalcow: /EFI|^=> ")


def test_aarch64_loader_by_uboot_attaches_an_image():
    """U-Boot shows no file systems of a disk that a program brings, so that is said (README)."""
    boot_of_image(UBoot, r"metalcow: starting Debian from /img/in\.qcow2, mode ro[\s\S]*"
                         r"neither this file nor a known loader is on the disk", r"^=> ")


def test_aarch64_guest_keeps_its_disk():
    """Firmware, systemd-boot, kernel, and then the disk by the hand-off; what it writes stays."""
    with tempfile.TemporaryDirectory(prefix="metalcow-aa64-", dir=harness.BUILD) as name:
        folder = pathlib.Path(name)
        text = f"on the disk {os.getpid()}"
        guest.make_disk(harness.BUILD, folder / "guest.raw", text)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "guest.raw",
                        folder / "guest.qcow2"], check=True)
        content = {"/EFI/BOOT/BOOTAA64.EFI": PROGRAMS / "metalcow.efi",
                   "/img/guest.qcow2": folder / "guest.qcow2", harness.ENTRY_PATH:
                   harness.entry_text({"image": "/img/guest.qcow2", "mode": "rw",
                                       "handoff": "auto"})}
        stick = folder / "stick.img"
        harness.make_stick.make_stick(stick, content)
        with Aarch64([Drive(stick, snapshot=False)], log=harness.log_path(),
                     timeout=600) as running:
            running.expect(rf"METALCOW-GUEST on /dev/loop0p2: {text}",
                           absent="Kernel panic|METALCOW-GUEST on .*nbd0p2: $")
            running.expect("METALCOW-GUEST answered")
            running.wait_end()
            check(running.text, "METALCOW-LOG .*lane: mixed")
        fs.run("mcopy", "-n", "-i", f"{stick}@@{fs.MIB}", "::/img/guest.qcow2",
               folder / "out.qcow2")
        fs.run("qemu-img", "check", folder / "out.qcow2")
        fs.run("qemu-img", "convert", "-O", "raw", folder / "out.qcow2", folder / "out.raw")
        with open(folder / "out.raw", "rb") as disk:
            disk.seek(guest.ANSWER_AT)
            cases.check(disk.read(512).startswith(guest.ANSWER), "the guest's answer is lost")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""What the firmware must not suffer from us: TPL, re-entrancy, memory, handles; asked by probe.efi.

Also how often and how deep images may be attached, and files without a trustworthy extent map.
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

PROBE = harness.BUILD / "x64/tests/probe.efi"
IMAGE = r"fs0:\img\debian.qcow2"


def check(output, pattern):
    cases.check(re.search(pattern, output), f"no '{pattern}' in:\n{output.strip()}")


def probe(shell, words):
    name = words.split()[0]
    check(shell.shell(f"probe.efi {words}", timeout=100), f"probe: {name} ok")


def stick(**content):
    files = {"/probe.efi": PROBE, **content.pop("files", {})}
    return harness.stick(application="/metalcow.efi", files=files, **content)


def test_firmware_tpl_and_reentrancy():
    """U1, U4, U5: FAT on our disk on FAT, and readers that interrupt each other."""
    with stick(image="data-file") as path, harness.shell(path) as shell:
        check(shell.shell(f"metalcow.efi attach {IMAGE}"), "disk 0:")
        probe(shell, "connect")
        probe(shell, "levels")
        probe(shell, "reentry")
        probe(shell, "connect")


def test_firmware_memory_and_handles_after_many_cycles():
    """U16: what attach takes, detach gives back."""
    with stick(image="data-file") as path, harness.shell(path) as shell:
        check(shell.shell(f"metalcow.efi attach {IMAGE}"), "disk 0:")
        check(shell.shell("metalcow.efi detach 0"), r"^\s*$")
        probe(shell, f"cycles {IMAGE}")


def test_firmware_same_image_twice_read_only():
    """U10: allowed, with device paths of their own; each goes by itself."""
    with stick(image="data-file") as path, harness.shell(path) as shell:
        before = shell.shell("map -r").split()
        check(shell.shell(f"metalcow.efi attach {IMAGE}"), "disk 0:")
        check(shell.shell(f"metalcow.efi attach {IMAGE}"), "disk 1:")
        listing = shell.shell("metalcow.efi list")
        cases.check_equal(listing.count("debian.qcow2"), 2, f"disks in {listing}")
        shell.shell("metalcow.efi detach 0")
        listing = shell.shell("metalcow.efi list")
        check(listing, r"(?m)^1 +88 MiB +ro +/img/debian\.qcow2")
        cases.check_equal(listing.count("debian.qcow2"), 1, f"disks in {listing}")
        shell.shell("metalcow.efi detach all")
        cases.check_equal(shell.shell("map -r").split(), before, "map at the end")


def test_firmware_wrong_words_are_said():
    rows = {
        "attach": "attach: this command needs an image or a disk number",
        "attach nosuch:\\a.qcow2": "no volume has this name",
        f"attach {IMAGE} --nosuch 1": "--nosuch: no such option",
        f"attach {IMAGE} --names": "--names: this option needs a value",
        f"attach {IMAGE} --names some": "--names: is none of below, none, any",
        f"attach {IMAGE} fs0:\\b": "given twice",
        "detach 7": "no disk",
        "detach x": "no disk",
        "info 3": "no disk",
        "nosuch": "nosuch: no such command",
        "boot": r"/metalcow/entries: no entry is configured",
        "attach fs0:\\img": r"/img: not a file",
        "attach fs0:\\a.raw": "a.raw: not a qcow2 image; if it is a raw disk, say so with 'format",
        "attach fs0:\\a.vmdk": "a.vmdk: a VMDK image, which metalcow does not read; make a qcow2",
        "attach fs0:\\a.vdi": "a.vdi: a VDI image, which",
        "attach fs0:\\a.vhd": "a.vhd: a VHD image, which",
        "attach fs0:\\a.qcow": "a.qcow: a qcow image of version 1, which",
        "attach fs0:\\a.raw --format raw --mode rw": "attrib -r",
        "detach 8": "no disk is attached|see 'metalcow list'",
    }
    files = {"/a.raw": bytes(8192), "/a.vmdk": b"KDMV" + bytes(8188),
             "/a.vdi": bytes(64) + b"\x7f\x10\xda\xbe" + bytes(8124),
             "/a.vhd": b"conectix" + bytes(8184), "/a.qcow": b"QFI\xfb\0\0\0\1" + bytes(8184)}
    with stick(image="plain", files=files) as path, harness.shell(path) as shell:
        wrong = []
        shell.shell("attrib +r fs0:\\a.raw")
        for words, text in rows.items():
            output = shell.shell(f"metalcow.efi {words}")
            if not re.search(text, output):
                wrong.append(f"[{words}] no '{text}' in: {output.strip()}")
        cases.check(not wrong, "\n".join([f"{len(wrong)} row(s)", *wrong]))


def damage_second_fat(path):
    """Make the two FATs of a superfloppy stick differ in every entry but the first two."""
    with open(path, "r+b") as file:
        boot = file.read(512)
        sector = int.from_bytes(boot[11:13], "little")
        reserved = int.from_bytes(boot[14:16], "little")
        size = int.from_bytes(boot[22:24], "little") or int.from_bytes(boot[36:40], "little")
        file.seek((reserved + size) * sector + 8)
        file.write(bytes(size * sector - 8))


def test_firmware_second_fat_that_differs_is_a_remark():
    """The firmware reads the first FAT, and so do we: the file has a map, and is attached."""
    with stick(image="data-file", scheme="superfloppy") as path:
        damage_second_fat(path)
        with harness.shell(path) as shell:
            check(shell.shell(f"metalcow.efi info {IMAGE}"),
                  r"read through: the volume itself.*odd, and harmless for reading: the second FAT")
            check(shell.shell(f"metalcow.efi attach {IMAGE}"), "disk 0:")


def test_firmware_image_inside_an_attached_image():
    """U11: one inside another works, one more is refused. Detaching the outer takes the inner."""
    folder = harness.BUILD / "boot/nested"
    folder.mkdir(parents=True, exist_ok=True)
    name = "/in.qcow2"
    source = harness.image_folder("plain") / "debian.qcow2"
    content = {"/in.qcow2": source}
    for level in range(2):
        raw, image = folder / f"{level}.raw", folder / f"{level}.qcow2"
        harness.make_stick.make_stick(raw, content, scheme="superfloppy")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
        content = {name: image}
    with stick(files=content) as path, harness.shell(path) as shell:
        check(shell.shell("metalcow.efi attach fs0:\\in.qcow2"), "disk 0:")
        shell.shell("map -r")
        shell.shell("fs0:")
        volumes = re.findall(r"(FS\d+):", shell.shell("map -r"))
        inner = [volume for volume in sorted(set(volumes)) if volume != "FS0"][0]
        check(shell.shell(f"metalcow.efi attach {inner}:\\in.qcow2"), "disk 1:")
        volumes = re.findall(r"(FS\d+):", shell.shell("map -r"))
        innermost = [volume for volume in sorted(set(volumes)) if volume not in ("FS0", inner)][0]
        output = shell.shell(f"metalcow.efi attach {innermost}:\\in.qcow2")
        check(output, "too many images inside images")
        shell.shell("metalcow.efi detach 0")
        check(shell.shell("metalcow.efi list"), "no disk")


def test_firmware_stick_pulled_out():
    """U6: the disk goes with the stick that its image is on; the firmware and the driver live."""
    usb = harness.BUILD / "boot/pulled.img"
    harness.make_stick.make_stick(usb, harness.image_files("plain"))
    with stick() as path:
        drives = [harness.Drive(path), harness.Drive(usb, bus="usb")]
        with harness.Machine(drives, log=harness.log_path()) as shell:
            shell.enter_shell()
            shell.shell("fs0:")
            volume = "fs0" if "debian.qcow2" in shell.shell("ls fs0:\\img") else "fs1"
            shell.shell("fs1:" if volume == "fs0" else "fs0:")
            check(shell.shell(f"metalcow.efi attach {volume}:\\img\\debian.qcow2"), "disk 0:")
            probe(shell, "connect")
            shell.qmp("device_del", id="/machine/peripheral-anon/device[1]")
            for _ in range(20):
                listing = shell.shell("metalcow.efi list")
                if "debian.qcow2" not in listing:
                    break
            check(listing, "no disk is attached")


if __name__ == "__main__":
    cases.main(globals())

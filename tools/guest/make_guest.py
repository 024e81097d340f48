#!/usr/bin/python3
"""Make the guest: a bootable Debian disk as a raw file, and a JSON file that says what is on it.

    make_guest.py --root build/guest/root --loader grub --out build/guest/grub.raw [--arch aa64]

`--root` is where tools/setup.sh unpacked Debian's packages. The disk is GPT with an ESP (FAT32) and
a /boot partition (ext4):

  grub          Debian's signed GRUB, its configuration found under its built-in prefix on the ESP
                as on an installed Debian; kernel and initramfs on /boot
  systemd-boot  Debian's systemd-boot, its entry, kernel and initramfs on the ESP

The guest runs from its initramfs (busybox and init.sh) and needs no driver for its disk. Its
kernel command line carries a random token that is nowhere else: a guest that prints the token was
started by the loader configuration of this very disk. grub.json beside grub.raw records the token.
"""

import argparse
import gzip
import json
import pathlib
import secrets
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import fs  # noqa: E402

ESP = {"start": 1 * fs.MIB, "size": 48 * fs.MIB, "type": fs.TYPE_ESP, "name": "ESP",
       "guid": "4d435731-0000-4000-8000-000000000001"}
BOOT = {"start": 49 * fs.MIB, "size": 38 * fs.MIB, "type": fs.TYPE_LINUX, "name": "boot",
        "guid": "4d435731-0000-4000-8000-000000000002"}
DISK_SIZE = 88 * fs.MIB
DISK_GUID = "4d435731-0000-4000-8000-000000000000"
BOOT_UUID = "4d435731-0000-4000-8000-0000000000b0"

# no_timer_check: on a busy host an emulated timer fails the kernel's test of it, and that panics.
KERNEL_OPTIONS = "quiet panic=-1 no_timer_check"

# What differs between the architectures of a guest. GRUB for AArch64 has no serial port of its own;
# it uses the firmware's console.
SERIAL = """serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console
"""
ARCHS = {
    "x64": {"console": "ttyS0,115200", "terminal": SERIAL, "boot": "BOOTX64.EFI",
            "grub": "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            "systemd-boot": "usr/lib/systemd/boot/efi/systemd-bootx64.efi"},
    "aa64": {"console": "ttyAMA0,115200", "terminal": "", "boot": "BOOTAA64.EFI",
             "grub": "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed",
             "systemd-boot": "usr/lib/systemd/boot/efi/systemd-bootaa64.efi"},
}

# What Debian's grub-install writes beside grubx64.efi: it only leads to /boot.
GRUB_STUB = f"""search.fs_uuid {BOOT_UUID} root
set prefix=($root)'/grub'
configfile $prefix/grub.cfg
"""

GRUB_CONFIG = """{terminal}set timeout=0
set default=0
menuentry 'Debian' {{
    linux /vmlinuz {options}
    initrd /initrd.img
}}
"""

LOADER_CONFIG = "timeout 0\ndefault debian.conf\nconsole-mode keep\n"

LOADER_ENTRY = """title Debian
linux /debian/vmlinuz
initrd /debian/initrd.img
options {options}
"""


def cpio_entry(name, mode, data=b"", number=0, device=(0, 0)):
    """One member of a newc archive (the format the kernel reads)."""
    raw_name = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, fs.FIXED_TIME, len(data), 0, 0, *device, len(raw_name), 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw_name
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


def make_initramfs(busybox, init):
    """The guest's userland; written here rather than by cpio, which needs root for /dev/console."""
    members = [("bin", 0o040755, b"", (0, 0)), ("dev", 0o040755, b"", (0, 0)),
               ("dev/console", 0o020600, b"", (5, 1)), ("bin/busybox", 0o100755, busybox, (0, 0)),
               ("init", 0o100755, init, (0, 0))]
    archive = b"".join(cpio_entry(name, mode, data, number, device)
                       for number, (name, mode, data, device) in enumerate(members, start=1))
    return gzip.compress(archive + cpio_entry("TRAILER!!!", 0), compresslevel=6, mtime=0)


def find_one(root, pattern):
    """The newest file below root that matches; the packages' names carry versions."""
    found = sorted(pathlib.Path(root).glob(pattern))
    if not found:
        raise fs.ToolError(f"no {pattern} below {root}; run tools/setup.sh")
    return found[-1]


def fill_grub(image, root, arch, kernel, initramfs, options):
    grub = find_one(root, arch["grub"])
    fs.fat_copy(image, ESP["start"], grub, f"EFI/BOOT/{arch['boot']}")
    fs.fat_copy(image, ESP["start"], GRUB_STUB.encode(), "EFI/debian/grub.cfg")
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        boot = pathlib.Path(folder)
        boot.chmod(0o755)
        shutil.copyfile(kernel, boot / "vmlinuz")
        (boot / "initrd.img").write_bytes(initramfs)
        (boot / "grub").mkdir()
        (boot / "grub/grub.cfg").write_text(GRUB_CONFIG.format(
            terminal=arch["terminal"], options=options))
        fs.make_ext4(image, BOOT["start"], BOOT["size"], boot, BOOT_UUID, "boot")


def fill_systemd_boot(image, root, arch, kernel, initramfs, options):
    loader = find_one(root, arch["systemd-boot"])
    start = ESP["start"]
    fs.fat_copy(image, start, loader, f"EFI/BOOT/{arch['boot']}")
    fs.fat_copy(image, start, LOADER_CONFIG.encode(), "loader/loader.conf")
    fs.fat_copy(image, start, LOADER_ENTRY.format(options=options).encode(),
                "loader/entries/debian.conf")
    fs.fat_copy(image, start, kernel, "debian/vmlinuz")
    fs.fat_copy(image, start, initramfs, "debian/initrd.img")


FILL = {"grub": fill_grub, "systemd-boot": fill_systemd_boot}


def make_guest(root, out, loader="grub", token=None, arch="x64"):
    """Write the raw disk `out` and its JSON record; return the record."""
    out = pathlib.Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    token = token or secrets.token_hex(8)
    options = f"console={ARCHS[arch]['console']} {KERNEL_OPTIONS} metalcow.token={token}"
    kernel = find_one(root, "boot/vmlinuz-*")
    init = (pathlib.Path(__file__).parent / "init.sh").read_bytes()
    initramfs = make_initramfs(find_one(root, "bin/busybox").read_bytes(), init)
    partial = out.with_suffix(".partial")
    fs.make_sparse(partial, DISK_SIZE)
    fs.make_gpt(partial, DISK_GUID, [ESP, BOOT])
    fs.make_fat(partial, ESP["start"], ESP["size"], cluster=512, volume_id="4D435731", label="ESP")
    FILL[loader](partial, root, ARCHS[arch], kernel, initramfs, options)
    record = {"loader": loader, "token": token, "kernel": kernel.name, "size": DISK_SIZE,
              "marker": f"METALCOW-GUEST-UP {token}"}
    partial.rename(out)
    out.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="where Debian's packages are unpacked")
    parser.add_argument("--out", required=True, help="the raw disk to write")
    parser.add_argument("--loader", choices=sorted(FILL), default="grub")
    parser.add_argument("--arch", choices=sorted(ARCHS), default="x64")
    parser.add_argument("--token", help="instead of a random one")
    args = parser.parse_args()
    try:
        make_guest(args.root, args.out, args.loader, args.token, args.arch)
    except fs.ToolError as error:
        sys.exit(f"make_guest: {error}")


if __name__ == "__main__":
    main()

"""A small guest for AArch64: Debian's systemd-boot and kernel, and an initrd that waits for the
disk that it was started from.

make_disk() makes its raw disk: an ESP, and a partition with one sector of text. The guest reads
that text from the disk that the hand-off gives it, writes an answer beside it, and powers off. The
initrd runs the hook that initramfs-tools would run (include/q2_handoff_cpio.h).
"""

import gzip
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import fs  # noqa: E402
from tools.guest import make_guest  # noqa: E402

FETCH = pathlib.Path(__file__).resolve().parents[2] / "efi/arch/aa64/fetch_package.sh"
MODULES = ("virtio_pci", "virtio_blk", "nbd", "loop", "dm-mod")
ESP = {"start": fs.MIB, "size": 96 * fs.MIB, "type": fs.TYPE_ESP, "name": "ESP",
       "guid": "4d435734-0000-4000-8000-000000000001"}
DATA = {"start": 97 * fs.MIB, "size": 8 * fs.MIB, "type": fs.TYPE_LINUX, "name": "data",
        "guid": "4d435734-0000-4000-8000-000000000002"}
DISK_GUID = "4d435734-0000-4000-8000-000000000000"
ANSWER_AT = DATA["start"] + fs.MIB
ANSWER = b"METALCOW-ANSWER"

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
[ ! -e /conf/conf.d/zz-metalcow ] || . /conf/conf.d/zz-metalcow
n=0
until [ -b /dev/loop0p2 ] || [ -b /dev/nbd0p2 ] || [ $n = 120 ]; do
    n=$((n + 1)); /bin/busybox sleep 1
done
disk=/dev/loop0p2
[ -b $disk ] || disk=/dev/nbd0p2
echo "METALCOW-GUEST on $disk: $(/bin/busybox dd if=$disk bs=512 count=1 2>/dev/null)"
echo @ANSWER@ | /bin/busybox dd of=$disk bs=512 seek=2048 conv=sync,fsync 2>/dev/null &&
    echo "METALCOW-GUEST answered"
n=0
until /bin/busybox dmesg | /bin/busybox grep -q 'metalcow: .*lane:' || [ $n = 60 ]; do
    n=$((n + 1)); /bin/busybox sleep 1
done
/bin/busybox dmesg | /bin/busybox sed -n 's/^.*metalcow: /METALCOW-LOG /p'
/bin/busybox poweroff -f
""".replace("@ANSWER@", ANSWER.decode())


def fetch(root, build, package, proof):
    fs.run(FETCH, build / "download", root, package, proof)


def fetch_packages(build):
    """Unpack what the guest is made of; returns the folder. The kernel is of the version that the
    other architecture's guest has."""
    root = build / "aa64/guest"
    kernel = make_guest.find_one(build / "guest/root", "boot/vmlinuz-*-cloud-amd64").name
    version = kernel.removeprefix("vmlinuz-").replace("amd64", "arm64")
    fetch(root, build, f"linux-image-{version}", f"boot/vmlinuz-{version}")
    fetch(root, build, "busybox-static", "bin/busybox")
    fetch(root, build, "systemd-boot-efi", "usr/lib/systemd/boot/efi/systemd-bootaa64.efi")
    return root


def module_order(root, names):
    """The files of kernel modules and of what they need, each after what it needs."""
    files = {path.stem.replace("-", "_"): path for path in root.glob("lib/modules/**/*.ko")}
    order = []

    def add(name):
        path = files[name.replace("-", "_")]
        for needed in re.search(rb"\0depends=([^\0]*)\0", path.read_bytes()).group(1).split(b","):
            if needed:
                add(needed.decode())
        if path not in order:
            order.append(path)

    for name in names:
        add(name)
    return order


def make_initrd(root):
    modules = [(f"modules/{number:02}-{path.name}", path)
               for number, path in enumerate(module_order(root, MODULES))]
    members = [("bin", 0o040755, b"", (0, 0)), ("dev", 0o040755, b"", (0, 0)),
               ("modules", 0o040755, b"", (0, 0)), ("dev/console", 0o020600, b"", (5, 1)),
               ("bin/busybox", 0o100755, (root / "bin/busybox").read_bytes(), (0, 0)),
               ("init", 0o100755, INIT.encode(), (0, 0)),
               *((name, 0o100644, path.read_bytes(), (0, 0)) for name, path in modules)]
    archive = b"".join(make_guest.cpio_entry(name, mode, data, number, device)
                       for number, (name, mode, data, device) in enumerate(members, start=1))
    return gzip.compress(archive + make_guest.cpio_entry("TRAILER!!!", 0), mtime=0)


def make_disk(build, out, text):
    """Write the guest's raw disk; text: what its partition begins with."""
    root = fetch_packages(build)
    fs.make_sparse(out, 106 * fs.MIB)
    fs.make_gpt(out, DISK_GUID, [ESP, DATA])
    fs.make_fat(out, ESP["start"], ESP["size"], cluster=512, volume_id="4D435734", label="ESP")
    loader = make_guest.find_one(root, "usr/lib/systemd/boot/efi/systemd-bootaa64.efi")
    entry = ("title Debian\nlinux /debian/vmlinuz\ninitrd /debian/initrd.img\n"
             "options console=ttyAMA0 quiet panic=-1\n")
    for source, target in ((loader, "EFI/BOOT/BOOTAA64.EFI"),
                           (b"timeout 0\ndefault debian.conf\n", "loader/loader.conf"),
                           (entry.encode(), "loader/entries/debian.conf"),
                           (make_guest.find_one(root, "boot/vmlinuz-*"), "debian/vmlinuz"),
                           (make_initrd(root), "debian/initrd.img")):
        fs.fat_copy(out, ESP["start"], source, target)
    with open(out, "r+b") as disk:
        disk.seek(DATA["start"])
        disk.write(text.encode() + b"\n")
        disk.seek(ANSWER_AT)
        disk.write(b"nothing yet\n".ljust(4096))

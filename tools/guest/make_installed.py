#!/usr/bin/python3
"""Make an installed Debian: a disk with a loader and a system, and a JSON file about it.

    make_installed.py --loader grub --out build/guest/debian/grub.raw
                   [--release bookworm|trixie] [--initramfs initramfs-tools|dracut]
                   [--kernel cloud|amd64] [--cache build/guest/debian]

Needs root, debootstrap and the distribution's archive. Nothing of this project is in the guest,
apart from a service that belongs to the tests: it counts boots, writes 8 MiB, says on the serial
console what the root file system is, and powers off. The system itself (one for each release,
initramfs maker and kernel) is kept in the cache; a disk is made from it in some seconds.

The disk is GPT with an ESP (FAT32) and an ext4 root with a journal:

  grub          Debian's signed GRUB, configuration and kernel on the root file system
  shim          the same, started by Debian's signed shim
  systemd-boot  Debian's systemd-boot; its entry, kernel and initramfs on the ESP
  uki           one unified kernel image as \\EFI\\BOOT\\BOOTX64.EFI

What the service prints, one line each:

  METALCOW-TEST boot N root SOURCE OPTIONS       N counts from 1
  METALCOW-LOG TEXT                              what the hand-off said in the kernel log
  METALCOW-TEST server VmLck: N kB               its locked memory, if it is running
  METALCOW-TEST host refused|mounted             an attempt to mount the stick's own file system
  METALCOW-TEST before SHA256|none               of what the previous boot wrote
  METALCOW-TEST load                             it writes without end, if there is the file
                                                 /etc/metalcow-load or the kernel has the
                                                 option metalcow.load
  METALCOW-TEST blob SHA256                      of what this boot wrote to /var/lib/metalcow/blob
  METALCOW-TEST error TEXT                       what the kernel log has of I/O errors
  METALCOW-TEST done N
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import fs  # noqa: E402
from tools.guest import lvm  # noqa: E402

DISK_GUID = "4d435732-0000-4000-8000-000000000000"
ESP_GUID = "4d435732-0000-4000-8000-000000000001"
ROOT_GUID = "4d435732-0000-4000-8000-000000000002"
ROOT_UUID = "4d435732-0000-4000-8000-0000000000b0"

MIRROR = os.environ.get("METALCOW_MIRROR", "http://deb.debian.org/debian")
KERNELS = {"cloud": "linux-image-cloud-amd64", "amd64": "linux-image-amd64"}
PACKAGES = ["systemd-sysv", "udev", "kmod", "e2fsprogs", "zstd"]
LOADER_PACKAGES = ["shim-signed", "grub-efi-amd64-signed", "systemd-boot-efi"]

# no_timer_check: on a busy host an emulated timer fails the kernel's test of it, and that panics.
OPTIONS = (f"root=UUID={ROOT_UUID} rw console=ttyS0,115200 panic=-1 no_timer_check "
           "systemd.show_status=0")
LVM_OPTIONS = OPTIONS.replace(f"UUID={ROOT_UUID}", lvm.PATH)  # as Debian's installer has it

GRUB_STUB = f"""search.fs_uuid {ROOT_UUID} root
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
"""

GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_output console
set timeout=0
set default=0
menuentry 'Debian' {{
    linux {kernel} {options}
    initrd {initrd}
}}
"""

TEST_SERVICE = """[Unit]
Description=what the tests want to know
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/metalcow-test
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""

# The login prompt's start hangs up whoever has the terminal open, so each line opens it anew.
TEST_SCRIPT = r"""#!/bin/sh
set -eu
folder=/var/lib/metalcow
mkdir -p $folder
boot=$(($(cat $folder/boots 2>/dev/null || echo 0) + 1))
line() { until printf '\r\n%s\r\n' "$*" >/dev/ttyS0; do sleep 0.2; done 2>/dev/null; }
say() { line "METALCOW-TEST $*"; }
digest() { sha256sum <"$1" | cut -d' ' -f1; }

# Kernel messages must not come between ours.
dmesg --console-level alert
say "boot $boot root $(findmnt -n -o SOURCE,OPTIONS / | tr -s ' ')"
dmesg | sed -n 's/^.*metalcow: //p' | while read -r text; do line "METALCOW-LOG $text"; done
for line in $(grep -la '^@metalcow' /proc/[0-9]*/cmdline 2>/dev/null || true); do
    say "server $(grep VmLck "${line%cmdline}status" | tr -s '\t ' ' ')"
done
# The stick's own file system is held by the hand-off: nobody can mount it.
for host in $(blkid -t TYPE=vfat -o device | grep -Ev '/(nbd|loop|dm-)' || true); do
    if grep -q "^/dev/\(nbd\|loop\)" /proc/self/mounts; then
        mount -t vfat "$host" /mnt 2>/dev/null && say "host mounted $host" || say "host refused"
    fi
done
before=none
[ ! -f $folder/blob ] || before=$(digest $folder/blob)
say "before $before"
# A test that cuts the power needs writes that do not end.
if [ -e /etc/metalcow-load ] || grep -q metalcow.load /proc/cmdline; then
    dmesg --console-level debug
    say "load"
    n=0
    while :; do
        n=$((n + 1))
        head -c $((n % 7 * 2000000 + 4096)) /dev/urandom >$folder/load.$((n % 11))
        [ $((n % 3)) != 0 ] || sync
        [ $((n % 5)) != 0 ] || rm -f $folder/load.*
    done
fi
head -c 8388608 /dev/urandom >$folder/blob.new
mv $folder/blob.new $folder/blob
echo $boot >$folder/boots
sync
echo 3 >/proc/sys/vm/drop_caches
say "blob $(digest $folder/blob)"
if [ -x /usr/local/sbin/metalcow-more ]; then /usr/local/sbin/metalcow-more; fi
dmesg | grep -E 'I/O error|EXT4-fs error' | while read -r text; do say "error $text"; done
say "done $boot"
systemctl poweroff --no-block
"""


def chroot(root, *command):
    fs.run("chroot", root, *command, env={"DEBIAN_FRONTEND": "noninteractive",
                                          "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def install(root, packages):
    """Install by apt in the system, which needs /proc. The mount ends with the name space."""
    script = ('mount -t proc proc "$0/proc" && DEBIAN_FRONTEND=noninteractive chroot "$0" apt-get '
              '-qq -y -o APT::Sandbox::User=root --no-install-recommends install "$@"')
    fs.run("unshare", "--mount", "--propagation", "private", "sh", "-c", script, root, *packages)


def make_system(cache, release, initramfs, kernel):
    """The installed system as a folder; made once.

    initramfs  the package that makes the initrd; "dracut+MODULE" adds a kernel module to it, and
               "initramfs-tools+lvm2" installs LVM
    """
    maker, _, more = initramfs.partition("+")
    module = more if maker == "dracut" else ""
    root = cache / f"{release}-{initramfs}-{kernel}"
    done = root.with_suffix(".done")
    if done.exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    later = [maker, KERNELS[kernel]]
    # debootstrap takes the first of a dependency's alternatives, so a kernel brings initramfs-tools
    # even if dracut is in the list, and the two conflict. apt knows what is installed already.
    first = [*PACKAGES, *(later if maker == "initramfs-tools" else [])]
    print(f"debian: installing {release} with {initramfs} and the {kernel} kernel", flush=True)
    fs.run("debootstrap", "--variant=minbase", f"--include={','.join(first)}", release, root,
           MIRROR)
    if module:
        (root / "etc/dracut.conf.d").mkdir(parents=True, exist_ok=True)
        (root / "etc/dracut.conf.d/module.conf").write_text(f'add_drivers+=" {module} "\n')
    if maker != "initramfs-tools":
        install(root, later)
    elif more:
        install(root, [more])
    chroot(root, "sh", "-c", "cd /var/cache && apt-get -qq -o APT::Sandbox::User=root download "
           + " ".join(LOADER_PACKAGES))
    parts = root.with_suffix(".loaders")
    shutil.rmtree(parts, ignore_errors=True)
    for deb in sorted((root / "var/cache").glob("*.deb")):
        fs.run("dpkg-deb", "-x", deb, parts)
        deb.unlink()
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
    done.touch()
    return root


def configure(root):
    """What an installer would ask for, and the tests' service."""
    (root / "etc/fstab").write_text(f"UUID={ROOT_UUID} / ext4 defaults 0 1\n")
    (root / "etc/hostname").write_text("guest\n")
    (root / "etc/systemd/system/metalcow-test.service").write_text(TEST_SERVICE)
    script = root / "usr/local/sbin/metalcow-test"
    script.write_text(TEST_SCRIPT)
    script.chmod(0o755)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    link = wants / "metalcow-test.service"
    link.unlink(missing_ok=True)
    link.symlink_to("../metalcow-test.service")


def newest(folder, pattern):
    found = sorted(folder.glob(pattern))
    if not found:
        raise fs.ToolError(f"no {pattern} below {folder}")
    return found[-1]


def make_uki(loaders, kernel, initrd, out):
    """A unified kernel image: the stub and four more sections, one after the other."""
    stub = newest(loaders, "usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    dump = fs.run("objdump", "-h", stub)
    sections = [line.split() for line in dump.splitlines() if line.split()[:1] and
                line.split()[0].isdigit()]
    base = int(next(line for line in fs.run("objdump", "-p", stub).splitlines()
                    if line.startswith("ImageBase")).split()[1], 16)
    at = max(int(row[3], 16) + int(row[2], 16) for row in sections)
    with tempfile.TemporaryDirectory() as folder:
        command = pathlib.Path(folder, "cmdline")
        command.write_text(OPTIONS + "\0")
        release = pathlib.Path(folder, "osrel")
        release.write_text('ID=debian\nPRETTY_NAME="Debian"\nVERSION_ID=0\n')
        words = ["objcopy"]
        for name, file in ((".osrel", release), (".cmdline", command), (".initrd", initrd),
                           (".linux", kernel)):
            at = (max(at, base) + 4095) & ~4095
            words += ["--add-section", f"{name}={file}", "--change-section-vma", f"{name}={at:#x}"]
            at += pathlib.Path(file).stat().st_size
        fs.run(*words, stub, out)


def fill_esp(image, esp, loader, loaders, kernel, initrd):
    start = esp["start"]
    grub = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
    if loader in ("grub", "shim"):
        first = "BOOTX64.EFI" if loader == "grub" else "grubx64.efi"
        fs.fat_copy(image, start, newest(loaders, grub), f"EFI/BOOT/{first}")
        fs.fat_copy(image, start, GRUB_STUB.encode(), "EFI/debian/grub.cfg")
        if loader == "shim":
            shim = newest(loaders, "usr/lib/shim/shimx64.efi.signed")
            fs.fat_copy(image, start, shim, "EFI/BOOT/BOOTX64.EFI")
    elif loader == "systemd-boot":
        boot = newest(loaders, "usr/lib/systemd/boot/efi/systemd-bootx64.efi")
        fs.fat_copy(image, start, boot, "EFI/BOOT/BOOTX64.EFI")
        fs.fat_copy(image, start, b"timeout 0\ndefault debian.conf\n", "loader/loader.conf")
        fs.fat_copy(image, start, kernel, "debian/vmlinuz")
        fs.fat_copy(image, start, initrd, "debian/initrd.img")
        entry = ("title Debian\nlinux /debian/vmlinuz\ninitrd /debian/initrd.img\n"
                 f"options {OPTIONS}\n")
        fs.fat_copy(image, start, entry.encode(), "loader/entries/debian.conf")
    else:
        with tempfile.TemporaryDirectory(dir=image.parent) as folder:
            uki = pathlib.Path(folder, "uki.efi")
            make_uki(loaders, kernel, initrd, uki)
            fs.fat_copy(image, start, uki, "EFI/BOOT/BOOTX64.EFI")


def folder_size(root):
    done = subprocess.run(["du", "-sxB1", root], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def make_disk(root, loader, out, size_mib=None):
    """Write the raw disk `out` and its JSON record; return the record. A system that has LVM gets
    its root on a logical volume."""
    configure(root)
    has_lvm = (root / "usr/sbin/lvm").exists()
    kernel, initrd = newest(root, "boot/vmlinuz-*"), newest(root, "boot/initrd.img-*")
    (root / "boot/grub").mkdir(exist_ok=True)
    (root / "boot/grub/grub.cfg").write_text(GRUB_CONFIG.format(
        kernel=f"/boot/{kernel.name}", initrd=f"/boot/{initrd.name}",
        options=LVM_OPTIONS if has_lvm else OPTIONS))
    needed = folder_size(root) * 5 // 4 + 256 * fs.MIB
    root_size = (size_mib - 162) * fs.MIB if size_mib else -(-needed // (64 * fs.MIB)) * 64 * fs.MIB
    esp = {"start": fs.MIB, "size": 160 * fs.MIB, "type": fs.TYPE_ESP, "name": "ESP",
           "guid": ESP_GUID}
    system = {"start": 161 * fs.MIB, "size": root_size, "type": fs.TYPE_LINUX_ROOT, "name": "root",
              "guid": ROOT_GUID}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    fs.make_sparse(partial, 162 * fs.MIB + root_size)
    fs.make_gpt(partial, DISK_GUID, [esp, system])
    fs.make_fat(partial, esp["start"], esp["size"], cluster=512, volume_id="4D435732",
                label="ESP")
    fill_esp(partial, esp, loader, root.with_suffix(".loaders"), kernel, initrd)
    root_start = system["start"]
    if has_lvm:
        root_start, root_size = lvm.make_volume(partial, root_start, root_size)
    # Features that GRUB 2.06 reads, and a journal, which a cut is to find something in.
    fs.run("mke2fs", "-q", "-F", "-t", "ext4", "-b", 4096, "-d", root, "-U", ROOT_UUID, "-L",
           "root", "-O", "^orphan_file,^metadata_csum_seed", "-E",
           f"offset={root_start},lazy_itable_init=0,root_owner=0:0", partial,
           f"{root_size // 1024}k")
    record = {"loader": loader, "system": root.name, "kernel": kernel.name,
              "size": partial.stat().st_size, "root_start": root_start,
              "root_size": root_size, "root_uuid": ROOT_UUID}
    partial.rename(out)
    out.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the raw disk to write")
    parser.add_argument("--loader", choices=["grub", "shim", "systemd-boot", "uki"], default="grub")
    parser.add_argument("--release", choices=["bookworm", "trixie"], default="bookworm")
    parser.add_argument("--initramfs", choices=["initramfs-tools", "dracut"],
                        default="initramfs-tools")
    parser.add_argument("--kernel", choices=sorted(KERNELS), default="cloud")
    parser.add_argument("--size-mib", type=int, help="of the disk; default: what the system needs")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("build/guest/debian"))
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("make_installed: needs root, because debootstrap does; run it with sudo")
    try:
        root = make_system(args.cache.resolve(), args.release, args.initramfs, args.kernel)
        make_disk(root, args.loader, args.out, args.size_mib)
    except fs.ToolError as error:
        sys.exit(f"make_installed: {error}")


if __name__ == "__main__":
    main()

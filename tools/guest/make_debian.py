#!/usr/bin/python3
"""Make a Debian guest: a whole small system with systemd, its own initrd, nothing of ours in it.

    make_debian.py --out build/guest/debian-12

The folder gets `root.tar` (what debootstrap made; kept as long as this script's SYSTEM stays the
same), `disk.raw` (GPT: an ESP and an ext4 root), `vmlinuz`, `initrd.img` and `guest.json`. One
service is added to the system: it says on the serial console how / is mounted, writes a file,
prints its digest and switches off, if the kernel's command line has metalcow.test.

Needs root (debootstrap); packages come from the machine's own apt sources.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import fs  # noqa: E402

SUITE = "bookworm"
PACKAGES = ["systemd-sysv", "udev", "initramfs-tools", "linux-image-cloud-amd64", "kmod",
            "e2fsprogs", "util-linux", "fio"]
SYSTEM = json.dumps([SUITE, PACKAGES, 1])

ESP = {"start": 1 * fs.MIB, "size": 63 * fs.MIB, "type": "ef00", "name": "ESP",
       "guid": "4d435732-0000-4000-8000-000000000001"}
ROOT = {"start": 64 * fs.MIB, "size": 959 * fs.MIB, "type": "8300", "name": "root",
        "guid": "4d435732-0000-4000-8000-000000000002"}
DISK_SIZE = 1024 * fs.MIB
DISK_GUID = "4d435732-0000-4000-8000-000000000000"
ROOT_UUID = "4d435732-0000-4000-8000-0000000000a0"

SERVICE = """[Unit]
Description=metalcow test
ConditionKernelCommandLine=metalcow.test
After=multi-user.target

[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/usr/local/sbin/metalcow-test

[Install]
WantedBy=multi-user.target
"""

TEST = r"""#!/bin/sh
# What the tests read; every line begins with METALCOW.
word() { sed -n "s/.*$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
say() { echo "METALCOW-$*"; }
say ROOT "$(findmnt -no SOURCE,FSTYPE,OPTIONS /)"
dmesg | sed -n 's/^.*metalcow: /METALCOW-LOG /p'
for host in $(word metalcow.host | tr , ' '); do
    mount -t vfat "$host" /mnt 2>/tmp/why && say MOUNTED "$host" || say REFUSED "$(cat /tmp/why)"
done
for process in /proc/[0-9]*; do
    tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -q '^@metalcow' &&
        say SERVER "$(grep -E 'Vm(Lck|RSS|HWM)' "$process/status" | tr -s '\t\n' ' ')"
done
size=$(word metalcow.write)
[ -z "$size" ] || {
    dd if=/dev/urandom of=/root/blob bs=1M count="$size" conv=fsync 2>&1 | sed 's/^/METALCOW-DD /'
    say BLOB "$(sha256sum </root/blob)"
}
[ ! -e /root/blob ] || say FOUND "$(sha256sum </root/blob)"
command=$(word metalcow.run | tr , ' ')
[ -z "$command" ] || $command 2>&1 | sed 's/^/METALCOW-RUN /'
dmesg | grep -E 'I/O error|EXT4-fs error' | sed 's/^/METALCOW-ERROR /'
say END
case $(word metalcow.end) in
off | "") systemctl poweroff ;;
reset) echo b >/proc/sysrq-trigger ;;
esac
"""


def bootstrap(out):
    """The root file system as a tar; made once."""
    tar, stamp = out / "root.tar", out / "system"
    if tar.exists() and stamp.exists() and stamp.read_text() == SYSTEM:
        return tar
    if os.geteuid() != 0:
        raise fs.ToolError("making the Debian guest needs root (debootstrap)")
    root = out / "root"
    shutil.rmtree(root, ignore_errors=True)
    mirror = os.environ.get("METALCOW_MIRROR", "http://deb.debian.org/debian")
    fs.run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root,
           mirror)
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc",
                   "usr/share/locale", "usr/share/man"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)
    fs.run("tar", "-C", root, "-cf", tar, ".")
    shutil.rmtree(root)
    stamp.write_text(SYSTEM)
    return tar


def prepare(root):
    """What a person would set up: fstab, a host name, a console, and the test's service."""
    (root / "etc/fstab").write_text(f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n")
    (root / "etc/hostname").write_text("guest\n")
    (root / "etc/systemd/system/metalcow-test.service").write_text(SERVICE)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "metalcow-test.service").symlink_to("/etc/systemd/system/metalcow-test.service")
    script = root / "usr/local/sbin/metalcow-test"
    script.write_text(TEST)
    script.chmod(0o755)


def make_debian(out):
    """Make the guest, unless it is there already; return its record."""
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    source = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    record_path = out / "guest.json"
    if record_path.exists():
        record = json.loads(record_path.read_text())
        if record["source"] == source:
            return record
    tar = bootstrap(out)
    root = out / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    fs.run("tar", "-C", root, "-xf", tar)
    prepare(root)
    kernel = sorted((root / "boot").glob("vmlinuz-*"))[-1]
    shutil.copyfile(kernel, out / "vmlinuz")
    shutil.copyfile(kernel.with_name(kernel.name.replace("vmlinuz", "initrd.img")),
                    out / "initrd.img")
    partial = out / "disk.partial"
    fs.make_sparse(partial, DISK_SIZE)
    fs.make_gpt(partial, DISK_GUID, [ESP, ROOT])
    fs.make_fat(partial, ESP["start"], ESP["size"], cluster=512, volume_id="4D435732", label="ESP")
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, "-U", ROOT_UUID, "-L", "root",
                    "-E", f"offset={ROOT['start']},root_owner=0:0", partial,
                    f"{ROOT['size'] // 1024}k"], check=True,
                   env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    shutil.rmtree(root)
    partial.rename(out / "disk.raw")
    record = {"source": source, "kernel": kernel.name, "size": DISK_SIZE, "root_uuid": ROOT_UUID,
              "root_start": ROOT["start"], "root_size": ROOT["size"]}
    record_path.write_text(json.dumps(record, indent=2) + "\n")
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="the folder that gets everything")
    args = parser.parse_args()
    try:
        make_debian(args.out)
    except fs.ToolError as error:
        sys.exit(f"make_debian: {error}")


if __name__ == "__main__":
    main()

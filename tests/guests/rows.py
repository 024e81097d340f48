"""What a row of tests/guests/run_guests.py boots: a system, a loader, a kind of image, a bus; and
making its stick.

The guests' disks are made by tools/guest/make_installed.py and kept between runs.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.cases import Failure  # noqa: E402
from tools import fs, snakeoil  # noqa: E402
from tools.guest import lvm, make_installed  # noqa: E402
from tools.stick import make_stick  # noqa: E402

BUILD = ROOT / os.environ.get("BUILD", "build")
WORK = BUILD / "guests"
CACHE = BUILD / "guest/debian"
ROOM = 512 * fs.MIB
SNAPSHOT = "before"
PASSPHRASE = "open sesame"

# What qemu-img needs to know of an encrypted image; few iterations, because firmware under TCG
# derives the key.
LUKS = ["--object", f"secret,id=key,data={PASSPHRASE}", "-o",
        "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"]


MORE_PATH = "/usr/local/sbin/metalcow-more"

# Three files of 512 MiB; the last one is compared with what it must be. "pressure" tells how much
# memory there was.
PRESSURE = r"""#!/bin/sh
set -eu
write() { tr '\0' "$1" </dev/zero | head -c 536870912; }
for n in 1 2 3; do write $n >/var/lib/metalcow/pressure.$n; done
sync
echo 3 >/proc/sys/vm/drop_caches
for n in 1 2 3; do write $n | cmp - /var/lib/metalcow/pressure.$n; done
printf '\r\nMETALCOW-TEST pressure %s\r\n' "$(sed -n 's/^MemTotal: *//p' /proc/meminfo)" >/dev/ttyS0
"""


# A file of the guest that alone is longer than a FAT32 file may be, and what it must be.
CONTENT_PATH = "/var/lib/metalcow-content"
CONTENT = rf"""#!/bin/sh
set -eu
cd /var/lib
size=$(stat -c %s {CONTENT_PATH})
b2sum --quiet -c {CONTENT_PATH}.b2
printf '\r\nMETALCOW-TEST content %s\r\n' "$size" >/dev/ttyS0
"""


# Every device that has the root's file system; there must be one. And what nbd0 is made up of.
TWINS = r"""#!/bin/sh
uuid=$(findmnt -n -o UUID /)
found=$(blkid -c /dev/null -o device -t UUID="$uuid" | tr '\n' ' ')
link=$(readlink -f /dev/disk/by-uuid/"$uuid")
parts=$(cd /sys/block/nbd0 && ls -d nbd0p* 2>/dev/null | tr '\n' ' ')
line="twins $link of $found; nbd0: ${parts:-no partitions}"
until printf '\r\nMETALCOW-TEST %s\r\n' "$line" >/dev/ttyS0; do sleep 0.2; done 2>/dev/null
"""


# LVM's rules of the system itself, not of the initrd, take the physical volume, too.
READY = r"""#!/bin/sh
udevadm trigger --action=add --settle --name-match=loop0p2
ready=$(udevadm info -q property -n loop0p2 | sed -n 's/^SYSTEMD_READY=//p')
printf '\r\nMETALCOW-TEST ready %s\r\n' "$ready" >/dev/ttyS0
"""


# The guest swaps to the disk that it was handed: what the server needs to answer must not wait for
# that. More is kept in memory than there is, is written from there, and is compared.
SWAP = r"""#!/bin/sh
set -eu
dd if=/dev/zero of=/swapfile bs=1M count=900 2>/dev/null
chmod 600 /swapfile
mkswap /swapfile >/dev/null
swapon /swapfile
mount -t tmpfs -o size=1400M tmpfs /mnt
head -c 1258291200 /dev/urandom >/mnt/want
used=$(awk '/SwapTotal/{t=$2} /SwapFree/{f=$2} END{print int((t-f)/1024)}' /proc/meminfo)
cp /mnt/want /var/lib/metalcow/swapped
sync
[ "$(sha256sum </mnt/want)" = "$(sha256sum </var/lib/metalcow/swapped)" ]
rm /mnt/want /var/lib/metalcow/swapped
printf '\r\nMETALCOW-TEST swap same, %s MiB swapped\r\n' "$used" >/dev/ttyS0
swapoff /swapfile
rm /swapfile
"""
SWAPPED = r"METALCOW-TEST swap same, [1-9]\d\d MiB swapped\s"


# Where the server has a part in the disk, the system refuses to hibernate.
SLEEP = r"""#!/bin/sh
said=$(/usr/lib/systemd/systemd-sleep hibernate 2>&1)
printf '\r\nMETALCOW-TEST hibernation %s: %s\r\n' "$?" "$said" >/dev/ttyS0
"""
AWAKE = r"METALCOW-TEST hibernation 1: .*hibernate.* disabled by configuration"


# It goes to sleep with its memory kept, and its clock wakes it. Then the disk is still there. If
# something waits for the disk in that moment the kernel may give up after 20 s, because the server
# stands still before whoever waits for it; then it is tried again.
SUSPEND = r"""#!/bin/sh
set -eu
head -c 20000000 /dev/urandom >/var/lib/metalcow/asleep
sum=$(sha256sum </var/lib/metalcow/asleep)
for n in 1 2 3 4 5; do
    if rtcwake -m mem -s 5 >/dev/null; then break; fi
done
echo 3 >/proc/sys/vm/drop_caches
[ "$sum" = "$(sha256sum </var/lib/metalcow/asleep)" ]
head -c 20000000 /dev/urandom >/var/lib/metalcow/asleep
sync
printf '\r\nMETALCOW-TEST suspend %s\r\n' "$(dmesg | grep -c 'ACPI: PM: Waking up')" >/dev/ttyS0
"""
SUSPENDED = r"METALCOW-TEST suspend 1\s"


# How the kernel sends requests to the server.
QUEUE = r"""#!/bin/sh
cd /sys/block/nbd0/queue
printf '\r\nMETALCOW-TEST queue %s KiB, scheduler %s\r\n' "$(cat max_sectors_kb)" \
    "$(cat scheduler)" >/dev/ttyS0
"""
TUNED = r"METALCOW-TEST queue 1280 KiB, scheduler (.*\[none\]|none\s)"


# More is written than the mixed lane waits for. When the log tells of the longer table, a part of
# it is written again, straight, and all of it is read from the disk. The stick can still not be
# mounted.
GROWTH = r"""#!/bin/sh
set -eu
longer() { dmesg | sed -n 's/^.*metalcow: \(mixed, .* pieces)\)$/\1/p'; }
mount -t tmpfs tmpfs /mnt
head -c 41943040 /dev/urandom >/mnt/want
cp /mnt/want /var/lib/metalcow/grown
sync
n=0
while [ -z "$(longer)" ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done
for at in 0 9 30; do
    for file in /mnt/want /var/lib/metalcow/grown; do
        printf 'again %s' $at | dd of=$file bs=1M seek=$at conv=notrunc 2>/dev/null
    done
done
head -c 8388608 /dev/urandom >/mnt/more
for file in /mnt/want /var/lib/metalcow/grown; do
    dd if=/mnt/more of=$file bs=1M seek=12 conv=notrunc 2>/dev/null
done
sync
echo 3 >/proc/sys/vm/drop_caches
cmp /mnt/want /var/lib/metalcow/grown
for host in $(blkid -t TYPE=vfat -o device | grep -Ev '/(nbd|loop|dm-)' || true); do
    ! mount -t vfat "$host" /media 2>/dev/null ||
        printf '\r\nMETALCOW-TEST host mounted after growth\r\n' >/dev/ttyS0
done
digest=$(sha256sum </mnt/want | cut -c 1-64)
printf '\r\nMETALCOW-TEST longer %s\r\n' "$(longer | tail -n 1)" >/dev/ttyS0
printf '\r\nMETALCOW-TEST grown %s\r\n' "$digest" >/dev/ttyS0
"""
GROWN = r"METALCOW-TEST longer mixed, \d+ of \d+ MiB of data straight \(\d+ pieces\)\s"


@dataclasses.dataclass
class Row:
    name: str
    loader: str = "grub"
    release: str = "bookworm"
    initramfs: str = "initramfs-tools"
    kernel: str = "cloud"
    image: str = "data-file"
    bus: str = "virtio"
    pieces: int = 0          # bytes; 0: the image is stored in one piece
    scheme: str = "gpt"      # of the stick's partitions, one of make_stick.SCHEMES
    root: str = ""           # the device it is on; "": expected_root()
    mode: str = "rw"
    memory: int = 1024
    options: str = ""        # more options of the kernel; GRUB's guests only
    secure_boot: bool = False
    entry: dict = dataclasses.field(default_factory=dict)  # more keys of the entry
    says: str = ""           # a regular expression that a line of the kernel log must match
    refusal: str = ""        # the same for the console, in a row that must not hand over
    size_mib: int = 0        # of the guest's disk; 0: what its system needs
    content_mib: int = 0     # of a file in it, which can be compressed well; 0: there is none
    more: str = ""           # shell commands that the tests' service runs before it ends;
    told: str = ""           # and a regular expression for what they say
    room_mib: int = 256      # how much longer the image may become
    typed: tuple = ()        # what is typed in the UEFI shell; (): the stick starts by itself


ROWS = [
    Row("grub", image="data-file", more=TWINS + GROWTH,
        told=r"METALCOW-TEST twins (\S+) of \1 ; nbd0: no partitions[\s\S]*" + GROWN),
    Row("growth", image="qcow2", more=GROWTH, told=GROWN),
    Row("growth-pieces", image="qcow2", more=GROWTH, told=GROWN, pieces=4 * fs.MIB),
    Row("grub-pieces", image="qcow2", pieces=4 * fs.MIB),
    Row("pieces-nvme", image="qcow2", bus="nvme", pieces=4 * fs.MIB,
        says=r"lane: mixed, \d+ of \d+ MiB of data straight \(loop on /dev/dm-\d+, \d+ pieces\)"),
    Row("no-mapper", image="qcow2", root="/dev/nbd0p2", options="module_blacklist=dm_mod",
        says="and this initrd has no device mapper"),
    Row("grub-usb", bus="usb", kernel="amd64"),  # the cloud kernel has no USB
    Row("grub-nvme", bus="nvme"),
    Row("mbr", image="qcow2", scheme="mbr",
        says=r"2048 of the disk with MBR signature [0-9a-f]{8} is /dev/vda1"),
    Row("mbr-logical", image="qcow2", scheme="mbr-logical",
        says=r"2048 of the disk with MBR signature [0-9a-f]{8} is /dev/vda5"),
    Row("raw", image="raw", root="/dev/loop0p2", says=r"lane: fast \(loop\)"),
    Row("raw-read-only", image="raw", mode="overlay", root="/dev/nbd0p2"),
    Row("systemd-boot", loader="systemd-boot"),
    Row("uki", loader="uki"),
    Row("dracut", initramfs="dracut", loader="systemd-boot"),
    Row("lvm", initramfs="initramfs-tools+lvm2", image="qcow2", root=lvm.PATH,
        more=READY, told=r"METALCOW-TEST ready 1\s"),
    Row("kernel-amd64", kernel="amd64"),
    Row("trixie", release="trixie"),
    Row("trixie-systemd-boot", release="trixie", loader="systemd-boot"),
    Row("qcow2", image="qcow2", more=SLEEP, told=AWAKE),
    Row("raw-data-file", image="raw-data-file", root="/dev/loop0p2"),
    Row("zstd-overlay", image="zstd-overlay", more=GROWTH, told=GROWN),
    Row("compressed", image="compressed", more=GROWTH, told=GROWN),
    Row("given-backing", image="given-backing"),
    Row("snapshot", image="snapshot", mode="overlay"),
    Row("read-only-overlay", image="qcow2", mode="overlay"),
    # The loader of another entry was started before, and came back.
    Row("second-entry", image="qcow2",
        typed=("fs0:", "metalcow.efi boot returns", "metalcow.efi boot debian")),
    # dracut's initrd has nfit, and nd_pmem if it is told; the one of initramfs-tools has none.
    Row("ramdisk", image="qcow2", mode="overlay", initramfs="dracut+nd_pmem", loader="systemd-boot",
        memory=3072, entry={"handoff": "ramdisk"}, root="/dev/pmem0p2"),
    Row("ramdisk-initramfs-tools", image="qcow2", mode="overlay", memory=3072,
        entry={"handoff": "ramdisk"},
        refusal="Linux finds a RAM disk only with the modules nfit and nd_pmem in its initrd"),
    # A disk of 20 GiB, and more is written than there is memory: nobody may wait for anybody.
    Row("memory-pressure", image="zstd-overlay", size_mib=20 * 1024, room_mib=1920, memory=1024,
        entry={"handoff": "server"}, root="/dev/nbd0p2", more=PRESSURE,
        told="METALCOW-TEST pressure"),
    Row("memory-pressure-mixed", image="qcow2", size_mib=20 * 1024, room_mib=1920, memory=1024,
        more=PRESSURE, told="METALCOW-TEST pressure"),
    Row("swap", image="qcow2", size_mib=20 * 1024, room_mib=3000, memory=1024, more=SWAP,
        told=SWAPPED),
    Row("swap-server", image="qcow2", entry={"handoff": "server"}, root="/dev/nbd0p2",
        size_mib=20 * 1024, room_mib=3000, memory=1024, more=SWAP, told=SWAPPED),
    # More content than a file of FAT32 can have: the base is compressed. All of it is read, and
    # then more is written than there is memory.
    Row("content", image="zstd-overlay", size_mib=20 * 1024, content_mib=4608, room_mib=1920,
        memory=1024, more=CONTENT + PRESSURE,
        told=r"METALCOW-TEST content 4831838208\s[\s\S]*METALCOW-TEST pressure"),
    Row("qcow2-server", image="qcow2", entry={"handoff": "server"}, root="/dev/nbd0p2",
        says=r"lane: server \(nbd\)", more=QUEUE, told=TUNED),
    Row("suspend-server", image="qcow2", entry={"handoff": "server"}, root="/dev/nbd0p2",
        more=SUSPEND, told=SUSPENDED),
    Row("luks", image="luks", entry={"passphrase-file": "/img/passphrase"}),
    Row("pieces-mapped", image="raw-data-file", pieces=16 * fs.MIB,
        root="/dev/loop0p2", says=r"lane: fast \(loop on /dev/dm-\d+, \d\d+ pieces\)"),
    Row("pieces-not-mapped", image="raw-data-file", pieces=16 * fs.MIB, root="/dev/nbd0p2",
        options="module_blacklist=dm_mod",
        says="no fast lane: .* in [0-9]+ pieces and this initrd has no device mapper"),
    Row("secure-boot", loader="shim", secure_boot=True, entry={"handoff-secure-boot": "yes"}),
    Row("secure-boot-trixie", release="trixie", loader="shim", secure_boot=True,
        entry={"handoff-secure-boot": "yes"}),
    Row("secure-boot-not-allowed", loader="shim", secure_boot=True,
        refusal="Secure Boot is on and the entry does not say 'handoff-secure-boot yes'"),
    Row("secure-boot-uki", loader="uki", secure_boot=True, entry={"handoff-secure-boot": "yes"},
        refusal="Secure Boot is on, and this kernel image's signature covers all its start files"),
]


def find(name):
    return next(row for row in ROWS if row.name == name)


def guest(row):
    """The raw disk of a row's system and loader, and the record about it."""
    name = f"{row.release}-{row.initramfs}-{row.kernel}-{row.loader}"
    out = CACHE / (name + (f"-{row.size_mib}" if row.size_mib else "") + ".raw")
    script = pathlib.Path(make_installed.__file__)
    if not out.exists() or out.stat().st_mtime < script.stat().st_mtime:
        system = make_installed.make_system(CACHE.resolve(), row.release, row.initramfs, row.kernel)
        make_installed.make_disk(system, row.loader, out, row.size_mib or None)
    return out, json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))


def system_folder(row):
    """The system that a row's disk was made of."""
    return CACHE / f"{row.release}-{row.initramfs}-{row.kernel}"


def expected_root(row):
    """Where the root is: on the server's device, or on the mixed lane's, if what is written can go
    straight and the initrd has the device mapper. It is in there if dmsetup is installed."""
    if row.root:
        return row.root
    straight = row.mode == "rw" and row.image != "luks"
    mapper = any((system_folder(row) / path).exists() for path in ("usr/sbin/dmsetup",
                                                                   "sbin/dmsetup"))
    return "/dev/loop0p2" if straight and mapper else "/dev/nbd0p2"


def with_file(raw, record, folder, path, content, mode):
    """A copy of a guest's disk with one file that is new, or has another content."""
    copy, source = folder / f"with-{pathlib.Path(path).name}.raw", folder / "content"
    fs.run("cp", "--sparse=always", raw, copy)
    source.write_bytes(content)
    for command in (f"rm {path}", f"write {source} {path}",
                    f"set_inode_field {path} mode 0{0o100000 | mode:o}"):
        fs.run("debugfs", "-w", "-R", command, f"{copy}?offset={record['root_start']}")
    return copy


def with_content(raw, record, folder, size_mib):
    """A copy of a guest's disk with a file whose MiB differ, and the file's digest."""
    copy, source = folder / "with-content.raw", folder / "content"
    fs.run("cp", "--sparse=always", raw, copy)
    digest = hashlib.blake2b()
    with open(source, "wb") as file:
        for number in range(size_mib):
            piece = b"%015d\n" % number * (fs.MIB // 16)
            digest.update(piece)
            file.write(piece)
    name = pathlib.Path(CONTENT_PATH).name
    sums = folder / "sums"
    sums.write_text(f"{digest.hexdigest()}  {name}\n", encoding="ascii")
    for command in (f"write {source} {CONTENT_PATH}", f"write {sums} {CONTENT_PATH}.b2"):
        fs.run("debugfs", "-w", "-R", command, f"{copy}?offset={record['root_start']}")
    source.unlink()
    return copy


def with_options(raw, record, folder, options):
    """A copy of a guest's disk whose GRUB gives the kernel more options."""
    path = "/boot/grub/grub.cfg"
    text = fs.run("debugfs", "-R", f"cat {path}", f"{raw}?offset={record['root_start']}")
    text = text[text.index("serial"):].replace("console=ttyS0", f"{options} console=ttyS0")
    return with_file(raw, record, folder, path, text.encode(), 0o644)


def with_signed_loader(raw, folder):
    """A copy of a guest's disk whose first loader has a signature that the machine trusts, next to
    those that it has."""
    copy, loader = folder / "signed.raw", folder / "loader.efi"
    fs.run("cp", "--sparse=always", raw, copy)
    volume, path = f"{copy}@@{fs.MIB}", "::/EFI/BOOT/BOOTX64.EFI"
    fs.run("mcopy", "-n", "-i", volume, path, loader)
    snakeoil.sign(loader, loader)
    fs.run("mcopy", "-D", "o", "-i", volume, loader, path)
    loader.unlink()
    return copy


def top_name(row):
    """The file name of the image that an entry names."""
    return "debian.raw" if row.image == "raw" else "debian.qcow2"


def make_image(row, raw, record, folder):
    """The files of an image kind, in folder; returns the keys that its entry needs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    top = folder / top_name(row)
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
    if row.content_mib:
        raw = with_content(raw, record, folder.parent, row.content_mib)
    if row.more:
        raw = with_file(raw, record, folder.parent, MORE_PATH, row.more.encode(), 0o755)
    if row.options:
        raw = with_options(raw, record, folder.parent, row.options)
    if row.secure_boot:
        raw = with_signed_loader(raw, folder.parent)
    if row.image == "qcow2":
        fs.run(*convert, raw, top)
    elif row.image == "raw":
        fs.run("cp", raw.resolve(), top)
        return {"format": "raw"}
    elif row.image == "luks":
        (folder / "passphrase").write_text(PASSPHRASE + "\n", encoding="ascii")
        fs.run(*convert, *LUKS, raw, top)
    elif row.image in ("data-file", "raw-data-file"):
        option = "data_file=debian.data" + (",data_file_raw=on" if "raw" in row.image else "")
        fs.run(*convert, "-o", option, raw.resolve(), top.name, cwd=folder)
    elif row.image == "compressed":
        fs.run(*convert, "-c", raw, top)
    elif row.image == "zstd-overlay":
        fs.run(*convert, "-c", "-o", "compression_type=zstd", raw, folder / "base.qcow2")
        fs.run("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", top.name,
               cwd=folder)
    elif row.image == "given-backing":
        fs.run(*convert, "-c", "-o", "compression_type=zstd", raw, folder / "base.qcow2")
        size = raw.stat().st_size
        for name, backing in (("middle.qcow2", "gone/one.img"), (top.name, "gone/two.img")):
            fs.run("qemu-img", "create", "-u", "-f", "qcow2", "-b", backing, "-F", "qcow2", name,
                   size, cwd=folder)
        return {"backing-file": ["/img/middle.qcow2", "/img/base.qcow2"]}
    elif row.image == "snapshot":
        fs.run(*convert, raw, top)
        fs.run("qemu-img", "snapshot", "-c", SNAPSHOT, top)
        # What came after the snapshot must not be seen.
        fs.run("qemu-io", "-c", "write -P 0 0 1M", top)
        return {"snapshot": SNAPSHOT}
    else:
        raise Failure(f"no image kind '{row.image}'")
    return {}


def name_backing_files(row, folder):
    """Let an image whose backing files only the entry names be opened by QEMU."""
    if row.image == "given-backing":
        for name, backing in (("middle.qcow2", "base.qcow2"), ("debian.qcow2", "middle.qcow2")):
            fs.run("qemu-img", "rebase", "-u", "-b", backing, "-F", "qcow2", name, cwd=folder)


def stick_files(folder):
    return {f"/img/{path.name}": path for path in sorted(folder.iterdir())}


def returning_entry(folder):
    """The files of an entry whose loader comes back at once: it has no arguments."""
    raw, image = folder / "returns.raw", folder / "returns.qcow2"
    make_stick.make_stick(raw, {"/EFI/BOOT/BOOTX64.EFI": BUILD / "x64/tests/probe.efi"})
    fs.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    raw.unlink()
    return {"/other/returns.qcow2": image,
            "/metalcow/entries/returns.conf": b"image /other/returns.qcow2\nmode ro\n"}


def make_row_stick(row, folder, out, keys, first=None):
    """first: more files, {path: bytes}, which are stored before the image."""
    files = stick_files(folder)
    entry = {"title": "Debian", "image": f"/img/{top_name(row)}", "mode": row.mode,
             "handoff": "auto", "room": f"{row.room_mib}M", **row.entry, **keys}
    lines = [f"{key} {value}\n" for key, values in entry.items()
             for value in (values if isinstance(values, list) else [values])]
    text = "".join(lines).encode()
    application = BUILD / "x64/metalcow.efi"
    if row.secure_boot:
        application, _ = snakeoil.sign_programs(BUILD)
    if row.typed:
        first = returning_entry(folder.parent)
    start = "/metalcow.efi" if row.typed else "/EFI/BOOT/BOOTX64.EFI"
    content = {**(first or {}), start: application,
               "/metalcow/entries/debian.conf": text, **files,
               "/neighbour.bin": os.urandom(fs.MIB)}
    size = sum(path.stat().st_size for path in files.values()) * 5 // 4 + ROOM
    size += row.room_mib * fs.MIB
    size += sum(make_stick.source_size(data) for data in (first or {}).values())
    pieces = {name: row.pieces for name in files} if row.pieces else None
    make_stick.make_stick(out, content, size=-(-size // fs.MIB) * fs.MIB, pieces=pieces,
                          scheme=row.scheme)

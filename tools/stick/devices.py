"""Devices and image files: who uses them, what they hold, and where their ESP is.

Reads /proc, /sys and the device. Invariant: nothing here writes.
"""

import fcntl
import os
import pathlib
import stat
import struct

from tools import fs
from tools.stick.images import Refusal

BLKSSZGET = 0x1268  # ioctl: the bytes of a sector
ESP_GUID = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
FAT_TYPES = (0xEF, 0x0C, 0x0B, 0x0E, 0x06, 0x04, 0x01)  # of an MBR: ESP first
EXTENDED_TYPES = (0x05, 0x0F, 0x85)
MAX_TABLES = 251  # of logical partitions: 5 to 255 are the numbers that Linux gives
ODD_SECTORS = (1024, 2048, 4096)  # bytes; devices have them, but no stick that we make
EDGE = fs.MIB  # bytes at either end where partition tables and file systems have their marks

# Marks of what a device may hold: (offset, bytes, name).
MARKS = ((512, b"EFI PART", "a GPT"), (3, b"NTFS    ", "an NTFS file system"),
         (3, b"EXFAT   ", "an exFAT file system"), (82, b"FAT32   ", "a FAT32 file system"),
         (54, b"FAT1", "a FAT file system"), (1080, b"\x53\xEF", "an ext file system"),
         (0, b"XFSB", "an XFS file system"), (65600, b"_BHRfS_M", "a btrfs file system"),
         (0, b"LUKS\xBA\xBE", "LUKS"), (0, b"QFI\xFB", "a qcow2 image"),
         (32769, b"CD001", "an ISO 9660 file system"), (510, b"\x55\xAA", "an MBR"))


def is_device(path):
    return stat.S_ISBLK(os.stat(path).st_mode)


def size_of(path):
    with open(path, "rb") as file:
        return file.seek(0, os.SEEK_END)


def what_it_holds(path):
    """What is at the ends of a device or file, in words; None: both ends are zeros."""
    size = size_of(path)
    with open(path, "rb") as file:
        first = file.read(EDGE)
        file.seek(max(0, size - EDGE))
        last = file.read(EDGE)
    for offset, mark, name in MARKS:
        if first[offset:offset + len(mark)] == mark:
            return name
    return "data" if first.strip(b"\0") or last.strip(b"\0") else None


def mounts(path, table="/proc/self/mountinfo", swaps="/proc/swaps", sys_block="/sys/class/block"):
    """Sentences about who uses a device, or a partition of it."""
    if not is_device(path):
        return loops(path, sys_block)
    names = kernel_names(device_number(path), sys_block)
    users = [f"{place} is mounted from it" for place in mounted_at(set(names.values()), table)]
    swapped = {os.path.realpath(line.split()[0])
               for line in pathlib.Path(swaps).read_text(encoding="utf-8").splitlines()[1:]}
    users += [f"{name} is swap space" for name in names if f"/dev/{name}" in swapped]
    for name in names:
        holders = pathlib.Path(sys_block, name, "holders")
        users += [f"{holder.name} is made of {name}"
                  for holder in (holders.iterdir() if holders.is_dir() else ())]
    return users


def device_number(path):
    """major:minor, as /proc and /sys spell it."""
    number = os.stat(path).st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def kernel_names(number, sys_block):
    """{name: "major:minor"} of a device and its partitions."""
    found = {}
    for folder in pathlib.Path(sys_block).iterdir():
        try:
            if (folder / "dev").read_text(encoding="ascii").strip() != number:
                continue
        except OSError:
            continue
        for part in (folder, *folder.resolve().iterdir()):
            if part == folder or (part / "partition").exists():
                found[part.name] = (part / "dev").read_text(encoding="ascii").strip()
    return found


def is_partition(path, sys_block="/sys/class/block"):
    """Whether a device is a part of another one."""
    number = device_number(path)
    return any(found == number and pathlib.Path(sys_block, name, "partition").exists()
               for name, found in kernel_names(number, sys_block).items())


def mounted_at(numbers, table):
    """Where devices are mounted."""
    lines = pathlib.Path(table).read_text(encoding="utf-8").splitlines()
    return [line.split()[4] for line in lines if line.split()[2] in numbers]


def loops(path, sys_block):
    """Loop devices that show an image file."""
    real, found = os.path.realpath(path), []
    for folder in pathlib.Path(sys_block).glob("loop*"):
        try:
            backing = (folder / "loop/backing_file").read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if backing == real:
            found.append(f"/dev/{folder.name} shows it")
    return found


def refuse_used(path):
    """A device in use is never written, whatever is asked: the kernel's copy of its file system
    would overwrite ours, or the other way round."""
    users = mounts(path)
    if users:
        raise Refusal(f"{path} is in use: {', '.join(users)}. Unmount it (or detach it) first")
    if is_device(path):
        refuse_odd_device(path)


def refuse_odd_device(path):
    try:
        # With O_EXCL the kernel itself refuses a device that anybody holds.
        descriptor = os.open(path, os.O_RDWR | os.O_EXCL)
    except PermissionError as error:
        raise Refusal(f"{path}: you may not write this device; run the command as root, or make "
                      f"an image file, which needs no rights") from error
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}: something uses this device") from error
    try:
        sector = struct.unpack("i", fcntl.ioctl(descriptor, BLKSSZGET, bytes(4)))[0]
    finally:
        os.close(descriptor)
    check_sector(path, sector)


def check_sector(name, sector):
    if sector != fs.SECTOR:
        raise Refusal(f"{name} has sectors of {sector} bytes; only {fs.SECTOR} are supported")


def fat_sector(path, offset):
    """Bytes of a sector of the FAT volume that begins at an offset; None: there is no FAT."""
    with open(path, "rb") as file:
        file.seek(offset)
        boot = file.read(512)
    if (len(boot) < 512 or boot[510:] != b"\x55\xAA" or boot[13] == 0
            or b"FAT" not in boot[54:90]):
        return None
    sector = struct.unpack_from("<H", boot, 11)[0]
    return sector if sector in (fs.SECTOR, *ODD_SECTORS) else None


def is_fat(path, offset):
    """Whether a FAT boot sector is stored at an offset, of a volume that can be taken."""
    return fat_sector(path, offset) == fs.SECTOR


def refuse_odd_sectors(path, partitions):
    """Refuse a disk on which no volume can be taken, if that is because of its sectors or those of
    a volume on it."""
    for sector in ODD_SECTORS:
        with open(path, "rb") as file:
            file.seek(sector)  # a GPT begins in the second one
            if file.read(8) == b"EFI PART":
                check_sector(path, sector)
    for number, offset, _ in partitions:
        check_sector(f"{path}: partition {number}", fat_sector(path, offset) or fs.SECTOR)


def gpt_partitions(path):
    """[(number, offset, is an ESP)] of a GPT; None: there is none."""
    with open(path, "rb") as file:
        file.seek(512)
        header = file.read(512)
        if header[:8] != b"EFI PART":
            return None
        at, count, size = struct.unpack_from("<QII", header, 72)
        if count > 1024 or not 128 <= size <= 4096:
            raise Refusal(f"{path}: its GPT has {count} entries of {size} bytes")
        file.seek(at * fs.SECTOR)
        table = file.read(count * size)
    entries = [table[n * size:(n + 1) * size] for n in range(count)]
    return [(number, struct.unpack_from("<Q", entry, 32)[0] * fs.SECTOR, entry[:16] == ESP_GUID)
            for number, entry in enumerate(entries, start=1)
            if len(entry) == size and entry[:16] != bytes(16)]


def read_mbr(file, offset):
    """The entries of the MBR, or of the table of an extended partition: (type, first byte)."""
    file.seek(offset)
    sector = file.read(512).ljust(512, b"\0")
    return [(sector[at + 4], struct.unpack_from("<I", sector, at + 8)[0] * fs.SECTOR)
            for at in range(446, 510, 16)] if sector[510:] == b"\x55\xaa" else []


def logical_partitions(file, extended):
    """(type, offset) of each. A table names a partition, which counts from the table, and the next
    table, which counts from the extended partition."""
    table, partitions = extended, []
    for _ in range(MAX_TABLES):
        entries = read_mbr(file, table)
        partitions += [(kind, table + start) for kind, start in entries
                       if kind not in (0, *EXTENDED_TYPES)]
        tables = [extended + start for kind, start in entries if kind in EXTENDED_TYPES]
        if not tables:
            break
        table = tables[0]
    return partitions


def mbr_partitions(path):
    """The same of an MBR. Logical partitions have numbers from 5 on."""
    with open(path, "rb") as file:
        primary = read_mbr(file, 0)
        logical = [row for kind, start in primary if kind in EXTENDED_TYPES
                   for row in logical_partitions(file, start)]
    numbered = [*enumerate(primary, start=1), *enumerate(logical, start=5)]
    return [(number, start, kind == 0xEF) for number, (kind, start) in numbered
            if kind in FAT_TYPES]


def find_volume(path, number=None):
    """The offset of the FAT volume to install to: the whole device, the partition that was asked
    for, or the only ESP."""
    partitions = gpt_partitions(path)
    if partitions is None and is_fat(path, 0):
        if number is not None:
            raise Refusal(f"{path} is one FAT volume without partitions; leave out --partition")
        return 0
    if partitions is None:
        check_sector(path, fat_sector(path, 0) or fs.SECTOR)
        partitions = mbr_partitions(path)
    wanted = [row for row in partitions if row[0] == number] if number else (
        [row for row in partitions if row[2]]
        or [row for row in partitions if is_fat(path, row[1])])
    if not wanted and not number:
        refuse_odd_sectors(path, partitions)
    if len(wanted) != 1:
        raise Refusal(f"{path} has no partition {number}" if number else
                      f"{path} has {len(wanted) or 'no'} FAT partitions that could be meant"
                      f"{'; say which: --partition NUMBER' if wanted else ''}")
    if not is_fat(path, wanted[0][1]):
        refuse_odd_sectors(path, wanted)
        raise Refusal(f"{path}: partition {wanted[0][0]} has no FAT file system")
    return wanted[0][1]

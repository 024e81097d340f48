"""Disk images out of plain files, without root: GPT, FAT and ext4 inside an image file.

Functions take byte offsets into the image and call Debian's tools (sfdisk, mkfs.fat, mtools,
mke2fs). Nothing is mounted. The same input gives the same image: GUIDs, volume numbers and times
are the caller's or fixed.
"""

import os
import pathlib
import subprocess

SECTOR = 512
MIB = 1024 * 1024

# Types of partitions.  (UEFI 2.10, 5.3.3; Discoverable Partitions Specification)
TYPE_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
TYPE_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
TYPE_LINUX_ROOT = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"

# 2024-01-01, the time written into file systems so that two runs make the same image.
FIXED_TIME = 1704067200


class ToolError(Exception):
    """A tool failed; the text is its command line and what it printed."""


def calibrated(function, *arguments):
    """Call a function that has QEMU make a LUKS key slot. QEMU times PBKDF2 before, and gives up
    if the machine is too busy for that. Then the function is called again, ten times in all."""
    for _ in range(9):
        try:
            return function(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            if "accurate CPU usage" not in str(error):
                raise
    return function(*arguments)


def run(*command, cwd=None, env=None, stdin=None, good=(0,)):
    """Run a tool, return what it printed; raise ToolError with its output when its exit status is
    not among the good ones."""
    words = [str(word) for word in command]
    environment = dict(os.environ, LC_ALL="C", MTOOLS_SKIP_CHECK="1",
                       MTOOLSRC="/dev/null", SOURCE_DATE_EPOCH=str(FIXED_TIME),
                       E2FSPROGS_FAKE_TIME=str(FIXED_TIME), TZ="UTC")
    environment["PATH"] += ":/usr/sbin:/sbin"
    environment.update(env or {})
    try:
        done = subprocess.run(words, cwd=cwd, env=environment, input=stdin, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise ToolError(f"{words[0]} is not installed; run tools/setup.sh") from error
    output = done.stdout.decode(errors="replace")
    if done.returncode not in good:
        said = f":\n{output}" if output.strip() else ", and said nothing"
        raise ToolError(f"`{' '.join(words)}` failed with {done.returncode}{said}")
    return output


def make_sparse(path, size):
    """A new file of `size` bytes that holds only zeros and takes no room."""
    with open(path, "wb") as image:
        image.truncate(size)


def make_gpt(path, disk_guid, partitions):
    """Partition the image. partitions: dicts with start, size (bytes), type, guid, name."""
    lines = ["label: gpt", f"label-id: {disk_guid}", "first-lba: 34"]
    for part in partitions:
        lines.append(f"start={part['start'] // SECTOR}, size={part['size'] // SECTOR}, "
                     f"type={part['type']}, uuid={part['guid']}, name=\"{part['name']}\"")
    run("sfdisk", "--quiet", "--no-tell-kernel", "--wipe", "never", path,
        stdin="\n".join(lines).encode())


def mbr_table(flag, kind, start, size):
    """A table with one entry, and its signature. start, size: bytes."""
    return (bytes([flag, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF]) +
            (start // SECTOR).to_bytes(4, "little") + (size // SECTOR).to_bytes(4, "little") +
            bytes(48) + b"\x55\xAA")


def make_mbr(path, start, size, logical=False):
    """One FAT32 (LBA) partition in an MBR: active, or logical in an extended partition, whose table
    is in the sector before it."""
    with open(path, "r+b") as image:
        image.seek(440)
        if not logical:
            image.write(b"MCOW\0\0" + mbr_table(0x80, 0x0C, start, size))
            return
        image.write(b"MCOW\0\0" + mbr_table(0, 0x0F, start - SECTOR, size + SECTOR))
        image.seek(start - SECTOR + 446)
        image.write(mbr_table(0, 0x0C, SECTOR, size))


def make_fat(path, offset, size, bits=32, cluster=None, volume_id="4D434F57", label="METALCOW"):
    """A FAT volume of 12, 16 or 32 bits. cluster: bytes, a power of two; None: the default."""
    # -I: a path may be a whole device, which mkfs.fat refuses without it.
    command = ["mkfs.fat", "-I", "-F", bits, "--invariant", "-i", volume_id, "-n", label,
               "--offset", offset // SECTOR, "-h", offset // SECTOR]
    if cluster is not None:
        command += ["-s", cluster // SECTOR]
    run(*command, path, size // 1024)


def fat_mkdirs(path, offset, folder):
    """Make a folder of the FAT volume and the folders above it."""
    parts = [part for part in folder.replace("\\", "/").split("/") if part]
    for depth in range(1, len(parts) + 1):
        target = "::/" + "/".join(parts[:depth])
        listing = subprocess.run(["mdir", "-b", "-i", f"{path}@@{offset}", target], check=False,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))
        if listing.returncode != 0:
            run("mmd", "-i", f"{path}@@{offset}", target)


def fat_copy(path, offset, source, target):
    """Copy a host file (a path) or text (bytes) to a path of the FAT volume, making its folders."""
    target = target.replace("\\", "/").lstrip("/")
    fat_mkdirs(path, offset, os.path.dirname(target))
    name = source if not isinstance(source, bytes) else "-"
    run("mcopy", "-o", "-i", f"{path}@@{offset}", name, f"::/{target}",
        stdin=source if isinstance(source, bytes) else None)


def make_ext4(path, offset, size, folder, uuid, label):
    """An ext4 file system filled from a host folder, with features that GRUB 2.06 reads."""
    for entry in [folder, *sorted(pathlib.Path(folder).rglob("*"))]:
        os.utime(entry, (FIXED_TIME, FIXED_TIME))
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", 4096, "-d", folder, "-U", uuid, "-L", label,
        "-O", "^has_journal,^orphan_file,^metadata_csum_seed", "-m", 0,
        "-E", f"offset={offset},hash_seed={uuid},root_owner=0:0,lazy_itable_init=0",
        path, f"{size // 1024}k")

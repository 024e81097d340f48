"""Power cuts while the firmware's FAT driver makes a file longer.

A disk with one volume for each geometry is written by the firmware under QEMU's `blklogwrites`,
which keeps every write and flush in order. From that log come the states of a volume that a power
cut can leave: everything up to some write, that write cut short, and any part of the writes since
the last flush. Judge them with judge_state().
"""

import dataclasses
import hashlib
import pathlib
import random
import re
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import fs  # noqa: E402

GUEST_SIZE = 9 * fs.MIB
GUEST_CLUSTER = 64 * 1024
# Guest clusters that have a pattern before anything is written: 5 MiB, because a smaller file
# cannot push its old pages out of the firmware's cache.
NB_KEPT = 80
IMAGE = "/img/grow.qcow2"
OTHER = bytes(range(251)) * 700
FLUSH, DISCARD = 1, 4
LOG_MAGIC = 0x6a736677736872

# bits, sector, cluster, FATs, size of the volume in MiB
GEOMETRIES = ((12, 512, 8192, 2, 30), (12, 512, 32768, 1, 60), (16, 512, 2048, 2, 40),
              (16, 512, 4096, 2, 60), (16, 512, 32768, 2, 200), (32, 512, 512, 2, 40),
              (32, 512, 4096, 2, 270), (32, 1024, 1024, 1, 70), (32, 4096, 4096, 2, 270))

# What fsck.fat may say of a volume whose power was cut while a file was made longer.
HARMLESS = (r"fsck\.fat .*", r"FATs differ.*", r".*Dirty bit is set.*", r".*data may be corrupt.*",
            r"Free cluster summary.*", r"Reclaimed \d+ unused clusters? \(\d+ bytes\)\.?",
            r".*File size is \d+ bytes, cluster chain length is [<>]? ?\d+ bytes\.",
            r".*Truncating file to \d+ bytes\.",
            r".*Contains a free cluster \(\d+\)\. Assuming EOF\.",
            r".*Automatically removing dirty bit.*", r"\s*Using first FAT.*", r"1\) .*", r"2\) .*",
            r"3\) .*", r"Leaving filesystem unchanged\.", r"Performing changes\.", r"\*\*\* .*",
            r"\S+: \d+ files, \d+/\d+ clusters", r"/\S+", r"\s*", r"  .*Auto-setting\.",
            r".*Auto-correcting\.", r"Orphaned long file name part.*")


@dataclasses.dataclass
class Volume:
    """One volume of the recorded disk."""

    name: str
    base: pathlib.Path  # the volume before anything was written
    size: int
    start: int = 0  # in the disk
    bits: int = 0


def make_image(path):
    """A qcow2 image that grows when it is written, with guest data that must stay."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(GUEST_SIZE)], check=True)
    words = []
    for n in range(NB_KEPT):
        words += ["-c", f"write -q -P {n + 1} {n * GUEST_CLUSTER + GUEST_CLUSTER // 2} 16k"]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, path], check=True)
    return path


def make_volume(folder, number, geometry, image):
    bits, sector, cluster, fats, mib = geometry
    name = f"g{number}-fat{bits}-{sector}-{cluster}-{fats}"
    path = folder / f"{name}.base"
    fs.make_sparse(path, mib * fs.MIB)
    fs.run("mkfs.fat", "-F", str(bits), "-S", str(sector), "-s", str(cluster // sector), "-f",
           str(fats), "-i", "4d434f57", str(path))
    fs.fat_copy(path, 0, f"{name}\n{IMAGE}\n{IMAGE}\n".encode(), "/CUT.TXT")
    fs.fat_copy(path, 0, image, IMAGE)
    fs.fat_copy(path, 0, OTHER, "/img/other.bin")
    return Volume(name, path, mib * fs.MIB, bits=bits)


def copy_sparse(source, target, at=0):
    """Copy what is not zero to a place in a file that reads as zeros there."""
    with open(source, "rb") as reader, open(target, "r+b") as writer:
        for offset in range(0, pathlib.Path(source).stat().st_size, fs.MIB):
            data = reader.read(fs.MIB)
            if data.strip(b"\0"):
                writer.seek(at + offset)
                writer.write(data)


def make_disk(path, volumes, sources):
    """A GPT disk with the volumes in partitions; sources are files that they are copied from."""
    parts, at = [], fs.MIB
    for number, volume in enumerate(volumes, start=1):
        volume.start = at
        parts.append({"start": at, "size": volume.size, "type": fs.TYPE_ESP, "name": f"cut{number}",
                      "guid": f"4d435753-0000-4000-8002-{number:012d}"})
        at += volume.size
    fs.make_sparse(path, at + fs.MIB)
    fs.make_gpt(path, "4d435753-0000-4000-8002-000000000000", parts)
    for volume, source in zip(volumes, sources):
        copy_sparse(source, path, volume.start)


def log_arguments(disk, log):
    """QEMU's arguments for a disk whose writes are kept."""
    pathlib.Path(log).write_bytes(b"")
    return ["-blockdev", f"driver=file,node-name=cut-file,filename={disk}",
            "-blockdev", f"driver=file,node-name=cut-log,filename={log}",
            "-blockdev", "driver=blklogwrites,node-name=cut,file=cut-file,log=cut-log",
            "-device", "virtio-blk-pci,drive=cut"]


def read_log(path):
    """The entries of a log: (offset, data) for a write, None for a flush."""
    entries = []
    with open(path, "rb") as file:
        magic, version, _, sector_size = struct.unpack("<QQQI", file.read(28))
        if magic != LOG_MAGIC or version != 1:
            raise RuntimeError("this is no log of blklogwrites")
        at = sector_size
        while True:
            file.seek(at)
            head = file.read(32)
            if len(head) < 32:
                return entries
            sector, nb, flags, _ = struct.unpack("<QQQQ", head)
            if not nb and not flags:
                return entries
            if flags & FLUSH:
                entries.append(None)
            at += sector_size
            if nb and not flags & DISCARD:
                file.seek(at)
                entries.append((sector * sector_size, file.read(nb * sector_size)))
                at += nb * sector_size


def entries_of(volume, entries):
    """Those of one volume, with offsets in it; flushes that follow each other are one."""
    found = []
    for entry in entries:
        if entry is None:
            if found and found[-1] is not None:
                found.append(None)
        elif volume.start <= entry[0] < volume.start + volume.size:
            found.append((entry[0] - volume.start, entry[1]))
    return found


def folder_ranges(path):
    """Where the FATs and the folders are on a volume: [(start, end)]. The folder /img is the first
    thing that was stored after /CUT.TXT, so it has one of the first clusters."""
    with open(path, "rb") as file:
        boot = file.read(512)
    sector, spc, reserved, fats, root = struct.unpack_from("<HBHBH", boot, 11)
    fat_sectors = struct.unpack_from("<H", boot, 22)[0] or struct.unpack_from("<I", boot, 36)[0]
    data = (reserved + fats * fat_sectors + -(-root * 32 // sector)) * sector
    return [(0, data + 4 * sector * spc)]


@dataclasses.dataclass
class State:
    """A state that a cut leaves: the writes that arrived, in order."""

    what: str
    writes: list


def states_of(volume, entries, seed):
    """All prefixes that end at or before a write to the FAT or a folder, that write cut short, and
    parts of what was not flushed."""
    rnd = random.Random(f"cuts {seed} {volume.name}")
    ranges = folder_ranges(volume.base)
    states, done, epoch = [], [], []
    for number, entry in enumerate(entries):
        if entry is None:
            done, epoch = done + epoch, []
            continue
        offset, data = entry
        if any(offset < end and offset + len(data) > start for start, end in ranges):
            states.append(State(f"{number} before", done + epoch))
            for length in sorted({512, len(data) // 2 // 512 * 512}):
                if 0 < length < len(data):
                    states.append(State(f"{number} torn at {length}",
                                        done + epoch + [(offset, data[:length])]))
            states.append(State(f"{number} after", done + epoch + [entry]))
            for part in range(3):
                kept = [e for e in epoch + [entry] if rnd.random() < 0.5]
                states.append(State(f"{number} part {part}", done + kept))
        epoch = epoch + [entry]
    states.append(State("end", done + epoch))
    return unique(states)


def unique(states):
    """Without states that are the same writes."""
    seen, found = set(), []
    for state in states:
        key = hashlib.sha1(repr([(o, len(d), hash(d)) for o, d in state.writes]).encode()).digest()
        if key not in seen:
            seen.add(key)
            found.append(state)
    return found


def write_state(volume, state, path):
    """The volume as the cut leaves it."""
    subprocess.run(["cp", "--sparse=always", volume.base, path], check=True)
    with open(path, "r+b") as file:
        for offset, data in state.writes:
            file.seek(offset)
            file.write(data)
    return path


def extract(path, line, target):
    """The image by the map that fat_reader printed."""
    words = re.match(r"ok odd=0x([0-9a-f]+) size=(\d+) mapped=(\d+) extents=(.*)", line)
    with open(path, "rb") as reader, open(target, "wb") as writer:
        for extent in words.group(4).split(",") if words.group(4) else []:
            at, place, length = map(int, extent.split(":"))
            reader.seek(place)
            writer.seek(at)
            writer.write(reader.read(length))
    return int(words.group(1), 16)


def check_image(path):
    """None, or what is wrong with the image: only leaks are allowed, and the old data must stay."""
    check = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], capture_output=True,
                           text=True, check=False)
    if check.returncode not in (0, 3):
        return f"qemu-img check: {(check.stdout + check.stderr).strip()[:200]}"
    words = []
    for n in range(NB_KEPT):
        words += ["-c", f"read -P {n + 1} {n * GUEST_CLUSTER + GUEST_CLUSTER // 2} 16k"]
    read = subprocess.run(["qemu-io", "-r", "-f", "qcow2", *words, path], capture_output=True,
                          text=True, check=False)
    if read.returncode or "failed" in read.stdout or read.stdout.count("read 16384") != NB_KEPT:
        return f"guest data is lost: {(read.stdout + read.stderr).strip()[:200]}"
    return None


def fsck(path, option):
    result = subprocess.run(["fsck.fat", option, path], capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).splitlines()
    return [line for line in lines
            if not any(re.fullmatch(pattern, line) for pattern in HARMLESS)]


def judge_fsck(path, folder):
    """What fsck.fat finds, and whether the image and its neighbour outlive its repair."""
    strange = fsck(path, "-n")
    if strange:
        return f"fsck.fat: {strange[0]}"
    fsck(path, "-a")
    again = fsck(path, "-n")
    if again:
        return f"fsck.fat after its repair: {again[0]}"
    for name, target in ((IMAGE, folder / "fsck.qcow2"), ("/img/other.bin", folder / "other.bin")):
        target.unlink(missing_ok=True)
        subprocess.run(["mcopy", "-i", path, f"::{name}", target], check=True)
    if (folder / "other.bin").read_bytes() != OTHER:
        return "another file is lost by the repair of fsck.fat"
    why = check_image(folder / "fsck.qcow2")
    return f"after fsck.fat: {why}" if why else None


def judge_state(path, line, folder):
    """None, or what is wrong with a volume that a cut has left. line: fat_reader's about the image.
    The volume is changed by fsck.fat."""
    if not line.startswith("ok "):
        return f"our reader: {line}"
    odd = extract(path, line, folder / "cut.qcow2")
    if odd & ~0xb00:
        return f"oddities {odd:#x}"
    return check_image(folder / "cut.qcow2") or judge_fsck(path, folder)

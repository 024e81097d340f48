"""What a machine has written to a disk, in order, and what is left of it after a power cut.

QEMU's driver "blklogwrites" notes each write and each flush of a disk, in the form that Linux has
for it (device mapper, "log-writes"): a sector about the log, and then for each request one sector
that describes it, and its data. All numbers are little-endian.

A disk may lose every write that was not flushed, in any order, and of each write any sectors.
survivors() chooses; what is older than a flush is always kept. virtio's disks have no writes with
FUA: their drivers flush.

May call the standard library only. Invariant: the kept writes are applied in the order in which
they were made, so each sector has its old content or one that was written to it.
"""

import dataclasses
import struct

SECTOR = 512
MAGIC = 0x6A736677736872
VERSION = 1
FLUSH = 1  # the other flags are FUA, DISCARD and MARK
SUPERBLOCK = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
# How often a write that was not flushed is kept; one of these is chosen for each cut.
ODDS = (0.0, 0.1, 0.5, 0.9, 1.0)


class LogError(Exception):
    """The log is not one, or has an entry that no disk of a guest can have."""


@dataclasses.dataclass
class Write:
    """One request. data is empty for a flush without data; at is where the log has it."""

    offset: int
    data: bytes
    flush: bool = False
    at: int = 0


def read(path, end):
    """The requests whose entries begin before the byte `end` of a log, in order. QEMU begins the
    log with the first request: until then it is empty."""
    writes = []
    with open(path, "rb") as log:
        head = log.read(SECTOR)
        if not head:
            return []
        magic, version, _, sector = SUPERBLOCK.unpack(head[: SUPERBLOCK.size])
        if (magic, version, sector) != (MAGIC, VERSION, SECTOR):
            raise LogError(f"{path}: no log of writes: {magic:#x}, version {version}, {sector}")
        while log.tell() < end:
            start = log.tell()
            head = log.read(SECTOR)
            if len(head) < SECTOR:
                break
            first, count, flags, length = ENTRY.unpack(head[: ENTRY.size])
            if flags & ~FLUSH or length or (count == 0 and not flags & FLUSH):
                raise LogError(f"{path}: byte {start}: flags {flags}, {count} sectors, "
                               f"{length} bytes")
            data = log.read(count * SECTOR)
            if len(data) < count * SECTOR:
                raise LogError(f"{path}: byte {start}: the data of {count} sectors is cut off")
            writes.append(Write(first * SECTOR, data, bool(flags & FLUSH), start))
    return writes


def sectors(write, dice, odds):
    """A write of some of the sectors of a write."""
    for at in range(0, len(write.data), SECTOR):
        if dice.random() < odds:
            yield Write(write.offset + at, write.data[at : at + SECTOR])


def survivors(writes, dice, odds, torn):
    """What is on the disk after a cut that follows the last of `writes`: a list of writes to apply.

    dice: a random.Random. odds: how often a write that was not flushed is kept, 0 to 1. torn:
    single sectors are kept or lost instead of whole writes."""
    flushed = max((at for at, write in enumerate(writes) if write.flush), default=-1)
    # The data of an entry with a flush comes after the flush.
    kept = [write for write in writes[: max(flushed, 0)] if write.data]
    for write in writes[max(flushed, 0) :]:
        if torn:
            kept.extend(sectors(write, dice, odds))
        elif write.data and dice.random() < odds:
            kept.append(write)
    return kept


def translate(write, places):
    """The parts of a write to a disk as writes to files: (path, Write). places: where the files
    are, [(first byte of the disk, byte after the last, path, offset in the file)]."""
    end = write.offset + len(write.data)
    for first, last, path, offset in places:
        start, stop = max(first, write.offset), min(last, end)
        if start < stop:
            data = write.data[start - write.offset : stop - write.offset]
            yield path, Write(offset + start - first, data)


def apply(writes, path):
    """Do the writes; returns the writes that undo them, in the order to do them in."""
    undo = []
    with open(path, "r+b") as disk:
        for write in writes:
            disk.seek(write.offset)
            undo.append(Write(write.offset, disk.read(len(write.data))))
            disk.seek(write.offset)
            disk.write(write.data)
    return undo[::-1]


def first_outside(writes, ranges):
    """The offset of the first byte that was written outside byte ranges [(start, end)], or None."""
    merged = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    for write in writes:
        at, last = write.offset, write.offset + len(write.data)
        for start, end in merged:
            if start <= at < end:
                at = min(end, last)
        if at < last:
            return at
    return None

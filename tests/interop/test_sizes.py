#!/usr/bin/python3
"""Large sizes: 64 TiB disks, and L1, L2, refcounts, snapshots and data at host offsets beyond 4 GiB
and beyond 1 TiB. What QEMU says and reads is what metalcow says and reads, in the memory that a
small image takes.

The files are sparse. QEMU is made to write far out by preallocated metadata: what comes after it
is after it. Every row says which offsets must be far, and that is checked first. The peak memory
of each command is printed, and held against the small image's.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
TOOL = BUILD / "host/metalcow"
PEAK = BUILD / "host/tests/interop/peak"
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
# No measure of speed: a walk whose length depends on the size would not end for hours.
PATIENCE = 120
# Has malloc() fill what it gives: a disk's one block of memory counts as a whole, used or not.
TOUCHED = {**os.environ, "MALLOC_PERTURB_": "165"}
# What one command may take more than on the small image: one refcount block (map, 2 MiB at most)
# and noise of libc.
MEMORY_SLACK = 3 * 1024  # KiB

# In memory where there is some: QEMU waits for the disk at every step of preallocation.
SHARED = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
TEMPORARY = tempfile.TemporaryDirectory(prefix="metalcow-sizes-", dir=SHARED)
FOLDER = pathlib.Path(TEMPORARY.name)
WORK = FOLDER / "images"
WORK.mkdir()
IMAGE = WORK / "disk.qcow2"


@dataclasses.dataclass
class Done:
    output: bytes
    peak: int  # KiB


def run(*command):
    """Run a command and measure its peak memory."""
    peak = FOLDER / "peak"
    words = [str(word) for word in command]
    done = subprocess.run([PEAK, peak, str(PATIENCE), *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, cwd=WORK, env=TOUCHED, check=False)
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()
        raise cases.Failure(f"{' '.join(words)}: status {done.returncode}: {text}")
    return Done(done.stdout, int(peak.read_text()))


def qemu_io(*commands):
    words = [word for command in commands for word in ("-c", command)]
    run("qemu-io", *words, IMAGE)


def new_image(size, *options):
    for path in WORK.iterdir():
        path.unlink()
    words = [word for option in options for word in ("-o", option)]
    run("qemu-img", "create", "-q", "-f", "qcow2", *words, IMAGE, size)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Guest bytes that QEMU has written: one pattern byte each."""

    offset: int
    length: int
    pattern: int
    snapshot: str = ""


def write(*pieces, compressed=False):
    flag = "-c" if compressed else "-q"
    qemu_io(*[f"write {flag} -P {p.pattern} {p.offset} {p.length}" for p in pieces])


class Header:
    """The offsets that a header and its first entries hold."""

    def __init__(self, path=IMAGE):
        with open(path, "rb") as file:
            head = file.read(112)
            self.l1_size, self.l1, self.refcount_table = struct.unpack_from(">IQQ", head, 36)
            self.snapshots = struct.unpack_from(">Q", head, 64)[0]
            self.l2 = self.entries(file, self.l1, self.l1_size, 0x00fffffffffffe00)
            file.seek(self.refcount_table)
            blocks = struct.unpack_from(">I", head, 56)[0]
            size = blocks << struct.unpack_from(">I", head, 20)[0]
            self.blocks = self.entries(file, self.refcount_table, size // 8, ~0x1ff)

    @staticmethod
    def entries(file, offset, count, mask):
        file.seek(offset)
        values = struct.unpack(f">{count}Q", file.read(count * 8))
        return [value & mask for value in values if value & mask]


def check_far(limit, **offsets):
    near = [f"{name} at {offset:#x}" for name, offset in offsets.items() if offset < limit]
    cases.check(not near, f"below {limit:#x}: {', '.join(near)}")


def check_pieces(pieces, peaks):
    """Each piece as it was written, zeros around it, by both readers."""
    for piece in pieces:
        where = ["--snapshot", piece.snapshot] if piece.snapshot else []
        before = min(piece.offset, 4096)
        done = run(TOOL, "read", *where, piece.offset - before, piece.length + before, IMAGE)
        wanted = bytes(before) + bytes([piece.pattern]) * piece.length
        cases.check(done.output == wanted, f"{piece}: other bytes")
        peaks.append(("read", done.peak))
        if not piece.snapshot:
            qemu_io(f"read -q -P {piece.pattern} {piece.offset} {piece.length}",
                    f"read -q -P 0 {piece.offset - before} {before}")


def check_same_answers(peaks):
    for words in (["info", "--output=json"], ["map", "--output=json"], ["check", "--output=json"],
                  ["snapshot", "-l"]):
        theirs = run("qemu-img", *words, IMAGE)
        ours = run(TOOL, *words, IMAGE)
        if "--output=json" in words:
            cases.check_equal(json.loads(ours.output), json.loads(theirs.output), " ".join(words))
        else:
            cases.check_equal(ours.output, theirs.output, " ".join(words))
        peaks.append((words[0], ours.peak))


def check_image(pieces):
    """Everything that can be asked of the image; returns {command: peak memory}."""
    peaks = []
    check_same_answers(peaks)
    check_pieces(pieces, peaks)
    most = {}
    for name, peak in peaks:
        most[name] = max(peak, most.get(name, 0))
    size = IMAGE.stat()
    figures = ", ".join(f"{name} {peak}" for name, peak in most.items())
    print(f"# file of {size.st_size / GIB:.1f} GiB, {size.st_blocks * 512 / MIB:.1f} MiB stored; "
          f"peak KiB: {figures}")
    return most


def check_memory(large):
    """The same commands on a small image of the same kind."""
    new_image("1M")
    piece = Piece(64 * KIB, 64 * KIB, 9)
    write(piece)
    small = check_image([piece])
    for name, peak in large.items():
        cases.check(peak <= small[name] + MEMORY_SLACK,
                    f"{name} took {peak} KiB, on a small image {small[name]}")


def test_sizes_64_tib_disk():
    """Every L1 entry can be reached, the last cluster too."""
    pieces = [Piece(0, 64 * KIB, 1), Piece(5 * TIB + 512 * MIB - 64 * KIB, 128 * KIB, 2),
              Piece(33 * TIB + 12345 * 512, 70 * KIB, 3), Piece(64 * TIB - 64 * KIB, 64 * KIB, 4)]
    new_image("64T")
    write(*pieces)
    cases.check_equal(Header().l1_size, 64 * TIB // (512 * MIB), "L1 entries")
    peaks = check_image(pieces)
    check_memory(peaks)


def test_sizes_64_tib_disk_in_small_clusters():
    """4 KiB clusters: 32 MiB of L1 table, the largest that there is."""
    new_image("8T", "cluster_size=4k")
    pieces = [Piece(TIB, 4 * KIB, 1), Piece(8 * TIB - 4 * KIB, 4 * KIB, 2)]
    write(*pieces)
    cases.check_equal(Header().l1_size, 4 * MIB, "L1 entries")
    check_image(pieces)


def far_image(limit, options, size, larger):
    """An image of which everything but the old state is beyond `limit` in the file; its pieces.

    Preallocated metadata fills the file to its end. A snapshot, then growing, puts the snapshot's
    table and L1 copy, the new L1 table, new L2 tables and refcount blocks after it."""
    new_image(size, "preallocation=metadata", *options)
    qemu_io(f"write -q -P 1 {limit} 64k")
    run("qemu-img", "snapshot", "-c", "old", IMAGE)
    run("qemu-img", "resize", "-q", IMAGE, larger)
    pieces = [Piece(limit, 64 * KIB, 2), Piece(larger - 64 * KIB, 64 * KIB, 3)]
    write(*pieces)
    return [*pieces, Piece(limit, 64 * KIB, 1, snapshot="old")]


def check_compressed(offset, length, limit):
    write(Piece(offset, length, 5), compressed=True)
    where = run("qemu-img", "map", "--output=json", "-s", str(offset), "-l", str(length), IMAGE)
    cases.check(json.loads(where.output)[0]["data"], "not stored")
    piece = Piece(offset, length, 5)
    cases.check(IMAGE.stat().st_size > limit, "the file is short")
    return piece


def test_sizes_metadata_beyond_4_gib():
    """4 KiB clusters, so that the refcount table has to move too."""
    limit = 4 * GIB
    pieces = far_image(limit, ["cluster_size=4k"], 5 * GIB, 6 * GIB)
    header = Header()
    check_far(limit, l1=header.l1, snapshots=header.snapshots, l2=header.l2[-1],
              refcount_table=header.refcount_table, refcounts=header.blocks[-1])
    pieces.append(check_compressed(6 * GIB - MIB, 4 * KIB, limit))
    check_memory(check_image(pieces))


def test_sizes_metadata_beyond_1_tib():
    """2 MiB clusters: what is far is beyond 2^41. The disk grows to 64 TiB."""
    limit = 2 * TIB
    pieces = far_image(TIB, ["cluster_size=2M"], limit, 64 * TIB)
    header = Header()
    check_far(limit, l1=header.l1, snapshots=header.snapshots, l2=header.l2[-1],
              refcounts=header.blocks[-1])
    pieces.append(check_compressed(40 * TIB, 2 * MIB, limit))
    check_memory(check_image(pieces))


def test_sizes_subclusters_beyond_1_tib():
    limit = 2 * TIB
    pieces = far_image(TIB, ["cluster_size=2M", "extended_l2=on"], limit, 3 * TIB)
    header = Header()
    check_far(limit, l1=header.l1, l2=header.l2[-1])
    check_memory(check_image(pieces))


def test_sizes_data_file_beyond_1_tib():
    new_image(3 * TIB, "cluster_size=2M", "data_file=disk.raw", "data_file_raw=on",
              "preallocation=metadata")
    pieces = [Piece(5 * GIB, 64 * KIB, 1), Piece(3 * TIB - 64 * KIB, 64 * KIB, 2)]
    write(*pieces)
    check_memory(check_image(pieces))


if __name__ == "__main__":
    cases.check(shutil.which("qemu-img"), "qemu-img is missing: run tools/setup.sh")
    cases.main(globals())

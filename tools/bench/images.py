"""The images of `make bench`: deterministic content, written by a small qcow2 writer.

qemu-img makes the compressed ones. The others are written here, because qemu-img takes minutes to
lay out 512-byte clusters; the layout is QEMU's (each L2 table right before the clusters it maps).
"""

import random
import struct

MIB = 1 << 20
POOL = 128
BLOCK = 1 << 16
COPIED = 1 << 63
ZERO = 1


def make_pool():
    """Blocks of 64 KiB that compress about 2:1, as disks of systems do: words, then noise."""
    rng = random.Random(4)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) + b" "
             for _ in range(4096)]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    return [(b"".join(rng.choices(words, weights, k=8192)) + rng.randbytes(BLOCK))[:BLOCK]
            for _ in range(POOL)]


def content(pool, offset, length):
    """Guest bytes. offset and length are multiples of a block, and no two blocks are the same."""
    parts = []
    for number in range(offset // BLOCK, (offset + length) // BLOCK):
        parts += [number.to_bytes(16, "big"), pool[number * 7919 % POOL][16:]]
    return b"".join(parts)


def write_raw(path, pool, size):
    """A raw image."""
    with open(path, "wb") as image:
        for offset in range(0, size, MIB):
            image.write(content(pool, offset, MIB))


def header(cluster_bits, size, l1, refcounts, backing):
    """A version 3 header; l1 and refcounts are (offset, entries or clusters)."""
    name_offset = 112 if backing else 0
    fields = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, name_offset, len(backing),
                         cluster_bits, size, 0, l1[1], l1[0], refcounts[0], refcounts[1],
                         0, 0, 0, 0, 0, 4, 104)
    extensions = struct.pack(">II", 0, 0)
    if backing:
        # The name after the extensions; the format's extension goes first.
        extensions = struct.pack(">II8s", 0xE2792ACA, 5, b"qcow2") + struct.pack(">II", 0, 0)
        fields = fields[:8] + struct.pack(">Q", 104 + len(extensions)) + fields[16:]
    return fields + extensions + backing


def write_qcow2(path, pool, size, cluster_bits, kinds, backing=b""):
    """An image in one piece.

    kinds  kinds(first, count) gives for guest clusters from `first` on the kind of each: "d" data,
           "z" zero, "-" unallocated
    """
    cluster = 1 << cluster_bits
    per_table = cluster // 8
    nb_tables = -(-size // (cluster * per_table))
    nb_clusters = size // cluster
    up = lambda value: -(-value // cluster)  # noqa: E731
    most = nb_clusters + nb_tables + up(nb_tables * 8) + 1
    nb_blocks = up(most * 2 + most * 4 // cluster + 4096)
    nb_table = up(nb_blocks * 8)
    l1_at = cluster * (1 + nb_table + nb_blocks)
    at = l1_at + up(nb_tables * 8) * cluster
    l1 = []
    with open(path, "wb") as image:
        image.seek(at)
        for table in range(nb_tables):
            first = table * per_table
            count = min(per_table, nb_clusters - first)
            marks = kinds(first, count)
            if marks == "-" * count:
                l1.append(0)
                continue
            l1.append(at | COPIED)
            at = write_table(image, pool, at, cluster_bits, first, marks)
        used = at // cluster
        assert used <= nb_blocks * cluster // 2
        image.seek(0)
        image.write(header(cluster_bits, size, (l1_at, nb_tables), (cluster, nb_table), backing))
        image.seek(cluster)
        image.write(struct.pack(f">{nb_blocks}Q", *((1 + nb_table + n) * cluster
                                                    for n in range(nb_blocks))))
        image.seek(cluster * (1 + nb_table))
        image.write(b"\0\1" * used)
        image.seek(l1_at)
        image.write(struct.pack(f">{nb_tables}Q", *l1))
        image.truncate(at)


def write_table(image, pool, at, cluster_bits, first, marks):
    """One L2 table at `at` and the data after it; returns where the next one goes."""
    cluster = 1 << cluster_bits
    entries, offset = [], at + cluster
    for mark in marks:
        entries.append({"d": offset | COPIED, "z": ZERO, "-": 0}[mark])
        offset += cluster if mark == "d" else 0
    entries += [0] * (cluster // 8 - len(entries))
    image.seek(at)
    image.write(struct.pack(f">{len(entries)}Q", *entries))
    if "z" not in marks and "-" not in marks:
        write_span(image, pool, first * cluster, len(marks) * cluster)
        return offset
    for number, mark in enumerate(marks):
        if mark == "d":
            image.write(content(pool, (first + number) * cluster, cluster))
    return offset


def write_span(image, pool, offset, length):
    """Write guest bytes of any alignment at the file's position, piece by piece."""
    end = offset + length
    while offset < end:
        base = offset // BLOCK * BLOCK
        stop = min(end, base + max(MIB, BLOCK))
        piece = content(pool, base, -(-(stop - base) // BLOCK) * BLOCK)
        image.write(piece[offset - base:stop - base])
        offset = stop


def layer_of(number):
    """Which of three layers holds a cluster: runs of 1 to 16 clusters."""
    return number // 16 * 2654435761 % 4294967296 // 7 % 3 if number % 32 < 16 else number // 4 % 3


def everything(mark):
    """Every cluster of one kind."""
    return lambda first, count: mark * count


def one_layer(layer, run=0):
    """The clusters of one layer of three, in runs of `run` clusters; 0: as layer_of() has them."""
    def layer_at(number):
        return number // run % 3 if run else layer_of(number)
    return lambda first, count: "".join(
        "d" if layer_at(number) == layer else "-" for number in range(first, first + count))


def holes(first, count):
    """1 MiB of zero clusters, 1 MiB of nothing, in turn."""
    return "".join("z" if number & 16 else "-" for number in range(first, first + count))

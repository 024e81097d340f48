"""Files of a FAT volume whose clusters are scattered, as on a volume that was used for years.

mtools has no say in where a file goes, so the file is entered with one byte by mcopy, and then its
cluster chain, its size and its content are written here. Same input, same volume.
"""

import array
import os
import pathlib
import struct

from tools import fs


class Volume:
    """The FAT of a volume inside an image file. entries[n] is what the FAT says of cluster n."""

    def __init__(self, path, offset):
        self.path, self.offset = path, offset
        with open(path, "rb") as image:
            image.seek(offset)
            boot = image.read(512)
            sector, self.sectors_per_cluster, reserved, self.nb_fats = struct.unpack_from(
                "<HBHB", boot, 11)
            root_entries, small_total = struct.unpack_from("<HH", boot, 17)
            sectors_per_fat = (struct.unpack_from("<H", boot, 22)[0]
                               or struct.unpack_from("<I", boot, 36)[0])
            total = small_total or struct.unpack_from("<I", boot, 32)[0]
            self.cluster = sector * self.sectors_per_cluster
            self.fat_at = offset + reserved * sector
            self.fat_size = sectors_per_fat * sector
            self.root_at = self.fat_at + self.nb_fats * self.fat_size
            self.data_at = self.root_at + root_entries * 32
            self.nb_clusters = ((total * sector - (self.data_at - offset))
                                // self.cluster)
            self.is_fat32 = root_entries == 0
            self.info_at = (offset + struct.unpack_from("<H", boot, 48)[0] * sector
                            if self.is_fat32 else None)
            self.bits = 32 if self.is_fat32 else 12 if self.nb_clusters < 4085 else 16
            image.seek(self.fat_at)
            self.entries = self.unpack(image.read(self.fat_size))

    def unpack(self, data):
        """The FAT as numbers, one for each cluster and the two before the first."""
        count = self.nb_clusters + 2
        if self.bits != 12:
            numbers = array.array("I" if self.bits == 32 else "H", data)
            return [number & 0x0FFFFFFF for number in numbers[:count]]
        return [(int.from_bytes(data[n * 3 // 2:n * 3 // 2 + 2], "little") >> n % 2 * 4) & 0xFFF
                for n in range(count)]

    def pack(self):
        """entries as a FAT."""
        if self.bits != 12:
            data = array.array("I" if self.bits == 32 else "H", self.entries).tobytes()
        else:
            data = bytearray(self.fat_size)
            for n, number in enumerate(self.entries):
                at, shifted = n * 3 // 2, number << n % 2 * 4
                data[at] |= shifted & 0xFF
                data[at + 1] |= shifted >> 8
        return bytes(data) + bytes(self.fat_size - len(data))

    def cluster_at(self, cluster):
        """Where a cluster is stored in the image file."""
        return self.data_at + (cluster - 2) * self.cluster

    def chain(self, cluster):
        """The clusters of a chain."""
        while 2 <= cluster < self.nb_clusters + 2:
            yield cluster
            cluster = self.entries[cluster]

    def first_cluster(self, path):
        """Where a file or folder begins, by mshowfat; None: the file is empty."""
        shown = fs.run("mshowfat", "-i", f"{self.path}@@{self.offset}", f"::/{path.lstrip('/')}")
        pieces = shown.split("<")  # no name has this character
        return int(pieces[1].split(">")[0].split("-")[0]) if len(pieces) > 1 else None

    def folder_pieces(self, folder):
        """(place, length) of each cluster of a folder. The root of FAT12 and FAT16 has no clusters
        and is one piece."""
        if not folder and not self.is_fat32:
            return [(self.root_at, self.data_at - self.root_at)]
        first = self.first_cluster(folder)
        return [(self.cluster_at(cluster), self.cluster) for cluster in self.chain(first)]

    def find_entry(self, folder, first_cluster):
        """Where the directory entry of the file is stored that starts at a cluster."""
        with open(self.path, "rb") as image:
            for place, length in self.folder_pieces(folder):
                image.seek(place)
                data = image.read(length)
                for at in range(0, length, 32):
                    high, low = struct.unpack_from("<H4xH", data, at + 20)
                    attributes, is_free = data[at + 11], data[at] in (0, 0xE5)
                    if not is_free and attributes & 0x18 == 0 and \
                            low | (high << 16 if self.is_fat32 else 0) == first_cluster:
                        return place + at
        raise fs.ToolError(f"no entry for cluster {first_cluster} in /{folder}")

    def scatter(self, count, piece):
        """`count` free clusters in runs of `piece`. Each run is about 0.618 of all runs after the
        one before, so that runs which follow each other in the file are far apart on the
        volume."""
        free = [n for n in range(2, self.nb_clusters + 2) if self.entries[n] == 0]
        runs = [free[at:at + piece] for at in range(0, len(free) - piece + 1, piece)]
        needed = -(-count // piece)
        if needed > len(runs):
            raise fs.ToolError(f"{needed} pieces do not fit into {len(runs)}")
        step = next(n for n in range(len(runs) * 618 // 1000 + 2, 4 * len(runs) + 9)
                    if gcd(n, len(runs)) == 1)
        clusters = [cluster for number in range(needed)
                    for cluster in runs[number * step % len(runs)]]
        return clusters[:count]


def gcd(a, b):
    """Greatest common divisor."""
    while b:
        a, b = b, a % b
    return a


def copy_scattered(path, offset, source, target, piece):
    """Copy a host file to a path of the FAT volume, in scattered pieces of `piece` bytes."""
    target = target.replace("\\", "/").strip("/")
    source = pathlib.Path(source)
    size = source.stat().st_size
    fs.fat_copy(path, offset, b"x", target)
    volume = Volume(path, offset)
    first = volume.first_cluster(target)
    entry = volume.find_entry(os.path.dirname(target), first)
    volume.entries[first] = 0
    clusters = volume.scatter(-(-size // volume.cluster), max(1, piece // volume.cluster))
    for cluster, following in zip(clusters, clusters[1:]):
        volume.entries[cluster] = following
    volume.entries[clusters[-1]] = (1 << min(volume.bits, 28)) - 1
    with open(path, "r+b") as image, open(source, "rb") as content:
        write_runs(image, content, volume, clusters)
        for number in range(volume.nb_fats):
            image.seek(volume.fat_at + number * volume.fat_size)
            image.write(volume.pack())
        if volume.info_at is not None:
            image.seek(volume.info_at + 488)
            image.write(b"\xff" * 8)  # FSI_Free_Count, FSI_Nxt_Free: unknown
        image.seek(entry + 20)
        image.write(struct.pack("<H", clusters[0] >> 16 if volume.is_fat32 else 0))
        image.seek(entry + 26)
        image.write(struct.pack("<HI", clusters[0] & 0xFFFF, size))


def write_runs(image, content, volume, clusters):
    """Write the content; clusters that follow each other on the volume are written at once."""
    start = 0
    for at in range(1, len(clusters) + 1):
        if at == len(clusters) or clusters[at] != clusters[at - 1] + 1:
            image.seek(volume.cluster_at(clusters[start]))
            image.write(content.read((at - start) * volume.cluster))
            start = at

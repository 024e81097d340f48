"""What an image has to hold: a geometry, and the disk, snapshots and bitmaps as plain Python data.

Calls no program and touches no file. Invariant: the content, the snapshots and the bitmaps of a
`Model` are those of an image on which the same operations succeeded."""

import dataclasses

KIB = 1024
WIDTHS = (1, 2, 4, 8, 16, 32, 64)


@dataclasses.dataclass
class Geometry:
    """How an image is made."""

    name: str
    size: int = 1500 * KIB + 512
    cluster: int = 64 * KIB
    version: int = 3
    refcount_bits: int = 16
    extended: bool = False
    data_file: str = ""      # "", "plain" or "raw"
    backing: tuple = ()      # formats, from the file below the image downwards
    compression: str = "zlib"
    lazy: bool = False
    image_format: str = "qcow2"

    def options(self):
        """For `create -o`."""
        if self.image_format == "raw":
            return ""
        words = [f"compat={'1.1' if self.version == 3 else '0.10'}",
                 f"cluster_size={self.cluster}"]
        if self.version == 3:
            words += [f"refcount_bits={self.refcount_bits}",
                      f"compression_type={self.compression}"]
            words += ["extended_l2=on"] * self.extended + ["lazy_refcounts=on"] * self.lazy
        if self.data_file:
            words += [f"data_file={self.name}.data"]
            words += ["data_file_raw=on"] * (self.data_file == "raw")
        return ",".join(words)

    @property
    def compresses(self):
        return self.image_format == "qcow2" and not self.data_file

    @property
    def nb_snapshots(self):
        """At most. Streams that share a host cluster and a snapshot share its refcount too."""
        return 3 if self.compresses and self.refcount_bits >= 16 else 0

    @property
    def has_bitmaps(self):
        return self.version == 3 and self.image_format == "qcow2"

    @property
    def discards(self):
        """QEMU leaves a discarded cluster unallocated in version 2: what is below shows then."""
        return self.image_format == "qcow2" and (self.version == 3 or not self.backing)

    def text(self):
        return f"{self.image_format} {self.size} {self.options()} over {self.backing}"


def any_geometry(chooser, name):
    """A geometry at random."""
    version = 2 if chooser.random() < 0.12 else 3
    cluster = chooser.choice((512, 512, KIB, 2 * KIB, 4 * KIB, 4 * KIB, 8 * KIB, 16 * KIB,
                              32 * KIB, 64 * KIB, 64 * KIB, 256 * KIB, 2048 * KIB))
    clusters = chooser.randint(3, 400) if cluster < 16 * KIB else chooser.randint(2, 60)
    most = min(clusters * cluster, 9216 * KIB if cluster == 2048 * KIB else 3072 * KIB)
    found = Geometry(name, max(1, most // 512 - chooser.choice((0, 0, 1, 7))) * 512, cluster,
                     version, lazy=version == 3 and chooser.random() < 0.15)
    if chooser.random() < 0.4:
        found.backing = chooser.choice((("qcow2",), ("raw",), ("qcow2", "qcow2"),
                                        ("qcow2", "raw")))
    if version == 3:
        found.refcount_bits = chooser.choice((*WIDTHS, 16, 16, 16))
        found.extended = cluster >= 16 * KIB and chooser.random() < 0.35
        found.compression = chooser.choice(("zlib", "zstd"))
        if chooser.random() < 0.2:
            found.data_file = chooser.choice(("plain", "raw"))
            if found.data_file == "raw":
                found.backing = ()
    return found


@dataclasses.dataclass
class Bitmap:
    """A dirty bitmap: the numbers of its dirty granules."""

    granularity: int
    enabled: bool = True
    dirty: set = dataclasses.field(default_factory=set)

    def mark(self, offset, length):
        self.dirty.update(range(offset // self.granularity,
                                (offset + length - 1) // self.granularity + 1))


class Model:
    """The content of a disk, its snapshots and its bitmaps."""

    def __init__(self, geometry):
        self.geometry = geometry
        self.content = bytearray(geometry.size)
        self.snapshots = {}
        self.bitmaps = {}

    @property
    def size(self):
        return len(self.content)

    def mark(self, offset, length):
        for bitmap in self.bitmaps.values():
            if bitmap.enabled and length > 0:
                bitmap.mark(offset, length)

    def write(self, offset, length, byte):
        self.mark(offset, length)
        self.content[offset:offset + length] = bytes([byte]) * length

    def discard(self, offset, length):
        """Whole clusters are given back, the disk's last one counts as whole. Returns the [begin,
        end) that was."""
        cluster = self.geometry.cluster
        begin = -(-offset // cluster) * cluster
        end = offset + length
        end = end if end == self.size else end // cluster * cluster
        end = max(begin, end)
        self.content[begin:end] = bytes(end - begin)
        return begin, end

    def resize(self, size):
        self.content = bytearray(bytes(self.content[:size]).ljust(size, b"\0"))
        for bitmap in self.bitmaps.values():
            bitmap.dirty = {at for at in bitmap.dirty if at * bitmap.granularity < size}

    def merge(self, source, target):
        bitmap = self.bitmaps[source]
        for at in bitmap.dirty:
            begin = at * bitmap.granularity
            end = min(begin + bitmap.granularity, self.size)
            self.bitmaps[target].mark(begin, end - begin)

    def uniform(self, chooser):
        """A range whose bytes are all the same: (offset, length, byte)."""
        offset = chooser.randrange(self.size)
        most = min(chooser.choice((600, 2 * self.geometry.cluster)), self.size - offset)
        byte = self.content[offset]
        rest = self.content[offset:offset + most]
        return offset, len(rest) - len(rest.lstrip(bytes([byte]))), byte

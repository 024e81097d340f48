"""FAT volumes that are odd and yet readable: generated, seeded, each with an image of 80 MiB.

Every field of the boot sector and of the FAT is varied within what EDK2's FAT driver mounts and
reads. The volume is sparse: only what is not zero is written. The generator knows where it stored
each byte of the image, so a reader's map can be compared with `extents`, and `odd` is what
core/fs/fat_judge.h should say about it.

    volume = OddVolume(seed, template)
    volume.write(file, base)      # file: a binary file opened for reading and writing
"""

import dataclasses
import os
import random
import struct

MIB = 1 << 20
STAMP_STEP = 256 * 1024

# core/fs/fat_volume.h and fat_judge.h
ODD_JUMP, ODD_SIGNATURE, ODD_MEDIA, ODD_SECTORS = 0x1, 0x2, 0x4, 0x8
ODD_COVERAGE, ODD_ROOT_ENTRIES, ODD_INFO_SECTOR = 0x10, 0x20, 0x40
ODD_COPY, ODD_LONG, ODD_LOOP = 0x100, 0x200, 0x400

# What a volume is odd in, in turn: every seed has one of these for certain and others by chance.
THEMES = ("plain", "copy-empty", "copy-stale", "long", "coverage", "sectors", "media", "jump",
          "signature", "large-sectors", "large-clusters", "long-name", "one-fat", "many-fats",
          "root-entries", "loop", "upper-bits", "scattered", "fat12", "fat16", "small-clusters",
          "reserved", "info-sector", "folder", "backward")

MARK_BITS = {12: 0xff0, 16: 0xfff0, 32: 0x0ffffff0}


@dataclasses.dataclass
class Template:
    """The image that each volume holds: its size, and its pieces that are not zero."""

    size: int
    pieces: list  # (offset, bytes)
    data_start: int  # guest data begins here: any byte after it may be changed

    @classmethod
    def load(cls, path, data_start):
        """Read a sparse file."""
        pieces, at = [], 0
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            while at < size:
                try:
                    start = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError:
                    break
                at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                file.seek(start)
                data = file.read(at - start)
                for offset in range(0, len(data), 4096):
                    if data[offset:offset + 4096].strip(b"\0"):
                        pieces.append((start + offset, data[offset:offset + 4096]))
        return cls(size, pieces, data_start)


def short_checksum(name):
    total = 0
    for byte in name:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xff
    return total


def directory_entry(name, attributes, cluster, size):
    return struct.pack("<11sBBBHHHHHHHI", name, attributes, 0, 0, 0, 0, 0, cluster >> 16, 0, 0x5865,
                       cluster & 0xffff, size)


def long_entries(name, short):
    """The entries that go before a short one."""
    units = name.encode("utf-16-le")
    nb = (len(units) // 2 + 12) // 13
    padded = (units + b"\0\0").ljust(nb * 26, b"\xff")[:nb * 26]
    entries = []
    for part in range(nb, 0, -1):
        text = padded[(part - 1) * 26:part * 26]
        entries.append(struct.pack("<B10sBBB12sH4s", part | (0x40 if part == nb else 0), text[:10],
                                   0x0f, 0, short_checksum(short), text[10:22], 0, text[22:]))
    return b"".join(entries)


class OddVolume:  # pylint: disable=too-many-instance-attributes # it has as many fields as FAT
    """One volume; everything about it follows from the seed."""

    def __init__(self, seed, template):
        self.random = random.Random(f"odd FAT {seed}")
        self.seed = seed
        self.theme = THEMES[seed % len(THEMES)]
        self.template = template
        self.odd = 0
        self.choose_geometry()
        self.choose_counts()
        self.choose_names()
        self.store_file()
        self.store_folders()
        self.choose_fat()

    def pick(self, *values):
        return self.random.choice(values)

    def maybe(self, theme, chance=0.12):
        """Is this oddity wanted here: by the theme, or by chance?"""
        return self.theme == theme or self.random.random() < chance

    def choose_geometry(self):
        """FAT type, sector and cluster size: the image fits and the count gives the type."""
        self.bits = 12 if self.theme == "fat12" else 16 if self.theme == "fat16" else \
            self.pick(32, 32, 32, 16, 12)
        if self.theme in ("root-entries", "upper-bits", "info-sector"):
            self.bits = 32
        self.sector = self.pick(2048, 4096) if self.theme == "large-sectors" else \
            self.pick(512, 512, 512, 512, 1024, 2048, 4096)
        least = {12: 64, 16: 4, 32: 1}[self.bits]
        most = {12: 256, 16: 64, 32: 16}[self.bits]
        if self.theme == "large-clusters":
            self.sector, least, most = 4096, 512, 512
        if self.theme == "small-clusters" and self.bits == 32:
            self.sector, least, most = 512, 0.5, 0.5
        sizes = [self.sector * n for n in (1, 2, 4, 8, 16, 32, 64, 128)
                 if least * 1024 <= self.sector * n <= most * 1024]
        self.cluster = self.random.choice(sizes or [max(self.sector, int(least * 1024))])
        if self.theme == "backward":
            self.cluster = max(self.cluster, 4096)

    def choose_counts(self):
        """How many clusters there are, and what the boot sector says about them."""
        needed = -(-self.template.size // self.cluster)
        low = {12: needed + 40, 16: max(4085, needed + 40), 32: max(65525, needed + 400)}[self.bits]
        high = {12: 4084, 16: 65524, 32: low + 3000}[self.bits]
        self.nb_clusters = self.random.randint(low, max(low, min(high, low + 2000)))
        self.reserved = self.random.randint(1, 200) if self.maybe("reserved") else self.pick(1, 32)
        self.nb_fats = 1 if self.theme == "one-fat" else \
            self.random.randint(3, 5) if self.theme == "many-fats" else self.pick(2, 2, 2, 1, 3)
        if self.theme.startswith("copy"):
            self.nb_fats = 2
        entries = self.nb_clusters + 2
        full = -(-entries * self.bits // 8 // self.sector) + 1
        self.fat_sectors = full + (self.random.randint(1, 9) if self.random.random() < 0.3 else 0)
        self.covered = self.nb_clusters
        if self.maybe("coverage", 0.05):
            self.covered = needed + 30 + self.random.randint(0, 20)
            sectors = -(-(self.covered + 2) * self.bits // 8 // self.sector)
            if sectors * self.sector * 8 // self.bits < self.nb_clusters + 2:
                self.fat_sectors = sectors
                self.odd |= ODD_COVERAGE
        self.root_entries = 0 if self.bits == 32 else self.pick(16, 112, 224, 512, 100)
        self.named_root_entries = self.root_entries
        if self.bits == 32 and self.maybe("root-entries", 0.05):
            self.named_root_entries = self.pick(1, 16, 512)
            self.odd |= ODD_ROOT_ENTRIES
        root_sectors = -(-self.root_entries * 32 // self.sector)
        self.fat_offset = self.reserved * self.sector
        self.fat_size = self.fat_sectors * self.sector
        self.root_offset = self.fat_offset + self.nb_fats * self.fat_size
        self.data_offset = self.root_offset + root_sectors * self.sector
        spare = self.random.randint(0, self.cluster // self.sector - 1)
        self.total = (self.data_offset + self.nb_clusters * self.cluster) // self.sector + spare
        self.size = -(-self.total * self.sector // MIB) * MIB
        if self.maybe("sectors", 0.05):
            self.cut_partition()

    def cut_partition(self):
        """The partition ends before the volume does; the file stays away from the end, because the
        firmware's driver reads whole pages of 64 KiB there."""
        shorter = self.data_offset + self.nb_clusters * self.cluster - self.sector
        shorter = shorter // MIB * MIB
        real = (shorter - self.data_offset) // self.cluster
        needed = -(-self.template.size // self.cluster)
        if real < needed + 20 + 2 * 65536 // self.cluster:
            return
        self.size = shorter
        self.covered = min(self.covered, real - 2 * 65536 // self.cluster - 1)
        self.odd |= ODD_SECTORS
        entries = self.fat_size * 8 // self.bits
        if entries >= real + 2:
            self.odd &= ~ODD_COVERAGE

    def choose_names(self):
        """Where the image is, its long name and its short one."""
        self.folders = ["img"] if self.random.random() < 0.5 else []
        if self.theme == "folder":
            self.folders = ["img", "machines of many names", "A.B"]
        self.name = self.pick("debian.qcow2", "Disk One.qcow2", "D.QCO",
                              "\u00dcber-Gr\u00f6\u00dfe.qcow2")
        if self.theme == "long-name":
            self.name = "n" * 249 + ".qcow2"
            self.folders = ["folder"] if self.random.random() < 0.5 else []
        self.short = b"IMAGE~1 QCO"
        if self.name == "D.QCO":
            self.short = b"D       QCO"

    @property
    def path(self):
        return "/" + "/".join(self.folders + [self.name])

    @property
    def firmware_path(self):
        """A name by which EDK2's driver opens the file: its paths have 260 units at most."""
        path = self.path.replace("/", "\\")
        if len(path) > 250 and self.folders:
            path = "\\" + "\\".join(self.folders) + "\\IMAGE~1.QCO"
        return path

    def free_run(self, length):
        """Take a run of free clusters somewhere in reach."""
        for _ in range(2000):
            start = self.random.randint(2, self.covered + 1 - length + 1)
            run = range(start, start + length)
            if not self.taken.intersection(run):
                self.taken.update(run)
                return list(run)
        for start in range(2, self.covered + 2 - length):
            run = range(start, start + length)
            if not self.taken.intersection(run):
                self.taken.update(run)
                return list(run)
        raise RuntimeError(f"seed {self.seed}: no free run of {length} clusters")

    def store_file(self):
        """Give the image its clusters: in one run, in pieces, or backwards."""
        self.taken = set()
        self.fat = {}
        self.blocks = []  # (offset in the volume, bytes)
        needed = -(-self.template.size // self.cluster)
        nb_pieces = 1
        if self.maybe("scattered", 0.5):
            nb_pieces = self.random.randint(2, 60)
        if self.theme == "backward":
            nb_pieces = min(needed, 200)
        lengths = [needed // nb_pieces] * nb_pieces
        lengths[-1] += needed - sum(lengths)
        slack = self.covered - needed - 20
        self.clusters = []
        at, gaps = 2, max(0, slack // (nb_pieces + 1))
        runs = []
        for length in lengths:  # pieces in a row with gaps, then in another order
            at += self.random.randint(0 if nb_pieces == 1 else 1, gaps) if gaps > 1 else 0
            runs.append(list(range(at, at + length)))
            at += length
        if self.theme == "backward":
            runs.reverse()
        elif nb_pieces > 1:
            self.random.shuffle(runs)
        for run in runs:
            self.clusters += run
            self.taken.update(run)
        self.link(self.clusters)
        self.extents = self.make_extents()

    def make_extents(self):
        extents, left, at = [], self.template.size, 0
        for i, cluster in enumerate(self.clusters):
            place = self.place(cluster)
            length = min(left, self.cluster)
            if i and cluster == self.clusters[i - 1] + 1:
                extents[-1][2] += length
            else:
                extents.append([at, place, length])
            at += length
            left -= length
        return [tuple(extent) for extent in extents]

    def place(self, cluster):
        return self.data_offset + (cluster - 2) * self.cluster

    def end_mark(self):
        return MARK_BITS[self.bits] | self.random.randint(8, 15)

    def link(self, clusters):
        for a, b in zip(clusters, clusters[1:]):
            self.fat[a] = b
        self.fat[clusters[-1]] = self.end_mark()

    def folder_bytes(self, own, parent, entries):
        """A folder's content, with what real folders have in them."""
        content = b""
        if own is not None:
            content += directory_entry(b".          ", 0x10, own, 0)
            content += directory_entry(b"..         ", 0x10, parent, 0)
        else:
            content += directory_entry(b"ODD STICK  ", 0x08, 0, 0)
        for i in range(self.random.randint(0, 5)):
            content += directory_entry(b"\xe5ONE%d  TXT" % i + b" ", 0x20, 0, 7)
        if self.random.random() < 0.4:
            content += long_entries("an orphan of somebody", b"ORPHAN~1TXT")
        return content + entries

    def store_folders(self):
        """The root, and folders inside each other; the last one has the image."""
        entry = long_entries(self.name, self.short) if self.name != "D.QCO" else b""
        entry += directory_entry(self.short, self.pick(0x20, 0x00, 0x21), self.clusters[0],
                                 self.template.size)
        numbers = []
        for _ in self.folders:
            nb = self.random.randint(1, 2) if self.cluster < 8192 else 1
            numbers.append(self.free_run(nb))
            self.link(numbers[-1])
        for i in range(len(self.folders) - 1, -1, -1):
            parent = numbers[i - 1][0] if i else self.pick(0, 0, 2)
            content = self.folder_bytes(numbers[i][0], parent, entry)
            self.write_clusters(numbers[i], content)
            short = {"img": b"IMG        ", "folder": b"FOLDER     ", "A.B": b"A       B  "}.get(
                self.folders[i], b"MACHIN~1   ")
            entry = long_entries(self.folders[i], short) if "~" in short.decode() else b""
            entry += directory_entry(short, 0x10, numbers[i][0], 0)
        text = f"{self.seed} {self.theme}\n{self.path}\n{self.firmware_path}\n".encode()
        note = self.free_run(-(-len(text) // self.cluster))
        self.link(note)
        self.write_clusters(note, text)
        entry = directory_entry(b"ODD     TXT", 0x20, note[0], len(text)) + entry
        content = self.folder_bytes(None, None, entry)
        if self.bits != 32:
            self.blocks.append((self.root_offset, content[:self.root_entries * 32]))
            self.root_cluster = 0
            assert len(content) <= self.root_entries * 32 or self.root_entries < 100
            return
        root = self.free_run(-(-(len(content) + 32) // self.cluster))
        self.link(root)
        self.write_clusters(root, content)
        self.root_cluster = root[0]

    def write_clusters(self, clusters, content):
        for i, cluster in enumerate(clusters):
            piece = content[i * self.cluster:(i + 1) * self.cluster]
            if piece:
                self.blocks.append((self.place(cluster), piece))

    def choose_fat(self):
        """What the FAT says after the image, and what the copies of the FAT say."""
        last = self.clusters[-1]
        if self.maybe("loop", 0.03):
            middle = self.clusters[len(self.clusters) // 2]
            self.fat[last] = self.pick(last, self.clusters[0], middle)
            self.odd |= ODD_LOOP
        elif self.maybe("long", 0.15):
            extra = self.free_run(self.random.randint(1, 3))
            self.fat[last] = extra[0]
            self.link(extra)
            if self.random.random() < 0.3:
                self.fat[extra[-1]] = self.pick(0, 1, MARK_BITS[self.bits] | 7)
            self.odd |= ODD_LONG
        self.copy = dict(self.fat)
        if self.nb_fats > 1 and self.maybe("copy-empty", 0.1):
            self.copy = {}
            self.odd |= ODD_COPY
        elif self.nb_fats > 1 and self.maybe("copy-stale", 0.1):
            for cluster in self.random.sample(self.clusters, self.random.randint(1, 20)):
                self.copy[cluster] = self.pick(0, 5, MARK_BITS[self.bits] | 7)
            self.odd |= ODD_COPY
        self.upper = 0xf0000000 if self.maybe("upper-bits", 0.1) and self.bits == 32 else 0

    def boot_sector(self):
        """The boot sector; the fields that no driver needs are random."""
        rnd = self.random
        boot = bytearray(rnd.randbytes(512))
        jump = self.pick(b"\xeb\x3c\x90", b"\xeb\x58\x90", b"\xe9\x00\x01")
        if self.maybe("jump", 0.08):
            jump = self.pick(b"\0\0\0", b"\xfa\x33\xc0")
            self.odd |= ODD_JUMP
        media = self.pick(0xf8, 0xf0, 0xff, 0xfa)
        if self.maybe("media", 0.08):
            media = self.pick(0, 1)
            self.odd |= ODD_MEDIA
        signature = 0xaa55
        if self.maybe("signature", 0.08):
            signature = self.pick(0, 0x55aa, 0x1234)
            self.odd |= ODD_SIGNATURE
        small = self.total < 65536 and rnd.random() < 0.7
        struct.pack_into("<3s8sHBHBHHBH", boot, 0, jump, rnd.randbytes(8), self.sector,
                         self.cluster // self.sector, self.reserved, self.nb_fats,
                         self.named_root_entries, self.total if small else 0, media,
                         0 if self.bits == 32 else self.fat_sectors)
        struct.pack_into("<I", boot, 32, self.pick(0, self.total, 77) if small else self.total)
        if self.bits == 32:
            info = self.pick(0, 0, self.reserved - 1, 0xffff) if self.maybe("info-sector", 0.3) \
                else self.pick(0, self.reserved - 1)
            flags, backup = rnd.randint(0, 15), self.pick(0, 6, 0xffff)
            if info not in range(self.reserved) or info == backup != 0:
                self.odd |= ODD_INFO_SECTOR
            struct.pack_into("<IHHIHH", boot, 36, self.fat_sectors, flags, 0, self.root_cluster,
                             info, backup)
        struct.pack_into("<H", boot, 510, signature)
        return bytes(boot)

    def fat_bytes(self, entries):
        """One FAT, as far as it is not zero: {sector-aligned offset: bytes}."""
        media = MARK_BITS[self.bits] | 8
        values = {0: media, 1: MARK_BITS[self.bits] | 0xf, **entries} if entries else {}
        pieces = {}
        for cluster, value in values.items():
            if self.bits == 12:
                at = cluster * 3 // 2
                shift = 4 if cluster & 1 else 0
                for i, byte in enumerate(struct.pack("<H", value << shift)):
                    page = pieces.setdefault((at + i) // 512, bytearray(512))
                    page[(at + i) % 512] |= byte
            else:
                width = self.bits // 8
                at = cluster * width
                page = pieces.setdefault(at // 512, bytearray(512))
                upper = self.upper if cluster > 1 else 0
                page[at % 512:at % 512 + width] = (value | upper).to_bytes(width, "little")
        return {n * 512: bytes(page) for n, page in pieces.items() if n * 512 < self.fat_size}

    def write(self, file, base=0):
        """Write everything that is not zero; the file must read as zeros there before."""
        def put(offset, data):
            file.seek(base + offset)
            file.write(data)

        put(0, self.boot_sector())
        for number in range(self.nb_fats):
            entries = self.fat if number == 0 else self.copy
            for at, data in self.fat_bytes(entries).items():
                put(self.fat_offset + number * self.fat_size + at, data)
        for offset, data in self.blocks:
            put(offset, data)
        for offset, data in self.template.pieces:
            self.put_in_image(put, offset, data)
        for offset in self.stamp_offsets():
            self.put_in_image(put, offset, self.stamp(offset))

    def stamp_offsets(self):
        """Places in the guest's data that get a stamp: evenly, and where extents begin and end."""
        start, end = self.template.data_start, self.template.size
        offsets = set(range(start, end - 512, STAMP_STEP)) | {end - 512}
        for at, _, length in self.extents[:100]:
            offsets |= {at, at + length - 512}
        return sorted(o for o in offsets if start <= o <= end - 512)

    def stamp(self, offset):
        return struct.pack("<QQ", 0x4f444446 << 32 | self.seed, offset) * 4

    def put_in_image(self, put, offset, data):
        """Write bytes of the image where its clusters are."""
        while data:
            cluster = self.clusters[offset // self.cluster]
            within = offset % self.cluster
            length = min(len(data), self.cluster - within)
            put(self.place(cluster) + within, data[:length])
            offset += length
            data = data[length:]

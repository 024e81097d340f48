"""Images for the interop tests, made by qemu-img and qemu-io: a table of rows, a chain each.

A row says what is special about an image; its content comes out of a generator seeded with the
run's seed and the row's name, so that a row is the same whatever else is made. `build()` makes a
row's files in a folder of its own and returns the image with its snapshots.
"""

import dataclasses
import pathlib
import random
import shutil
import subprocess

KIB = 1024
MIB = 1024 * KIB
CLUSTER_SIZES = [1 << bits for bits in range(9, 22)]
REFCOUNT_BITS = [1, 2, 4, 8, 16, 32, 64]
# Small enough that the whole matrix takes minutes, large enough for several L2 tables where a
# table is small and for a dozen clusters where a cluster is large.
MIN_SIZE = 600 * KIB
MAX_SIZE = 24 * MIB
WRITES = 24


class ToolError(Exception):
    """qemu-img or qemu-io failed."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One image, with the chain below it."""

    name: str
    group: str
    compat: str = "1.1"
    cluster_size: int = 64 * KIB
    refcount_bits: int = 16
    compression: str = ""        # zlib, zstd: compressed clusters among the others
    extended: bool = False
    storage: str = "internal"    # or data_file, data_file_raw
    lazy: bool = False
    preallocation: str = "off"
    depth: int = 0               # backing files
    base: str = "qcow2"          # format of the lowest file of a chain
    base_storage: str = "internal"
    snapshots: int = 0
    size: str = "odd"            # no multiple of the cluster; or even


@dataclasses.dataclass
class Snapshot:
    name: str
    size: int


@dataclasses.dataclass
class Image:
    """What `build()` made; paths are relative to folder, where tools are run."""

    folder: pathlib.Path
    name: str = "top.qcow2"
    snapshots: list = dataclasses.field(default_factory=list)


def run(arguments, folder):
    """Run a tool in folder; return its output; ToolError if it fails."""
    done = subprocess.run([str(argument) for argument in arguments], cwd=folder,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        why = [line for line in text.splitlines() if "fail" in line or "img: " in line]
        raise ToolError(f"{arguments[0]}: {why}: {' '.join(map(str, arguments))}")
    return text


def short(size):
    """A size for a name: 512, 64k, 2m."""
    for unit, suffix in ((MIB, "m"), (KIB, "k")):
        if size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


# --- the table -----------------------------------------------------------------------------------

def geometry_rows():
    variants = [("v2", {"compat": "0.10"}), ("v3", {}), ("data", {"storage": "data_file"}),
                ("raw", {"storage": "data_file_raw"})]
    for cluster_size in CLUSTER_SIZES:
        for name, fields in variants:
            for size in ("odd", "even"):
                yield Row(f"geometry-{name}-{short(cluster_size)}-{size}", "geometry",
                          cluster_size=cluster_size, size=size, **fields)


def preallocation_rows():
    for cluster_size in (512, 4 * KIB, 64 * KIB, 2 * MIB):
        for preallocation in ("metadata", "falloc", "full"):
            for storage in ("internal", "data_file", "data_file_raw"):
                yield Row(f"prealloc-{preallocation}-{storage}-{short(cluster_size)}", "prealloc",
                          cluster_size=cluster_size, preallocation=preallocation, storage=storage)


def compression_rows():
    variants = [("v2-zlib", {"compat": "0.10", "compression": "zlib"}),
                ("v3-zlib", {"compression": "zlib"}), ("v3-zstd", {"compression": "zstd"})]
    for cluster_size in CLUSTER_SIZES:
        for name, fields in variants:
            for size in ("odd", "even"):
                yield Row(f"compressed-{name}-{short(cluster_size)}-{size}", "compressed",
                          cluster_size=cluster_size, size=size, **fields)


def extended_rows():
    variants = [("plain", {}), ("zlib", {"compression": "zlib"}), ("zstd", {"compression": "zstd"}),
                ("data", {"storage": "data_file"}), ("raw", {"storage": "data_file_raw"})]
    for cluster_size in CLUSTER_SIZES:
        if cluster_size < 16 * KIB:
            continue
        for name, fields in variants:
            for size in ("odd", "even"):
                yield Row(f"extended-{name}-{short(cluster_size)}-{size}", "extended",
                          cluster_size=cluster_size, extended=True, size=size, **fields)


def refcount_rows():
    for bits in REFCOUNT_BITS:
        for cluster_size in (512, 4 * KIB, 64 * KIB, 2 * MIB):
            yield Row(f"refcount-{bits}-{short(cluster_size)}", "refcount", refcount_bits=bits,
                      cluster_size=cluster_size, compression="zlib" if bits >= 8 else "",
                      lazy=bits in (4, 16))
        for cluster_size in (16 * KIB, 128 * KIB):
            yield Row(f"refcount-{bits}-extended-{short(cluster_size)}", "refcount",
                      refcount_bits=bits, cluster_size=cluster_size, extended=True,
                      snapshots=1 if bits > 1 else 0)


def chain_rows():
    variants = [("plain", {}), ("raw-base", {"base": "raw"}),
                ("compressed", {"compression": "zstd"}), ("extended", {"extended": True}),
                ("data-base", {"base_storage": "data_file"}),
                ("data-top", {"storage": "data_file", "base": "raw"})]
    for depth in range(1, 9):
        for name, fields in variants:
            for cluster_size in (512, 4 * KIB, 64 * KIB, 1 * MIB):
                if fields.get("extended") and cluster_size < 16 * KIB:
                    continue
                yield Row(f"chain-{depth}-{name}-{short(cluster_size)}", "chain", depth=depth,
                          cluster_size=cluster_size, **fields)


def snapshot_rows():
    variants = [("v2", {"compat": "0.10"}), ("v3", {}), ("zlib", {"compression": "zlib"}),
                ("zstd", {"compression": "zstd"}), ("extended", {"extended": True})]
    for nb_snapshots in (1, 2, 5):
        for name, fields in variants:
            for cluster_size in (512, 4 * KIB, 64 * KIB, 2 * MIB):
                if fields.get("extended") and cluster_size < 16 * KIB:
                    continue
                for depth in (0, 1):
                    yield Row(f"snapshots-{nb_snapshots}-{name}-{short(cluster_size)}-over-{depth}",
                              "snapshot", snapshots=nb_snapshots, cluster_size=cluster_size,
                              depth=depth, **fields)


def all_rows():
    return [*geometry_rows(), *preallocation_rows(), *compression_rows(), *extended_rows(),
            *refcount_rows(), *chain_rows(), *snapshot_rows()]


def select_rows(rows, count, seed):
    """`count` rows, as many from each group as its share, chosen by the seed."""
    chooser = random.Random(f"{seed} selection")
    groups = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    chosen = []
    for members in groups.values():
        share = max(2, round(count * len(members) / len(rows)))
        chosen += chooser.sample(members, min(share, len(members)))
    return chosen


# --- making one ----------------------------------------------------------------------------------

def disk_size(row, chooser):
    """Bytes, a multiple of 512 (qemu-img makes no other)."""
    size = min(max(row.cluster_size * chooser.randint(24, 60), MIN_SIZE), MAX_SIZE)
    size -= size % row.cluster_size
    if row.size == "odd" and row.cluster_size > 512:
        size -= 512 * chooser.randint(1, row.cluster_size // 512 - 1)
    return size


def create(row, folder, name, size, storage, backing=None):
    options = [f"compat={row.compat}", f"cluster_size={row.cluster_size}"]
    if row.compat != "0.10":
        options += [f"refcount_bits={row.refcount_bits}",
                    f"extended_l2={'on' if row.extended else 'off'}"]
        if row.lazy:
            options.append("lazy_refcounts=on")
        if row.compression == "zstd":
            options.append("compression_type=zstd")
    if storage != "internal":
        options.append(f"data_file={name}.data")
    if storage == "data_file_raw":
        options.append("data_file_raw=on")
    if row.preallocation != "off":
        options.append(f"preallocation={row.preallocation}")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(options)]
    if backing:
        command += ["-b", backing[0], "-F", backing[1]]
    run([*command, name, size], folder)


def random_range(size, cluster_size, chooser):
    """An unaligned range, from one byte to a few clusters."""
    length = chooser.choice([chooser.randint(1, 2000), chooser.randint(1, cluster_size),
                             chooser.randint(1, 3 * cluster_size)])
    offset = chooser.randrange(size)
    return offset, min(length, size - offset)


def cluster_range(size, cluster_size, chooser):
    """Whole clusters; the last one may be cut by the disk's end."""
    first = chooser.randrange((size + cluster_size - 1) // cluster_size)
    offset = first * cluster_size
    return offset, min(cluster_size * chooser.randint(1, 3), size - offset)


def write_data(offset, length, chooser):
    """A pattern that compresses, or bytes that do not."""
    if chooser.random() < 0.5:
        return f"write -P {chooser.randint(1, 255)} {offset} {length}"
    return f"write -s noise {offset} {length}"


class Writer:
    """Makes qemu-io's commands for one file, knowing which clusters it has written: QEMU does not
    write compressed data onto plain data."""

    def __init__(self, row, storage, chooser):
        self.row = row
        self.chooser = chooser
        self.kinds = "dddddzZuDcc" if row.compression and storage == "internal" else "dddddzZuD"
        self.written = set()

    def compressed(self, size):
        """A command, or "" if no free cluster was found."""
        for _ in range(8):
            offset, length = cluster_range(size, self.row.cluster_size, self.chooser)
            if offset // self.row.cluster_size not in self.written:
                length = min(length, self.row.cluster_size)
                self.touch(offset, length)  # what does not compress is stored plain
                return write_data(offset, length, self.chooser).replace("write", "write -c", 1)
        return ""

    def touch(self, offset, length):
        first, last = (at // self.row.cluster_size for at in (offset, offset + length - 1))
        self.written.update(range(first, last + 1))

    def command(self, size):
        kind = self.chooser.choice(self.kinds)
        if kind == "c":
            return self.compressed(size)
        choose = cluster_range if self.chooser.random() < 0.5 else random_range
        offset, length = choose(size, self.row.cluster_size, self.chooser)
        self.touch(offset, length)
        if kind == "d":
            return write_data(offset, length, self.chooser)
        verb = {"z": "write -z", "Z": "write -z", "u": "write -z -u", "D": "discard"}[kind]
        return f"{verb} {offset} {length}"

    def commands(self, size, count):
        return [command for command in (self.command(size) for _ in range(count)) if command]


def qemu_io(folder, name, image_format, commands):
    arguments = ["qemu-io", "-f", image_format, "-d", "unmap"]
    for command in commands:
        arguments += ["-c", command]
    text = run([*arguments, name], folder)
    if "failed" in text:
        raise ToolError(f"qemu-io {commands} {name}: {text}")


def write_noise(folder, chooser):
    (folder / "noise").write_bytes(chooser.randbytes(3 * 64 * KIB + 77))


def build_raw_base(row, folder, size, chooser):
    (folder / "base.raw").touch()
    run(["qemu-img", "create", "-q", "-f", "raw", "base.raw", size], folder)
    commands = [write_data(*random_range(size, row.cluster_size, chooser), chooser)
                for _ in range(WRITES // 2)]
    qemu_io(folder, "base.raw", "raw", commands)


def build_below(row, folder, size, chooser):
    """The backing files, from the lowest up; return the name and format of the last."""
    backing = None
    for level in range(row.depth):
        below_size = max(512, int(size * chooser.choice([0.5, 0.9, 1, 1, 1.2])) // 512 * 512)
        if level == 0 and row.base == "raw":
            build_raw_base(row, folder, below_size, chooser)
            backing = ("base.raw", "raw")
            continue
        name = f"layer{level}.qcow2"
        storage = row.base_storage if level == 0 else "internal"
        smallest = 16 * KIB if row.extended else 512
        layer = dataclasses.replace(
            row, preallocation="off",
            cluster_size=max(smallest, row.cluster_size >> chooser.choice([0, 0, 1, 2])))
        create(layer, folder, name, below_size, storage, backing)
        writer = Writer(layer, storage, chooser)
        qemu_io(folder, name, "qcow2", writer.commands(below_size, WRITES // 2))
        backing = (name, "qcow2")
    return backing


def build_once(row, folder, chooser):
    image = Image(folder)
    size = disk_size(row, chooser)
    write_noise(folder, chooser)
    backing = build_below(row, folder, size, chooser)
    create(row, folder, image.name, size, row.storage, backing)
    writer = Writer(row, row.storage, chooser)
    for number in range(row.snapshots):
        qemu_io(folder, image.name, "qcow2", writer.commands(size, WRITES // 3))
        snapshot = Snapshot(f"snap {number}", size)
        run(["qemu-img", "snapshot", "-c", snapshot.name, image.name], folder)
        image.snapshots.append(snapshot)
        if row.compat != "0.10" and chooser.random() < 0.5:
            more = 512 * chooser.randint(1, 400)
            writer.touch(size, more)  # QEMU puts zeros there if there is a backing file
            size += more
            run(["qemu-img", "resize", "-q", "-f", "qcow2", image.name, size], folder)
    qemu_io(folder, image.name, "qcow2", writer.commands(size, WRITES))
    return image


def is_marked_corrupt(file):
    header = file.read_bytes()[:80]
    return header[7] == 3 and header[79] & 2 != 0  # version; incompatible features, bit 1


def is_sound(folder):
    """Whether qemu-img finds no error in any of the files, and QEMU has marked none corrupt."""
    for file in folder.glob("*.qcow2"):
        # In the folder: qemu-img looks for data files from where it is run.
        done = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", file.name], check=False,
                              cwd=folder, capture_output=True)
        if done.returncode == 2 or is_marked_corrupt(file):
            return False
        if done.returncode not in (0, 3):
            raise ToolError(f"qemu-img check {file.name}: {done.stderr.decode(errors='replace')}")
    return True


def build(row, folder, seed):
    """Make the files of a row in folder, which must not exist.

    QEMU 7.2 itself breaks an image now and then: a compressed cluster that follows a discarded one
    can be put into a host cluster that is given away again, and cannot be read afterwards. Such an
    image is made again with other content.
    """
    for attempt in range(5):
        folder.mkdir(parents=True)
        try:
            image = build_once(row, folder, random.Random(f"{seed} {row.name} {attempt}"))
            if is_sound(folder):
                return image
        except ToolError:
            if is_sound(folder):  # then something else is wrong
                raise
        shutil.rmtree(folder)
    raise ToolError("QEMU made five broken images in a row")

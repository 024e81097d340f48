#!/usr/bin/python3
"""Turn the raw guest disk into one of the images that metalcow is to boot.

    make_image.py --variant data-file --raw build/guest/grub.raw --out build/images/data-file

Every variant is a folder with `debian.qcow2`, the image to attach, and the files it needs beside
it, under the names that the image holds. qemu-img writes all of them; a variant that qemu-img
cannot write (no data-file name, an unknown feature) is made by changing bytes of its header here.
Names in headers are relative to the image's folder, so a folder can be copied to a stick as it is.
"""

import argparse
import pathlib
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import fs  # noqa: E402

IMAGE = "debian.qcow2"
DATA = "debian.raw"

EXTENSION_END = 0
EXTENSION_DATA_FILE = 0x44415441
EXTENSION_FEATURES = 0x6803F857
FEATURE_NAME_SIZE = 48

# What opens the `luks` variant.
PASSPHRASE = b"seven black cows"

# The unknown feature of the `unknown-feature` variant, as its feature name table calls it.
UNKNOWN_BIT = 20
UNKNOWN_NAME = "holographic storage"


def convert(folder, raw, target, *options):
    """qemu-img convert inside the folder, so that the names it stores are relative."""
    fs.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, pathlib.Path(raw).resolve(),
           target, cwd=folder)


def make_data_file(folder, raw):
    """The data file named in the header; unallocated clusters are not stored in it."""
    convert(folder, raw, IMAGE, "-o", f"data_file={DATA},data_file_raw=off")


def make_moved(folder, raw):
    """The header names a data file that is not there; `elsewhere.raw` is what it was."""
    convert(folder, raw, IMAGE, "-o", "data_file=moved.raw,data_file_raw=off")
    (folder / "moved.raw").rename(folder / "elsewhere.raw")


def make_noname(folder, raw):
    """An external data file whose name the header does not hold."""
    make_data_file(folder, raw)
    for start, kind, _ in extensions(folder / IMAGE):
        if kind == EXTENSION_DATA_FILE:
            patch(folder / IMAGE, start, struct.pack(">I", 0x6D636F77))


def make_raw_data(folder, raw):
    """Raw external data: the data file alone is the disk, byte for byte."""
    convert(folder, raw, IMAGE, "-o", f"data_file={DATA},data_file_raw=on")


def make_plain(folder, raw):
    convert(folder, raw, IMAGE)


def make_version2(folder, raw):
    convert(folder, raw, IMAGE, "-o", "compat=0.10")


def make_zlib(folder, raw):
    convert(folder, raw, IMAGE, "-c", "-o", "compression_type=zlib")


def make_zstd(folder, raw):
    convert(folder, raw, IMAGE, "-c", "-o", "compression_type=zstd")


def make_extended_l2(folder, raw):
    convert(folder, raw, IMAGE, "-o", "extended_l2=on,cluster_size=64k")


def make_big_clusters(folder, raw):
    convert(folder, raw, IMAGE, "-o", "cluster_size=2M")


def make_small_clusters(folder, raw):
    convert(folder, raw, IMAGE, "-o", "cluster_size=4k")


def make_chain(folder, raw):
    """Three layers, each holding a third of what the guest needs; the lower ones are wrong
    elsewhere, so that a wrong walk through the layers cannot boot."""
    size = pathlib.Path(raw).stat().st_size
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        parts = []
        for third in (1, 2):
            part = pathlib.Path(scratch) / f"part{third}.raw"
            damaged_copy(raw, part, size * third // 3)
            parts.append(part)
        convert(folder, parts[0], "base.qcow2")
        convert(folder, parts[1], "middle.qcow2", "-B", "base.qcow2", "-F", "qcow2")
        convert(folder, raw, IMAGE, "-B", "middle.qcow2", "-F", "qcow2")


def make_snapshot(folder, raw):
    """An internal snapshot of the good disk below a damaged active state: only whoever opens the
    snapshot can boot."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        damaged = pathlib.Path(scratch) / "damaged.raw"
        damaged_copy(raw, damaged, pathlib.Path(raw).stat().st_size // 3)
        convert(folder, raw, IMAGE)
        fs.run("qemu-img", "snapshot", "-c", "good", IMAGE, cwd=folder)
        convert(folder, damaged, IMAGE, "-n")


def make_luks(folder, raw):
    """Encrypted; trying a passphrase takes QEMU's own firmware some seconds."""
    with tempfile.NamedTemporaryFile() as key:
        key.write(PASSPHRASE)
        key.flush()
        fs.calibrated(convert, folder, raw, IMAGE,
                      "--object", f"secret,id=key,file={key.name},format=raw",
                      "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=60")


def make_unknown_feature(folder, raw):
    """An incompatible feature that nobody knows, named in the image's feature name table."""
    make_data_file(folder, raw)
    image = folder / IMAGE
    for start, kind, length in extensions(image):
        if kind == EXTENSION_FEATURES:
            last = start + 8 + (length // FEATURE_NAME_SIZE - 1) * FEATURE_NAME_SIZE
            row = struct.pack(">BB46s", 0, UNKNOWN_BIT, UNKNOWN_NAME.encode())
            patch(image, last, row)
    with open(image, "rb") as file:
        file.seek(72)
        features = struct.unpack(">Q", file.read(8))[0]
    patch(image, 72, struct.pack(">Q", features | 1 << UNKNOWN_BIT))


def make_truncated_data(folder, raw):
    """The data file ends in the middle of the ESP's contents, where the loader is stored."""
    make_raw_data(folder, raw)
    with open(folder / DATA, "r+b") as file:
        file.truncate(2 * fs.MIB)


def make_wrong_data(folder, raw):
    """The data file's name belongs to the image itself: nothing that could be a data file."""
    make_data_file(folder, raw)
    shutil.copyfile(folder / IMAGE, folder / DATA)


VARIANTS = {
    "data-file": make_data_file,
    "moved": make_moved,
    "noname": make_noname,
    "raw-data": make_raw_data,
    "plain": make_plain,
    "version2": make_version2,
    "zlib": make_zlib,
    "zstd": make_zstd,
    "extended-l2": make_extended_l2,
    "big-clusters": make_big_clusters,
    "small-clusters": make_small_clusters,
    "chain": make_chain,
    "snapshot": make_snapshot,
    "luks": make_luks,
    "unknown-feature": make_unknown_feature,
    "truncated-data": make_truncated_data,
    "wrong-data": make_wrong_data,
}


def damaged_copy(raw, target, good):
    """A copy of which only the first `good` bytes are right and the rest is a pattern."""
    with open(raw, "rb") as source, open(target, "wb") as copy:
        copy.write(source.read(good))
        left = pathlib.Path(raw).stat().st_size - good
        while left > 0:
            piece = (b"damaged " * (fs.MIB // 8))[:left]
            copy.write(piece)
            left -= len(piece)


def extensions(image):
    """The header extensions as (offset of the extension, type, length of its data)."""
    with open(image, "rb") as file:
        head = file.read(65536)
    offset = struct.unpack_from(">I", head, 100)[0]
    while True:
        kind, length = struct.unpack_from(">II", head, offset)
        if kind == EXTENSION_END:
            return
        yield offset, kind, length
        offset += 8 + (length + 7) // 8 * 8


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def make_image(variant, raw, out):
    """Make the variant's folder anew; return its files, the image first."""
    out = pathlib.Path(out)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    VARIANTS[variant](partial, raw)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return sorted(out.iterdir(), key=lambda path: (path.name != IMAGE, path.name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", required=True, choices=sorted(VARIANTS))
    parser.add_argument("--raw", required=True, help="the guest's raw disk")
    parser.add_argument("--out", required=True, help="folder to make")
    args = parser.parse_args()
    try:
        for path in make_image(args.variant, args.raw, args.out):
            print(path)
    except fs.ToolError as error:
        sys.exit(f"make_image: {error}")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Make a stick: a disk image with one FAT volume and the files that it is to hold.

    make_stick.py --out stick.img --file build/x64/metalcow.efi=/EFI/BOOT/BOOTX64.EFI \\
        --file build/images/data-file=/img --text '/metalcow/entries/debian.conf=title Debian'

A --file whose source is a folder copies the files in it. By default the stick is GPT with a FAT32
volume of 4 KiB clusters; --scheme, --bits and --cluster choose others, --pieces scatters a file.
As a module: make_stick().
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import fs  # noqa: E402
from tools.stick import fragments  # noqa: E402

DISK_GUID = "4d435753-0000-4000-8000-000000000000"
VOLUME_GUID = "4d435753-0000-4000-8000-000000000001"
SCHEMES = ("gpt", "mbr", "mbr-logical", "superfloppy")

# FAT32 has 65525 clusters or more; this is a little more.
FAT32_CLUSTERS = 66000


def place(path, scheme, size, guids=(DISK_GUID, VOLUME_GUID)):
    """Write the partition table; return the volume's (offset, size). guids: of disk and volume."""
    if scheme == "superfloppy":
        return 0, size
    volume = {"start": fs.MIB, "size": size - 2 * fs.MIB, "type": fs.TYPE_ESP, "name": "metalcow",
              "guid": guids[1]}
    if scheme == "gpt":
        fs.make_gpt(path, guids[0], [volume])
    else:
        fs.make_mbr(path, volume["start"], volume["size"], logical=scheme == "mbr-logical")
    return volume["start"], volume["size"]


def source_size(source):
    return len(source) if isinstance(source, bytes) else pathlib.Path(source).stat().st_size


def good_size(files, bits, cluster):
    """Bytes of a stick that holds the files, in whole MiB; for FAT32 not less than FAT32 needs."""
    needed = sum(source_size(source) + cluster for source in files.values())
    least = FAT32_CLUSTERS * cluster if bits == 32 else 0
    return (max(needed + needed // 50, least) // fs.MIB + 16) * fs.MIB


def make_stick(out, files, scheme="gpt", bits=32, cluster=4096, size=None, pieces=None):
    """Write the stick. files: {path on the volume: host path or bytes}. pieces: {path on the
    volume: bytes}, files that are stored in pieces of this size. Returns `out` as a Path."""
    out = pathlib.Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    size = size or good_size(files, bits, cluster)
    fs.make_sparse(partial, size)
    offset, length = place(partial, scheme, size)
    fs.make_fat(partial, offset, length, bits=bits, cluster=cluster)
    for target, source in files.items():
        if target in (pieces or {}):
            fragments.copy_scattered(partial, offset, source, target, pieces[target])
        else:
            fs.fat_copy(partial, offset, source, target)
    partial.rename(out)
    return out


def parse_files(pairs, texts):
    """The command line's files: SOURCE=TARGET and TARGET=TEXT."""
    files = {}
    for pair in pairs:
        source, target = pair.rsplit("=", 1)
        if pathlib.Path(source).is_dir():
            for path in sorted(pathlib.Path(source).iterdir()):
                files[f"{target}/{path.name}"] = path
        else:
            files[target] = pathlib.Path(source)
    for text in texts:
        target, content = text.split("=", 1)
        files[target] = content.replace("\\n", "\n").encode()
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--file", action="append", default=[], metavar="SOURCE=TARGET")
    parser.add_argument("--text", action="append", default=[], metavar="TARGET=TEXT",
                        help=r"a file with this text; \n in it is a new line")
    parser.add_argument("--pieces", action="append", default=[], metavar="TARGET=BYTES",
                        help="a file that is stored in scattered pieces of this size")
    parser.add_argument("--scheme", choices=SCHEMES, default="gpt")
    parser.add_argument("--bits", type=int, choices=(12, 16, 32), default=32)
    parser.add_argument("--cluster", type=int, default=4096, help="bytes")
    parser.add_argument("--size-mib", type=int, default=None)
    args = parser.parse_args()
    try:
        make_stick(args.out, parse_files(args.file, args.text), args.scheme, args.bits,
                   args.cluster, args.size_mib and args.size_mib * fs.MIB,
                   {target: int(number) for target, number in
                    (text.split("=", 1) for text in args.pieces)})
    except fs.ToolError as error:
        sys.exit(f"make_stick: {error}")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Take README's picture: the screen of a machine whose firmware shell attaches an image.

    picture.py --stick build/stick/run.img --out tools/qemu/boot.png

The stick must not start by itself: `make picture` makes one with the application as \\metalcow.efi.
"""

import argparse
import pathlib
import struct
import sys
import tempfile
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools.qemu.machine import Drive, Machine, MachineError  # noqa: E402

APPLICATION = "metalcow.efi"
COMMANDS = (
    "fs0:",
    "cls",
    rf"{APPLICATION} attach \img\debian.qcow2",
    f"{APPLICATION} list",
    "map -r",
    r"ls fs1:\EFI",
)


def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data)))


def png_of_ppm(ppm):
    """A binary PPM (P6, 8 bits) as PNG."""
    fields = ppm.split(None, 4)[:4]
    width, height = int(fields[1]), int(fields[2])
    pixels = ppm[len(ppm) - width * height * 3 :]
    rows = b"".join(b"\0" + pixels[y * width * 3 : (y + 1) * width * 3] for y in range(height))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stick", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    try:
        with Machine([Drive(args.stick)], extra=["-device", "VGA"]) as machine:
            machine.enter_shell()
            for command in COMMANDS:
                machine.shell(command)
            time.sleep(0.5)
            with tempfile.NamedTemporaryFile(suffix=".ppm") as screen:
                machine.qmp("screendump", filename=screen.name)
                png = png_of_ppm(pathlib.Path(screen.name).read_bytes())
    except MachineError as error:
        sys.exit(f"picture: {error}")
    pathlib.Path(args.out).write_bytes(png)


if __name__ == "__main__":
    main()

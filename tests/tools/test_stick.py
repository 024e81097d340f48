#!/usr/bin/python3
"""Sticks with scattered files: the volume is sound, the file is whole, and it is in pieces."""

import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tools import fs  # noqa: E402
from tools.stick import make_stick  # noqa: E402

# bits, cluster, size of the stick in MiB
VOLUMES = {"fat12": (12, 1024, 3), "fat16": (16, 512, 8), "fat32": (32, 512, 40)}


def check_scattered(folder, bits, cluster, size, piece, target):
    """One file of 300000 bytes in pieces; another one beside it."""
    content = folder / "content"
    content.write_bytes(bytes(number * 7 % 251 for number in range(300000)))
    stick = make_stick.make_stick(folder / "stick.img", {"/beside": b"beside", target: content},
                                  scheme="superfloppy", bits=bits, cluster=cluster,
                                  size=size * fs.MIB, pieces={target: piece})
    fs.run("fsck.fat", "-n", stick)
    fs.run("mcopy", "-n", "-i", stick, f"::{target}", folder / "back")
    cases.check((folder / "back").read_bytes() == content.read_bytes(), "the content differs")
    shown = fs.run("mshowfat", "-i", stick, f"::{target}")
    runs = re.findall(r"<(\d+)(?:-(\d+))?>", shown)
    cases.check_equal(len(runs), -(-300000 // max(piece, cluster)), "pieces")
    (folder / "back").unlink()


def test_stick_scatters_files_on_every_width():
    for bits, cluster, size in VOLUMES.values():
        for piece in (1, 16 * cluster):
            for target in ("/scattered", "/a folder/below/scattered.qcow2"):
                with tempfile.TemporaryDirectory() as folder:
                    check_scattered(pathlib.Path(folder), bits, cluster, size, piece, target)


def test_stick_refuses_pieces_that_do_not_fit():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            check_scattered(folder, 12, 1024, 1, 1024 * 1024, "/scattered")
        except fs.ToolError as error:
            cases.check("do not fit" in str(error), f"refused with: {error}")
        else:
            raise cases.Failure("a piece larger than the volume was placed")


if __name__ == "__main__":
    cases.main(globals())

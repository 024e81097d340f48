#!/usr/bin/python3
"""How fast a handed-over disk is in the guest.

    bench.py [--buffered] [LANE]...       all lanes if none is named

Boots a guest for each lane. In it tests/guests/lane_bench.c measures the disk beside the kernel's
loop device over a raw file of the same stick, in turns. In the fast lane that raw file is the
image's own data file. The loop device has direct I/O, as our lanes have; with --buffered it is one
as `losetup` makes it without options. "fresh" is the mixed lane where the image had no clusters
when the guest started. "socket_read" and "socket_read_4k" are no lane: they show what a server that
has no image and no nbd reaches. Only the ratios mean something, and those only on a machine that
nobody else uses: the server's lane needs two processors at once.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.guests import rows, run_guests  # noqa: E402
from tests.guests.rows import BUILD, WORK  # noqa: E402
from tools import fs  # noqa: E402

AREA = 128 * fs.MIB
MAGIC = b"metalcow-baseline"
SOURCE = pathlib.Path(__file__).with_name("lane_bench.c")


@dataclasses.dataclass
class Lane:
    image: str
    device: str
    handoff: str = "auto"
    filled: bool = True  # the area that is measured is allocated in the image
    pieces: int = 0  # bytes; 0: the image is stored in one piece
    beside: str = "file"  # the loop device is one on a file, or on the same bytes


LANES = {
    "server": Lane("qcow2", "/dev/nbd0", handoff="server"),
    "mixed": Lane("qcow2", "/dev/loop0"),
    "fresh": Lane("qcow2", "/dev/loop0", filled=False),
    "pieces": Lane("qcow2", "/dev/loop0", pieces=4 * fs.MIB),  # as many as a table may have
    "fast": Lane("raw-data-file", "/dev/loop0", beside="same"),
}
KINDS = ["sequential_read", "sequential_write", "random_read_4k", "random_write_4k",
         "flushed_write_4k", "socket_read", "socket_read_4k"]

MORE = """#!/bin/sh
/usr/local/sbin/lane_bench {device} /dev/vda {beside} {loop} 2>&1 | while read -r line; do
    until printf '\\r\\nMETALCOW-TEST %s\\r\\n' "$line" >/dev/ttyS0; do sleep 0.2; done 2>/dev/null
done
"""


def make_program():
    program = WORK / "lane_bench"
    program.parent.mkdir(parents=True, exist_ok=True)
    fs.run("musl-gcc", "-static", "-O2", "-idirafter", "/usr/include", "-idirafter",
           f"/usr/include/{os.uname().machine}-linux-gnu", "-o", program, SOURCE)
    return program


def prepared(raw, record, folder, lane):
    """A copy of a guest's disk with the program, and with room for its area at the end."""
    copy = rows.with_file(raw, record, folder, "/usr/local/sbin/lane_bench",
                          make_program().read_bytes(), 0o755)
    with open(copy, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if lane.filled:
            for _ in range((AREA + 16 * fs.MIB) // fs.MIB):
                file.write(b"a" * fs.MIB)
        file.truncate(end + AREA + 16 * fs.MIB)
    return copy


def measure_lane(name, loop):
    lane = LANES[name]
    row = dataclasses.replace(rows.find(lane.image), name=f"bench-{name}",
                              entry={"handoff": lane.handoff}, pieces=lane.pieces,
                              more=MORE.format(device=lane.device, beside=lane.beside,
                                               loop=loop))
    folder, stick = WORK / row.name / "img", WORK / row.name / "stick.img"
    folder.mkdir(parents=True, exist_ok=True)
    raw, record = rows.guest(row)
    keys = rows.make_image(row, prepared(raw, record, folder.parent, lane), record, folder)
    baseline = MAGIC.ljust(fs.MIB, b"b") + bytes(AREA - fs.MIB)
    rows.make_row_stick(row, folder, stick, keys, first={"/baseline.bin": baseline})
    result = run_guests.boot(row, stick)
    print(f"# {name}: {result['log'][-1]}")
    for kind in KINDS:
        ours, loop, ratio = result[kind].split()
        print(f"{name:7} {kind:17} {int(ours):8} KiB/s, loop {int(loop):8} KiB/s, {ratio}x",
              flush=True)
    shutil.rmtree(folder.parent)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lanes", nargs="*", choices=[[], *LANES], metavar="LANE",
                        help=f"of {', '.join(LANES)}; all if none is named")
    parser.add_argument("--buffered", action="store_true", help="the loop device has no direct I/O")
    arguments = parser.parse_args()
    for lane in arguments.lanes or LANES:
        measure_lane(lane, "buffered" if arguments.buffered else "")


if __name__ == "__main__":
    main()

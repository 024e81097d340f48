#!/usr/bin/python3
"""How long it takes from power-on to a login, beside the same guest on an ordinary disk.

    bench_login.py [--rounds N]

Boots the same Debian in turns: from a raw virtio disk without any of our programs, from a stick
with an external raw data file (the fast lane), and from one with a qcow2 image (the mixed lane).
Prints the seconds by the watch and the processor's seconds of QEMU, which other programs change
less; then the medians, and their ratios to the raw disk. Nothing is written to the disks.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.guests import rows, run_guests  # noqa: E402
from tests.guests.rows import WORK  # noqa: E402
from tools import fs  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402

STICKS = {"fast": "raw-data-file", "mixed": "qcow2"}
DEFAULT_ROOM = 64  # MiB, what an entry has that says nothing


def processor_seconds(pid):
    """What a process has used so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_disks(folder):
    """{name: disk}; the first is what the others are compared with."""
    disks = {}
    for name, row_name in STICKS.items():
        row = dataclasses.replace(rows.find(row_name), room_mib=DEFAULT_ROOM)
        raw, record = rows.guest(row)
        keys = rows.make_image(row, raw, record, folder / name / "img")
        disks[name] = folder / name / "stick.img"
        rows.make_row_stick(row, folder / name / "img", disks[name], keys)
    disk = folder / "disk.raw"
    fs.run("cp", "--sparse=always", raw, disk)
    return {"disk": disk, **disks}


def measure(name, disk):
    """Seconds to the login by the watch, and of the processor."""
    with Machine([Drive(disk)], memory=1024, cpus=2, log=WORK / f"log/login-{name}.log",
                 timeout=run_guests.BOOT_SECONDS) as machine:
        machine.expect(r"login: |METALCOW-TEST boot", absent=run_guests.GAVE_UP)
        return machine.seconds, processor_seconds(machine.process.pid)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    folder = WORK / "bench-login"
    disks = make_disks(folder)
    times = {name: [] for name in disks}
    for number in range(args.rounds):
        for name, disk in disks.items():
            times[name].append(measure(name, disk))
            print("round {} {:5} {:6.1f} s, processor {:6.1f} s".format(
                number + 1, name, *times[name][-1]), flush=True)
    base = [statistics.median(column) for column in zip(*times["disk"])]
    for name, pairs in times.items():
        watch, processor = (statistics.median(column) for column in zip(*pairs))
        print(f"median  {name:5} {watch:6.1f} s ({watch / base[0]:.2f}x), "
              f"processor {processor:6.1f} s ({processor / base[1]:.2f}x)")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()

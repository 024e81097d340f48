"""Power cuts: QEMU is killed at random moments while a guest on a stick writes.

The machine's disk is a qcow2 file of QEMU over the stick. QEMU keeps the tables of such a file in
memory until the guest flushes, so a kill loses what was written to new places since the last flush,
as a disk with a cache of its own does. What is left is put into the stick, and then

  fsck.fat finds nothing, and no byte outside the image's files has changed
  qemu-img check finds no error (clusters that leaked are none)
  e2fsck replays the journal and finds nothing that it has to ask about

The next boot from the same stick shows that the guest comes up again; the last one ends by itself
and is judged like any other.
"""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import check  # noqa: E402
from tests.guests import judge  # noqa: E402
from tests.guests.rows import WORK  # noqa: E402
from tools import fs  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402

BOOT_SECONDS = 600
LONGEST = 25  # seconds of load before a cut
LEAKS_ONLY = 3


def cut_once(row, stick, number, moment):
    """Boot, let it write for a while, kill; what was flushed is in the stick. Returns the seconds
    to the login prompt."""
    layer = stick.with_suffix(".layer")
    layer.unlink(missing_ok=True)
    fs.run("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", stick, "-o", "lazy_refcounts=on",
           layer)
    log = WORK / f"log/{row.name}-cut-{number}.log"
    with Machine([Drive(layer, bus=row.bus, format="qcow2", snapshot=False)], memory=row.memory,
                 cpus=2, log=log, timeout=BOOT_SECONDS) as machine:
        machine.expect(r"METALCOW-TEST load", absent=r"Kernel panic|Gave up waiting|metalcow: ref")
        up = machine.seconds
        end = machine.clock.seconds() + moment
        while machine.clock.seconds() < end and machine.pump(0.05):
            pass
        check(machine.running(), "the machine stopped by itself")
    fs.run("qemu-img", "check", "-r", "all", layer, good=(0, LEAKS_ONLY))
    fs.run("qemu-img", "commit", layer)
    layer.unlink()
    return up


def judge_cut(row, record, stick, files, copy):
    """Everything that must hold right after a cut."""
    allowed = judge.metadata_ranges(stick) + judge.file_ranges(stick, files)
    judge.check_outside(copy, stick, allowed)
    judge.check_fat(stick)
    top = judge.extract(stick, files, WORK / row.name / "cut")
    judge.qemu_img("check", top, good=(0, LEAKS_ONLY))
    part = judge.root_partition(top, record)
    judge.e2fsck("-p", part, good=(0, 1))
    judge.e2fsck("-fn", part)
    part.unlink()


def run_cuts(row, record, stick, files, args):
    """args.cuts cuts; returns what a boot's result has, of the last."""
    dice = random.Random(args.seed)
    print(f"# {row.name}: {args.cuts} cuts, seed {args.seed}", flush=True)
    up = 0.0
    for number in range(1, args.cuts + 1):
        copy = judge.keep_copy(stick)
        moment = dice.uniform(0, LONGEST)
        up = cut_once(row, stick, number, moment)
        judge_cut(row, record, stick, files, copy)
        print(f"# {row.name}: cut {number}, {moment:.1f} s into the load: consistent", flush=True)
    return {"login": up, "end": up, "log": []}

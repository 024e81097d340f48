"""Power cuts: a machine stops at random moments while its guest writes, and what was not flushed is
lost, in part and in any order.

Booting takes minutes, so a guest is booted once. While it writes, the machine's state is saved
several times, each with a copy of the stick. Then the machine goes on from one of these states for
a random time and is killed, while QEMU notes each write and each flush (tests/guests/write_log.py).
At some moments of that time, chosen at random, the power is cut: some of the writes that were not
flushed until then are lost, and what is left must be in order:

  nothing was written outside the image's files, so all else is as it was, and fsck.fat had found
  nothing
  qemu-img check finds no error (clusters that leaked are none)
  e2fsck replays the journal and finds nothing that a cut does not explain
  each record that the guest had flushed is there

One run is judged with writes lost that were flushed, which must be found out. After every 20th cut
the stick is booted again, to a login.
"""

import dataclasses
import pathlib
import random
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import Failure, check  # noqa: E402
from tests.guests import judge, rows, write_log  # noqa: E402
from tests.guests.rows import WORK  # noqa: E402
from tools import fs  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402

ROWS = ("qcow2", "grub", "qcow2-server")  # mixed, mixed with a data file, the server alone
BOOT_SECONDS = 600
SAVE_AFTER = ((1, 4), (2, 6), (3, 8))  # seconds of load before each, from which to which
LONGEST = 5.0  # seconds of load that the machine goes on
CUTS_EACH = 4  # in this time
BOOT_EACH = 20  # so many cuts
LEAKS_ONLY = 3
RECORD_SIZE = 16384
ROOM_MIB = 512
BAD = r"Kernel panic|I/O error|EXT4-fs error|metalcow: ref"

# Files that are written and removed, and records, each flushed before it is told of.
LOAD = rf"""#!/bin/sh
folder=/var/lib/metalcow
line() {{
    until printf '\r\nMETALCOW-TEST %s\r\n' "$*" >/dev/ttyS0; do sleep 0.2; done 2>/dev/null
}}
dmesg --console-level err
rm -f $folder/records
line "load"
n=0
while :; do
    n=$((n + 1))
    head -c $((n % 7 * 500000 + 4096)) /dev/urandom >$folder/load.$((n % 11))
    yes "record $n" | head -c {RECORD_SIZE} >>$folder/records
    sync $folder/records
    line "kept $n"
    [ $((n % 4)) != 0 ] || sync
    [ $((n % 5)) != 0 ] || rm -f $folder/load.*
    [ $((n % 23)) != 0 ] || fstrim / 2>/dev/null
done
"""

# What e2fsck says of a file system whose machine lost its power, and of one that is in order.
EXPECTED = re.compile(r"recovering journal|Clearing orphaned inode|Setting free (inodes|blocks) "
                      r"count|: clean, |: \d+/\d+ files |^\s*$|(Free|free) (inodes|blocks) count "
                      r"wrong|Truncating orphaned inode|Inode \d+, i_blocks is|FIXED")


@dataclasses.dataclass
class State:
    """A machine that was stopped while its guest wrote. The image's files are in a folder too, and
    places has where the stick has them (write_log.translate())."""

    memory: pathlib.Path
    stick: pathlib.Path
    folder: pathlib.Path
    places: list
    text: str  # what the guest had said


@dataclasses.dataclass
class Run:
    """What a machine did that went on from a state."""

    state: State
    moment: float
    writes: list
    end: int    # the length of the log
    text: str
    heard: list  # (length of the log, length of the text), each time when there was more text


def loaded(row):
    """The row with a guest that writes without end."""
    return dataclasses.replace(row, more=LOAD, told="", room_mib=ROOM_MIB)


def image_files(row):
    """The image's files, as paths of the stick."""
    return list(rows.stick_files(WORK / row.name / "img"))


def make_machine(row, drive, log, saved=None):
    return Machine([drive], memory=row.memory, cpus=2, log=WORK / "log" / log,
                   timeout=BOOT_SECONDS, saved=saved)


def run_for(machine, seconds, on_text=lambda: None):
    end = machine.clock.seconds() + seconds
    while machine.clock.seconds() < end:
        length = len(machine.text)
        check(machine.pump(0.05), "the machine stopped by itself")
        if len(machine.text) > length:
            on_text()


def save_state(machine, row, stick, number):
    """The machine as it is now. It is stopped, and everything is in the stick."""
    folder, files = WORK / row.name, image_files(row)
    state = State(folder / f"state-{number}", stick.with_suffix(f".{number}"),
                  folder / f"files-{number}", [], machine.text)
    machine.save(state.memory)
    fs.run("cp", "--sparse=always", stick, state.stick)
    judge.check_fat(state.stick)
    judge.extract(state.stick, files, state.folder)
    for path in files:
        offset = 0
        for first, last in judge.file_ranges(state.stick, [path]):
            state.places.append((first, last, state.folder / pathlib.Path(path).name, offset))
            offset += last - first
    return state


def save_states(row, stick, dice):
    """Boot, and save the machine at some moments of its load."""
    states, copy = [], judge.keep_copy(stick)
    with make_machine(row, Drive(stick, snapshot=False), f"{row.name}-cuts.log") as machine:
        machine.expect(r"METALCOW-TEST load", absent=r"Kernel panic|Gave up waiting|metalcow: ref")
        root = re.search(r"METALCOW-TEST boot \d+ root (\S+) ", machine.text).group(1)
        check(root == rows.expected_root(row), f"root is on {root}")
        for number, (least, most) in enumerate(SAVE_AFTER):
            run_for(machine, dice.uniform(least, most))
            check(not re.search(BAD, machine.text), "the guest saw an error")
            states.append(save_state(machine, row, stick, number))
            machine.qmp("cont")
        print(f"# {row.name}: {len(states)} states saved after {machine.seconds:.0f} s",
              flush=True)
    allowed = judge.metadata_ranges(stick) + judge.file_ranges(stick, image_files(row))
    judge.check_outside(copy, stick, allowed)
    copy.unlink()
    return states


def go_on(row, state, moment):
    """Go on from a state for some seconds, and kill the machine."""
    layer, log = state.stick.with_suffix(".layer"), state.stick.with_suffix(".writes")
    layer.unlink(missing_ok=True)
    fs.run("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", state.stick.resolve(), layer)
    log.write_bytes(b"")
    heard = []
    drive = Drive(layer, format="qcow2", log=log)
    with make_machine(row, drive, f"{row.name}-cut.log", state.memory) as machine:
        machine.resume()
        run_for(machine, moment,
                lambda: heard.append((log.stat().st_size, len(machine.text))))
        text, end = machine.text, log.stat().st_size
        machine.qmp("stop")  # so that no entry of the log is half written
    writes = write_log.read(log, end)
    outside = write_log.first_outside(writes, judge.file_ranges(state.stick, image_files(row)))
    check(outside is None, f"byte {outside} outside the image's files was written")
    check(not re.search(BAD, text), f"the guest saw an error: {text[-1000:]}")
    layer.unlink()
    log.unlink()
    return Run(state, moment, writes, end, text, heard)


def cut(run, dice):
    """One cut: the writes that are left, what the guest is known to have said, and a few words."""
    number = dice.randint(0, len(run.writes))
    end = run.writes[number].at if number < len(run.writes) else run.end
    length = max((length for size, length in run.heard if size <= end), default=0)
    odds, torn = dice.choice(write_log.ODDS), dice.random() < 0.5
    writes = run.writes[:number]
    kept = write_log.survivors(writes, dice, odds, torn)
    size, left = (sum(len(write.data) for write in some) >> 10 for some in (writes, kept))
    words = (f"{run.moment:.1f} s, {sum(write.flush for write in writes)} flushes, {size} KiB; "
             f"{size - left} KiB lost ({odds}{', torn' if torn else ''})")
    return kept, run.state.text + run.text[:length], words


def patched(writes, places):
    """Do writes to the image's files; returns what undoes them: [(path, writes)]."""
    parts = {}
    for write in writes:
        for path, part in write_log.translate(write, places):
            parts.setdefault(path, []).append(part)
    return [(path, write_log.apply(part, path)) for path, part in parts.items()]


def judge_records(text, part, folder):
    """What the guest says it has flushed is in the file system. Returns how many records."""
    kept = max((int(word) for word in re.findall(r"^METALCOW-TEST kept (\d+)\n", text, re.M)),
               default=0)
    if kept:
        out = folder / "records"
        fs.run("debugfs", "-R", f"dump /var/lib/metalcow/records {out}", part)
        content = out.read_bytes()
        for number in range(1, kept + 1):
            line = f"record {number}\n".encode()
            want = (line * (RECORD_SIZE // len(line) + 1))[:RECORD_SIZE]
            check(content[(number - 1) * RECORD_SIZE : number * RECORD_SIZE] == want,
                  f"record {number} of {kept}, which the guest has flushed, is not there")
    return kept


def judge_cut(record, folder, text):
    """Everything that must hold right after a cut; returns how many records there must be."""
    top = folder / "debian.qcow2"
    judge.qemu_img("check", top, good=(0, LEAKS_ONLY))
    part = judge.root_partition(top, record)
    said = judge.e2fsck("-p", part, good=(0, 1))
    strange = [line for line in said.splitlines() if not EXPECTED.search(line)]
    check(not strange, f"e2fsck finds more than a cut explains: {strange}")
    judge.e2fsck("-fn", part)
    kept = judge_records(text, part, folder)
    part.unlink()
    return kept


def boot_again(row, stick):
    """The stick comes up to a login, with its root where it must be; returns the seconds."""
    with make_machine(row, Drive(stick, snapshot=False), f"{row.name}-again.log") as machine:
        machine.expect(r"METALCOW-TEST boot \d+ root " + re.escape(rows.expected_root(row)) + " ",
                       absent=r"Kernel panic|Gave up waiting|emergency mode|metalcow: ref")
        machine.mark = 0
        machine.expect(r"login: ")
        return machine.seconds


def check_judge(record, state, run, dice):
    """A disk that forgets half of what was flushed too is found out; else the judge is blind."""
    writes = [write for write in run.writes if dice.random() < 0.5]
    undo = patched(writes, state.places)
    try:
        judge_cut(record, state.folder, run.state.text + run.text)
    except (Failure, fs.ToolError):
        return
    finally:
        for path, old in undo:
            write_log.apply(old, path)
    raise Failure(f"half of {len(run.writes)} writes were lost, and nothing is wrong")


def run_cuts(row, record, stick, args):
    """args.cuts cuts; returns what a boot's result has."""
    dice = random.Random(f"{args.seed} {row.name}")
    print(f"# {row.name}: {args.cuts} cuts, seed {args.seed}", flush=True)
    states = save_states(row, stick, dice)
    up, run = 0.0, None
    for number in range(1, args.cuts + 1):
        begin = time.monotonic()
        if number % CUTS_EACH == 1:
            moment = dice.uniform(0.3, LONGEST) if run else LONGEST
            run = go_on(row, dice.choice(states), moment)
            if number == 1:
                check_judge(record, run.state, run, dice)
        state = run.state
        writes, text, words = cut(run, dice)
        undo = patched(writes, state.places)
        kept = judge_cut(record, state.folder, text)
        for path, old in undo:
            write_log.apply(old, path)
        print(f"# {row.name}: cut {number}: {words}; {kept} records and all else in order, "
              f"{time.monotonic() - begin:.0f} s", flush=True)
        if number % BOOT_EACH == 0 or number == args.cuts:
            fs.run("cp", "--sparse=always", state.stick, stick)
            write_log.apply(writes, stick)
            up = boot_again(row, stick)
            print(f"# {row.name}: up again after {up:.0f} s", flush=True)
    return {"login": up, "end": up, "log": []}

#!/usr/bin/python3
"""Boot real Debian guests from images on sticks, and look at what is left over.

    run_guests.py [--only NAME]... [--list] [--rounds N] [--cuts N [--seed S]] [--keep]

A row (tests/guests/rows.py) is a system, a loader, a kind of image, a bus. For each row: make the
guest, make the image and a FAT32 stick with it, boot the stick in OVMF, wait until the guest has
written and powered off, then judge (tests/guests/judge.py):

  the root file system was on the device that the row names, read-write
  the guest saw no I/O error, and could not mount the stick's own file system
  qemu-img check, e2fsck and fsck.fat find nothing, and the FAT's dirty bit is not set
  every byte of the stick outside the image's files is what it was
  what the guest says it wrote is in the image

--rounds N alternates N times between the stick and QEMU with the image as an ordinary disk; each
side must see what the other has written. --cuts N cuts the power N times in all at random moments
while the guests of the named rows write; writes that were not flushed are lost
(tests/guests/cuts.py, which says what the rows are if none is named). The last line is "N passed, N
failed".
"""

import argparse
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.cases import Failure, check  # noqa: E402
from tests.guests import cuts, judge  # noqa: E402
from tests.guests.rows import (ROWS, WORK, expected_root, guest, make_image,  # noqa: E402
                               make_row_stick, name_backing_files, stick_files, top_name)
from tools import fs  # noqa: E402
from tools.qemu.machine import Drive, Machine, MachineError  # noqa: E402

BOOT_SECONDS = 600
GAVE_UP = (r"Kernel panic|UEFI Interactive Shell|Gave up waiting|grub rescue>|dracut:/#|"
           r"emergency mode|metalcow: refused")


def type_commands(machine, commands):
    """In the UEFI shell; the last command does not come back."""
    machine.enter_shell()
    for command in commands[:-1]:
        machine.shell(command, timeout=100)
    machine.send_line(commands[-1])


def boot(row, stick):
    """Boot the stick and wait for the guest's end; returns what its service said, and the seconds
    to the login prompt and to the end."""
    log = WORK / f"log/{row.name}.log"
    with Machine([Drive(stick, bus=row.bus, snapshot=False)], memory=row.memory, cpus=2, log=log,
                 timeout=BOOT_SECONDS, secure_boot=row.secure_boot) as machine:
        if row.typed:
            type_commands(machine, row.typed)
        begin = machine.mark
        if row.refusal:
            machine.expect(row.refusal, absent="login: ")
            machine.expect(GAVE_UP, absent="login: ")
            return {"login": 0.0, "end": machine.seconds, "log": []}
        # On a fast machine the tests' service ends before the prompt is there.
        machine.expect(r"login: |METALCOW-TEST boot", absent=GAVE_UP)
        login = machine.seconds
        machine.mark = begin
        machine.expect(r"METALCOW-TEST done", absent=GAVE_UP)
        machine.wait_end()
        return {**said(machine.text), "text": machine.text, "login": login, "end": machine.seconds}


def boot_as_vm(row, disk):
    """The same image as an ordinary disk of QEMU."""
    log = WORK / f"log/{row.name}-vm.log"
    with Machine([Drive(disk, format=disk.suffix[1:], snapshot=False)], memory=row.memory, cpus=2,
                 log=log, timeout=BOOT_SECONDS) as machine:
        machine.expect(r"METALCOW-TEST done", absent=GAVE_UP)
        machine.wait_end()
        return said(machine.text)


def said(text):
    """What the guest's service said: {word: the rest of its last line}, and what the kernel log had
    from the hand-off."""
    words = dict(re.findall(r"METALCOW-TEST (\w+) ?(.*?)\s*$", text, re.M))
    lines = re.findall(r"^METALCOW-LOG (.*?)\s*$", text, re.M)
    return {**words, "log": [line for line in lines if line]}


def check_run(row, result, before):
    """What the guest itself has to say."""
    if row.refusal:
        return
    check(not row.says or any(re.search(row.says, line) for line in result["log"]),
          f"the kernel log does not say '{row.says}': {result['log']}")
    check(re.search(row.told, result["text"]), f"the service's script does not say '{row.told}'")
    root = expected_root(row)
    check(f" root {root} " in result.get("boot", "") + " ", f"root is not {root}: {result}")
    check(re.search(r" rw(,|$)", result["boot"]), f"root is not read-write: {result}")
    check("error" not in result, f"the guest saw an error: {result}")
    check("refused" in result.get("host", "refused"), f"the stick could be mounted: {result}")
    check(before is None or result["before"] == before, "the other side's writes are not there")


def run_from_stick(row, record, stick, folder, before):
    """One boot from the stick, judged; folder has the image's files afterwards."""
    files = list(stick_files(folder))
    copy = judge.keep_copy(stick)
    result = boot(row, stick)
    check_run(row, result, before)
    allowed = judge.metadata_ranges(stick) + judge.file_ranges(stick, files)
    judge.check_outside(copy, stick, allowed if row.mode == "rw" else [])
    copy.unlink()
    judge.check_fat(stick)
    top = judge.extract(stick, files, folder)
    name_backing_files(row, folder)
    written = {name: result[name] for name in ("blob", "grown") if name in result}
    judge.check_image(top, record, written if row.mode == "rw" else {})
    return result


def run_row(row, args):
    """All of one row; returns the result of its last boot from the stick."""
    folder, stick = WORK / row.name / "img", WORK / row.name / "stick.img"
    raw, record = guest(row)
    row = cuts.loaded(row) if args.cuts > 0 else row
    keys = make_image(row, raw, record, folder)
    make_row_stick(row, folder, stick, keys)
    if args.cuts > 0:
        result = cuts.run_cuts(row, record, stick, args)
    else:
        before = None
        for number in range(args.rounds):
            if number > 0:
                make_row_stick(row, folder, stick, keys)
            result = run_from_stick(row, record, stick, folder, before)
            if args.rounds > 1:
                back = boot_as_vm(row, folder / top_name(row))
                check(back["before"] == result["blob"],
                      "QEMU does not see what the stick's boot wrote")
                before = back["blob"]
                print(f"# {row.name}: round {number + 1}, up in {result['login']:.0f} s",
                      flush=True)
    if not args.keep:
        shutil.rmtree(WORK / row.name)
    return result


def report(row, result, seconds):
    for line in result["log"]:
        print(f"# {row.name}: {line}")
    print(f"ok - {row.name}: login after {result['login']:.0f} s, off after {result['end']:.0f} s, "
          f"{seconds:.0f} s in all", flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="this row; may be said several times")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--rounds", type=int, default=1, help="alternations with QEMU")
    parser.add_argument("--cuts", type=int, default=0, help="power cuts under load, in all rows")
    parser.add_argument("--seed", type=int, default=None, help="of the cuts' moments")
    parser.add_argument("--keep", action="store_true", help="leave sticks and images there")
    args = parser.parse_args()
    if args.cuts and not args.only:
        args.only = list(cuts.ROWS)
    unknown = set(args.only) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no row is named {', '.join(sorted(unknown))}; --list names them")
    if args.seed is None:
        args.seed = random.randrange(1 << 32)
    return args


def main():
    args = parse_arguments()
    rows = [row for row in ROWS if not args.only or row.name in args.only]
    if args.list:
        print("\n".join(row.name for row in rows))
        return
    passed = failed = 0
    rows = rows[: args.cuts or None]  # fewer cuts than rows: some rows have none
    share = [args.cuts // len(rows) + (at < args.cuts % len(rows)) for at in range(len(rows))]
    for row, args.cuts in zip(rows, share):
        begin = time.monotonic()
        try:
            report(row, run_row(row, args), time.monotonic() - begin)
            passed += 1
        except (Failure, MachineError, fs.ToolError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"not ok - {row.name}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

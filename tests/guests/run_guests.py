#!/usr/bin/python3
"""Boot real Debian guests from images on sticks, and look at what is left behind.

    run_guests.py [--only PART] [--list] [--rounds N] [--keep]

A row is a system, a loader, a kind of image, a bus. For each row: make the guest
(tools/guest/make_installed.py, kept between runs), make the image and a FAT32 stick with it, boot
the stick in OVMF, wait until the guest has written and powered off, then judge:

  the root file system was on the device that the row names, read-write
  qemu-img check, e2fsck and fsck.fat find nothing, and the FAT's dirty bit is not set
  every byte of the stick outside the image's files is what it was
  what the guest says it wrote is in the image

--rounds N alternates N times between the stick and QEMU with the image as an ordinary disk; each
side must see what the other has written. The last line is "N passed, N failed".
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tools import fs  # noqa: E402
from tools.guest import make_installed  # noqa: E402
from tools.qemu.machine import Drive, Machine, MachineError  # noqa: E402
from tools.stick import make_stick  # noqa: E402

BUILD = ROOT / os.environ.get("BUILD", "build")
WORK = BUILD / "guests"
CACHE = BUILD / "guest/debian"
FAT_OFFSET = fs.MIB
ROOM = 512 * fs.MIB
BOOT_SECONDS = 900
SNAPSHOT = "before"


class Failure(Exception):
    """A row did not do what it must; the text says what."""


@dataclasses.dataclass
class Row:
    name: str
    loader: str = "grub"
    release: str = "bookworm"
    initramfs: str = "initramfs-tools"
    kernel: str = "cloud"
    image: str = "data-file"
    bus: str = "virtio"
    pieces: int = 0          # bytes; 0: the image is stored in one piece
    root: str = "/dev/nbd0p2"
    mode: str = "rw"
    memory: int = 1024


ROWS = [
    Row("grub", image="data-file"),
    Row("grub-pieces", image="qcow2", pieces=4 * fs.MIB),
    Row("grub-usb", bus="usb"),
    Row("grub-nvme", bus="nvme"),
    Row("systemd-boot", loader="systemd-boot"),
    Row("uki", loader="uki"),
    Row("dracut", initramfs="dracut", loader="systemd-boot"),
    Row("kernel-amd64", kernel="amd64"),
    Row("trixie", release="trixie"),
    Row("trixie-systemd-boot", release="trixie", loader="systemd-boot"),
    Row("qcow2", image="qcow2"),
    Row("raw-data-file", image="raw-data-file", root="/dev/loop0p2"),
    Row("zstd-overlay", image="zstd-overlay"),
    Row("snapshot", image="snapshot", mode="overlay"),
    Row("read-only-overlay", image="qcow2", mode="overlay"),
]


def guest(row):
    """The raw disk of a row's system and loader, and the record about it."""
    out = CACHE / f"{row.release}-{row.initramfs}-{row.kernel}-{row.loader}.raw"
    script = pathlib.Path(make_installed.__file__)
    if not out.exists() or out.stat().st_mtime < script.stat().st_mtime:
        system = make_installed.make_system(CACHE.resolve(), row.release, row.initramfs, row.kernel)
        make_installed.make_disk(system, row.loader, out)
    return out, json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))


def make_image(row, raw, folder):
    """The files of an image kind, in folder; returns the keys that its entry needs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    top = folder / "debian.qcow2"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
    if row.image == "qcow2":
        fs.run(*convert, raw, top)
    elif row.image in ("data-file", "raw-data-file"):
        option = "data_file=debian.data" + (",data_file_raw=on" if "raw" in row.image else "")
        fs.run(*convert, "-o", option, raw.resolve(), top.name, cwd=folder)
    elif row.image == "zstd-overlay":
        fs.run(*convert, "-c", "-o", "compression_type=zstd", raw, folder / "base.qcow2")
        fs.run("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", top.name,
               cwd=folder)
    elif row.image == "snapshot":
        fs.run(*convert, raw, top)
        fs.run("qemu-img", "snapshot", "-c", SNAPSHOT, top)
        # What came after the snapshot must not be seen.
        fs.run("qemu-io", "-c", "write -P 0 0 1M", top)
        return {"snapshot": SNAPSHOT}
    else:
        raise Failure(f"no image kind '{row.image}'")
    return {}


def stick_files(folder):
    return {f"/img/{path.name}": path for path in sorted(folder.iterdir())}


def make_row_stick(row, folder, out, keys):
    files = stick_files(folder)
    entry = {"title": "Debian", "image": "/img/debian.qcow2", "mode": row.mode,
             "handoff": "auto", "room": "256M", **keys}
    text = "".join(f"{key} {value}\n" for key, value in entry.items()).encode()
    content = {"/EFI/BOOT/BOOTX64.EFI": BUILD / "x64/metalcow.efi",
               "/metalcow/entries/debian.conf": text, **files,
               "/neighbour.bin": os.urandom(fs.MIB)}
    size = sum(path.stat().st_size for path in files.values()) * 5 // 4 + ROOM
    pieces = {name: row.pieces for name in files} if row.pieces else None
    make_stick.make_stick(out, content, size=-(-size // fs.MIB) * fs.MIB, pieces=pieces)


def clusters(stick, path):
    """Cluster ranges of a file of the stick, as mtools tells them: [(first, last)]."""
    text = fs.run("mshowfat", "-i", f"{stick}@@{FAT_OFFSET}", f"::{path}")
    return [(int(first), int(last or first))
            for first, last in re.findall(r"[<( ](\d+)(?:-(\d+))?[>,)]", text.split(" ", 1)[1])]


def geometry(stick):
    """(bytes to the first cluster from the stick's start, bytes of a cluster)"""
    with open(stick, "rb") as file:
        file.seek(FAT_OFFSET)
        boot = file.read(512)
    sector = int.from_bytes(boot[11:13], "little")
    reserved = int.from_bytes(boot[14:16], "little")
    fat = int.from_bytes(boot[36:40], "little")
    return FAT_OFFSET + (reserved + boot[16] * fat) * sector, boot[13] * sector


def digest_outside(stick, ranges):
    """Digest of the stick without these byte ranges."""
    digest = hashlib.sha256()
    at = 0
    with open(stick, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        for first, last in [*sorted(ranges), (end, end)]:
            file.seek(at)
            left = max(0, first - at)
            while left > 0:
                data = file.read(min(left, 1 << 22))
                digest.update(data)
                left -= len(data)
            at = max(at, last)
    return digest.hexdigest()


def file_ranges(stick, files):
    data, size = geometry(stick)
    return [(data + (first - 2) * size, data + (last - 1) * size)
            for path in files for first, last in clusters(stick, path)]


def metadata_ranges(stick):
    """The FATs and the folder of the images: room changes these, and nothing else does."""
    data, size = geometry(stick)
    folder = [(data + (first - 2) * size, data + (last - 1) * size)
              for first, last in clusters(stick, "/img")]
    with open(stick, "rb") as file:
        file.seek(FAT_OFFSET + 14)
        reserved = int.from_bytes(file.read(2), "little") * 512
    # The information sector of FAT32 counts free clusters.
    return [(FAT_OFFSET + 512, FAT_OFFSET + reserved), (FAT_OFFSET + reserved, data), *folder]


def boot(row, stick, out):
    """Boot the stick and wait for the guest's end; returns what its service said."""
    log = WORK / f"log/{row.name}.log"
    with Machine([Drive(stick, bus=row.bus, snapshot=False)], memory=row.memory, cpus=2, log=log,
                 timeout=BOOT_SECONDS) as machine:
        machine.expect(r"METALCOW-TEST boot", absent=r"Kernel panic|UEFI Interactive Shell|"
                       r"Gave up waiting|grub rescue>|dracut:/#|emergency mode")
        out["test"] = machine.seconds
        machine.expect(r"login: ")
        machine.expect(r"METALCOW-TEST done")
        machine.wait_end()
        out["seconds"] = machine.seconds
        return said(machine.text)


def boot_as_vm(row, disk):
    """The same image as an ordinary disk of QEMU."""
    log = WORK / f"log/{row.name}-vm.log"
    with Machine([Drive(disk, format="qcow2", snapshot=False)], memory=row.memory, cpus=2,
                 log=log, timeout=BOOT_SECONDS) as machine:
        machine.expect(r"METALCOW-TEST done")
        machine.wait_end()
        return said(machine.text)


def said(text):
    return dict(re.findall(r"METALCOW-TEST (boot|before|blob|done) ?(.*?)\s*$", text, re.M))


def check(truth, what):
    if not truth:
        raise Failure(what)


def extract(stick, files, folder):
    """Copy the image's files off the stick; returns the top image."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in files:
        fs.run("mcopy", "-i", f"{stick}@@{FAT_OFFSET}", f"::{path}",
               folder / pathlib.Path(path).name)
    return folder / "debian.qcow2"


def check_fat(stick):
    part = stick.with_suffix(".fat")
    size = stick.stat().st_size - 2 * fs.MIB
    fs.run("dd", f"if={stick}", f"of={part}", "bs=1M", f"skip={FAT_OFFSET // fs.MIB}",
           f"count={size // fs.MIB}", "conv=sparse")
    try:
        fs.run("fsck.fat", "-n", part)
        with open(part, "rb") as file:
            file.seek(65)
            check(file.read(1)[0] & 1 == 0, "the FAT's dirty bit is set")
    finally:
        part.unlink()


def check_image(top, record, blob):
    fs.run("qemu-img", "check", top)
    raw = top.with_suffix(".check")
    fs.run("qemu-img", "convert", "-O", "raw", top, raw)
    part = top.with_suffix(".ext4")
    fs.run("dd", f"if={raw}", f"of={part}", "bs=1M", f"skip={record['root_start'] // fs.MIB}",
           f"count={record['root_size'] // fs.MIB}", "conv=sparse")
    raw.unlink()
    try:
        fs.run("e2fsck", "-fn", part)
        if blob:
            out = top.with_suffix(".blob")
            fs.run("debugfs", "-R", f"dump /var/lib/metalcow/blob {out}", part)
            check(hashlib.sha256(out.read_bytes()).hexdigest() == blob,
                  "the image does not hold what the guest says it wrote")
            out.unlink()
    finally:
        part.unlink()


def run_row(row, rounds, keep):
    folder, stick = WORK / row.name / "img", WORK / row.name / "stick.img"
    raw, record = guest(row)
    keys = make_image(row, raw, folder)
    make_row_stick(row, folder, stick, keys)
    files = list(stick_files(folder))
    times = {}
    before = None
    for number in range(1, rounds + 1):
        outside = digest_outside(stick, file_ranges(stick, files) + metadata_ranges(stick))
        result = boot(row, stick, times)
        check(row.root in result.get("boot", ""), f"root is not on {row.root}: {result}")
        check(" rw," in result["boot"] or row.mode == "ro", f"root is not read-write: {result}")
        if before is not None:
            check(result["before"] == before, "the other side's writes are not there")
        after = digest_outside(stick, file_ranges(stick, files) + metadata_ranges(stick))
        check_fat(stick)
        top = extract(stick, files, folder)
        blob = result["blob"] if row.mode == "rw" else None
        check_image(top, record, blob)
        check(outside == after, "bytes outside the image's files have changed")
        if rounds > 1:
            back = boot_as_vm(row, top)
            check(back["before"] == result["blob"], "QEMU does not see what the stick's boot wrote")
            before = back["blob"]
            make_row_stick(row, folder, stick, keys)
    if not keep:
        shutil.rmtree(WORK / row.name)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="PART",
                        help="rows with this in the name")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--rounds", type=int, default=1, help="alternations with QEMU")
    parser.add_argument("--keep", action="store_true", help="leave sticks and images there")
    args = parser.parse_args()
    rows = [row for row in ROWS if not args.only or any(part in row.name for part in args.only)]
    if args.list:
        print("\n".join(row.name for row in rows))
        return
    passed = failed = 0
    for row in rows:
        begin = time.monotonic()
        try:
            times = run_row(row, args.rounds, args.keep)
            passed += 1
            print(f"ok - {row.name}: up in {times['test']:.0f} s, off in {times['seconds']:.0f} s, "
                  f"{time.monotonic() - begin:.0f} s in all", flush=True)
        except (Failure, MachineError, fs.ToolError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"not ok - {row.name}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not rows else 0)


if __name__ == "__main__":
    main()

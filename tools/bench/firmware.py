#!/usr/bin/python3
"""Time our disk in firmware beside other ways to the same bytes; `make bench-firmware` runs this.

    tools/bench/firmware.py --program build/x64/metalcow.efi --out build/bench
        [--size 2G] [--rounds 5] [--bus virtio ...] [--row ROW]
        [--before NAME=PROGRAM ...] [CASE ...]

Every case makes its images and a stick with them (FAT32, clusters of 4 KiB), starts QEMU with OVMF
on every bus, lets `metalcow bench` measure in the UEFI shell, and deletes the stick. What counts
are ratios of times within a round, and their median. Nothing fails because something is slow.

--before measures older programs too, each in a boot of its own right after today's. Two boots have
no common rounds, so what is compared is each boot's ratio to Disk I/O ("bare").
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools/bench")]
import images  # noqa: E402
import plot  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402
from tools.stick import make_stick  # noqa: E402

BEGIN, END = "metalcow-bench-begin", "metalcow-bench-end"
GIB, MIB = 1 << 30, 1 << 20
MIN_ROUNDS = 5
PROGRAM = "metalcow.efi"
BUSES = ("virtio", "ahci", "nvme", "usb")
SECONDS = 3600
# Cases where a smaller image tells the same, since cost per byte does not depend on size.
EIGHTH = 8


def parse(text):
    """The report that `metalcow bench` printed on a console."""
    found = re.search(rf"^{BEGIN}\n(.*?)^{END}$", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError("no report in the console's text")
    report = json.loads(found.group(1).replace("\n", ""))
    report["results"] = [result for result in report["results"] if result]
    return report


class Folder:
    """Where a case makes its images."""

    def __init__(self, path, size):
        self.path, self.size = path, size
        self.pool = images.make_pool()

    def write(self, name, size, bits, kinds, backing=""):
        """An image of our own writer."""
        images.write_qcow2(self.path / name, self.pool, size, bits, kinds, backing.encode())

    def flat(self):
        """What others are held against: clusters of 64 KiB, all of them data."""
        self.write("flat.qcow2", self.size, 16, images.everything("d"))


def plain(bits, factor=1.0, beside=False):
    """A case: everything allocated."""
    def make(folder):
        folder.write("image.qcow2", int(folder.size * factor), bits, images.everything("d"))
        if beside:
            folder.flat()
    return make


def data_file(raw, cluster_size=1 << 16):
    """A case: an external data file, every cluster at its place; beside it the flat image if the
    clusters are of another size."""
    def make(folder):
        options = (f"data_file=image.raw,data_file_raw={'on' if raw else 'off'},"
                   f"cluster_size={cluster_size}")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
                        options + ",preallocation=metadata", "image.qcow2", str(folder.size)],
                       check=True, cwd=folder.path)
        images.write_raw(folder.path / "image.raw", folder.pool, folder.size)
        if cluster_size != 1 << 16:
            folder.flat()
    return make


def compressed(kind):
    """A case: everything compressed, clusters of 64 KiB."""
    def make(folder):
        raw = folder.path / "raw"
        images.write_raw(raw, folder.pool, folder.size // EIGHTH)
        subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                        f"compression_type={kind}", raw, folder.path / "image.qcow2"], check=True)
        raw.unlink()
    return make


def chain(run):
    """A case: three layers that hold a third each in runs of so many clusters (0: of 1 to 16), and
    the flat image."""
    def make(folder):
        names = ["image.qcow2", "layer1.qcow2", "layer2.qcow2"]
        for layer, name in enumerate(names):
            folder.write(name, folder.size, 16, images.one_layer(layer, run),
                         "".join(names[layer + 1:layer + 2]))
        folder.flat()
    return make


def zeros(folder):
    """1 MiB of zero clusters, 1 MiB of nothing, in turn."""
    folder.write("image.qcow2", folder.size, 16, images.holes)


def scratch(folder):
    """Nothing yet: what is written allocates it."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "image.qcow2",
                    str(folder.size // 2)], check=True, cwd=folder.path)


# name: (images, piece of the file on the stick or 0, [(row, way, least of way's time over ours)]).
# Way "15 ms": a time that ours is held against.
SEQUENTIAL = [("sequential-1M", "bare", 0.98), ("sequential-1M", "file", 2.0)]
CASES = {
    "64K": (plain(16, 1.5), 0, SEQUENTIAL + [  # 3 GiB
        ("sequential-64K", "block-io", 3.0), ("sequential-4K", "block-io", 30.0),
        ("random-4K", "bare", 1 / 1.05), ("random-4K", "file", 400.0),
        ("open", "15 ms", 1.0)]),
    "fragmented": (plain(16), MIB, [("random-4K", "file", 1000.0)]),
    "data-file": (data_file(False), 0, SEQUENTIAL),
    "data-file-raw": (data_file(True), 0, SEQUENTIAL),
    "4K": (plain(12), 0, [("random-4K-miss", "bare", 1 / 2.05)]),
    "512": (plain(9, beside=True), 0, [("sequential-1M", "beside", 0.95)]),
    "512-data-file": (data_file(False, 512), 0, [("sequential-1M", "beside", 0.95)]),
    "chain-3": (chain(256), 0, [("sequential-1M", "beside", 0.97)]),
    "chain-3-mixed": (chain(0), 0, []),
    "zeros": (zeros, 0, [("sequential-1M", "fill", 0.9)]),
    "zlib": (compressed("zlib"), 0, [("sequential-1M", "bare", 0.95)]),
    "zstd": (compressed("zstd"), 0, [("sequential-1M", "bare", 0.95)]),
    "write": (scratch, 0, [("write-1M", "disk-io", 0.95), ("write-1M-new", "disk-io", 0.8),
                           ("write-4K-random", "disk-io", 1 / 1.1)]),
}
# Queued requests of 64 KiB take at most so many times as long as requests of 1 MiB for the same
# bytes, on these buses. Beside it: what signalling and waiting for their events alone makes of it.
QUEUED_ROW, QUEUED_WAY, EVENTS_WAY, QUEUED_MOST = "stream-1M", "queued-64K", "events-64K", 1.05
QUEUED_CASE, QUEUED_BUSES = "64K", ("virtio", "nvme")
BESIDE = ("512", "512-data-file", "chain-3", "chain-3-mixed")
FILLS = ("bare", "fill-firmware", "fill-stosq")
# New clusters of a round take this many bytes of the stick; the warm-up is a round too.
NEW_PER_ROUND = 32 * MIB
WRITE_ROOM = 2 * NEW_PER_ROUND


def without_holes(path):
    """A file of the host without holes, and with nothing waiting to be written back: a device does
    not care what it held before, but a hole costs the host an allocation when it is first
    written, and write-back comes in between."""
    copy = path.with_name(path.name + ".copy")
    subprocess.run(["cp", "--sparse=never", path, copy], check=True)
    subprocess.run(["sync", copy], check=True)
    return copy.rename(path)


def room(name, rounds):
    """Bytes that a case makes its image longer by."""
    return (rounds + 1) * NEW_PER_ROUND + WRITE_ROOM if name == "write" else 0


def make_case(name, programs, out, size, rounds):
    """The stick of a case; its images are deleted again. programs: {name on the stick: file}."""
    make, piece, _ = CASES[name]
    folder = Folder(out / "images", size)
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        make(folder)
        files = {f"/img/{path.name}": path for path in sorted(folder.path.iterdir())}
        pieces = {path: piece for path in files} if piece else {}
        files.update({f"/{target}": program for target, program in programs.items()})
        grows = room(name, rounds)
        stick = make_stick.make_stick(out / f"stick-{name}.img", files, pieces=pieces,
                                      size=grows + 2 * WRITE_ROOM if grows else None)
        return without_holes(stick) if name == "write" else stick
    finally:
        for path in folder.path.iterdir():
            path.unlink()


def measure(name, stick, bus, args, log, program=PROGRAM):
    """One boot: the report of `metalcow bench`."""
    rounds = args.rounds
    load = os.getloadavg()[0]
    drive = Drive(stick, bus=bus, snapshot=False)
    # The host's own fsync() is not what is measured.
    drive.cache = "unsafe" if name == "write" else ""
    with Machine([drive], log=log, timeout=SECONDS) as machine:
        machine.enter_shell()
        machine.shell("fs0:")
        command = rf"{program} bench img\image.qcow2 --rounds {rounds}"
        if args.row:
            command += f" --row {args.row}"
        if name in BESIDE:
            command += r" --beside img\flat.qcow2"
        if name == "write":
            command += f" --write scratch --room {room(name, rounds) // MIB}M"
        report = parse(machine.shell(command, timeout=SECONDS))
    return {"case": name, "bus": bus, "load": [load, os.getloadavg()[0]], **report}


def find(report, row, way):
    """The result of a way, or None."""
    for result in report["results"]:
        if (result["row"], result["way"]) == (row, way):
            return result
    return None


def ratio(report, row, way):
    """Median over the rounds of a way's time for a request over ours: of the fastest turns of each
    round, or of the median ones if the way makes fewer requests than we, since its fastest would be
    the luckiest. "fill" is the fastest fill."""
    ours = find(report, row, "ours")
    if ours and way == "15 ms":
        return 15e6 / statistics.median(ours["ns"])
    names = FILLS if way == "fill" else [way]
    ways = [result for result in (find(report, row, name) for name in names) if result]
    if not ours or not ways:
        return None
    key = "least" if ways[0]["nb"] == ours["nb"] else "ns"
    theirs = [min(values) for values in zip(*[[ns / result["nb"] for ns in result[key]]
                                              for result in ways])]
    return statistics.median(b * ours["nb"] / a for a, b in zip(ours[key], theirs))


def rows_of(report):
    """Every row with the times of its ways: medians over the rounds of the fastest turns."""
    rows = {}
    for result in report["results"]:
        rows.setdefault(result["row"], {})[result["way"]] = statistics.median(
            ns / result["nb"] for ns in result["least"])
    return rows


def print_report(report):
    """The times of one boot, and how many times ours they are."""
    for row, ways in rows_of(report).items():
        cells = [f"{ways['ours'] / 1000:10.1f} us"]
        cells += [f"{way} {ratio(report, row, way):.3f}x" for way in ways if way != "ours"]
        print(f"{report['case']:<13} {report['bus']:<7} {row:<15} " + "   ".join(cells), flush=True)


def against_bare(report, row):
    """Our time for a request of a row over Disk I/O's in the same rounds; None without both."""
    value = ratio(report, row, "bare")
    return 1 / value if value else None


def print_before(name, then, now):
    """How many times as long as today's an older program's requests take."""
    for row in rows_of(now):
        values = [against_bare(report, row) for report in (then, now)]
        if all(values):
            print(f"{now['case']:<13} {now['bus']:<7} {row:<15} {name} "
                  f"{values[0] / values[1]:.3f}x", flush=True)


def print_queued(boots):
    """Queued requests against long ones."""
    for boot in boots:
        if (boot["case"], boot["bus"] in QUEUED_BUSES) != (QUEUED_CASE, True):
            continue
        value = ratio(boot, QUEUED_ROW, QUEUED_WAY)
        mark = "no figure" if value is None else "reached" if value <= QUEUED_MOST \
            else "NOT REACHED"
        events = ratio(boot, QUEUED_ROW, EVENTS_WAY)
        print(f"{boot['case']:<13} {QUEUED_ROW:<15} {QUEUED_WAY:<11} {value or 0:>7.3f}   at most "
              f"{QUEUED_MOST:<7.3f} {mark} on {boot['bus']}; its events alone: {events or 0:.3f}")


def print_targets(boots):
    """What is to be reached, on virtio-blk."""
    print(f"\n{'case':<13} {'row':<15} {'beside':<9} {'measured':>9}   at least")
    for boot in boots:
        if boot["bus"] != "virtio":
            continue
        for row, way, bound in CASES[boot["case"]][2]:
            value = ratio(boot, row, way)
            mark = "no figure" if value is None else "reached" if value >= bound else "NOT REACHED"
            print(f"{boot['case']:<13} {row:<15} {way:<9} {value or 0:>9.3f}   {bound:<8.3f} "
                  f"{mark}")


def write(out, boots):
    """JSON and plot."""
    (out / "firmware.json").write_text(json.dumps({"boots": boots}, indent=1) + "\n")
    groups, series = [], ["ours", "bare", "block-io", "file", "beside"]
    for boot in boots:
        for row, ways in rows_of(boot).items():
            groups.append((f"{boot['case']} {boot['bus']} {row}",
                           {way: ns / 1000 for way, ns in ways.items() if way in series}))
    (out / "firmware.svg").write_text(
        plot.bars("microseconds for a request, in firmware under QEMU TCG", groups, series))
    print(f"\nwritten: {out / 'firmware.json'}, {out / 'firmware.svg'}")


def size_of(text):
    """Bytes of `512M`, `2G`; whole multiples of 64 MiB."""
    units = {"M": MIB, "G": GIB}
    size = int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)
    if size < 64 * MIB or size % (64 * MIB):
        raise argparse.ArgumentTypeError("a multiple of 64M")
    return size


def main():
    """Run the cases, print, write JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--program", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--size", type=size_of, default=2 * GIB)
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS)
    parser.add_argument("--bus", action="append", choices=BUSES)
    parser.add_argument("--row", help="measure this row alone")
    parser.add_argument("--before", action="append", default=[], metavar="NAME=PROGRAM",
                        type=lambda text: text.split("=", 1), help="an older metalcow.efi")
    parser.add_argument("--keep", action="store_true", help="leave the sticks there")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown or args.rounds < MIN_ROUNDS:
        parser.error(f"unknown case {unknown}" if unknown else f"at least {MIN_ROUNDS} rounds")
    if any(len(pair) != 2 or not pathlib.Path(pair[1]).exists() for pair in args.before):
        parser.error("--before takes NAME=PROGRAM, and PROGRAM is a file")
    args.out.mkdir(parents=True, exist_ok=True)
    programs = {PROGRAM: args.program,
                **{f"{name}.efi": pathlib.Path(program) for name, program in args.before}}
    print("our time for a request, and how many times as long the other ways take")
    boots = []
    for name in args.cases or CASES:
        stick = make_case(name, programs, args.out, args.size, args.rounds)
        try:
            for bus in args.bus or BUSES:
                log = args.out / f"firmware-{name}-{bus}.log"
                boots.append(measure(name, stick, bus, args, log))
                print_report(boots[-1])
                for older, _ in args.before:
                    then = measure(name, stick, bus, args, log.with_suffix(f".{older}.log"),
                                   f"{older}.efi")
                    print_before(older, then, boots[-1])
        finally:
            if not args.keep:
                stick.unlink()
    print_targets(boots)
    print_queued(boots)
    write(args.out, boots)


if __name__ == "__main__":
    main()

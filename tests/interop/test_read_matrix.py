#!/usr/bin/python3
"""Reads images made by QEMU's tools and compares every answer with qemu-img's.

    tests/interop/test_read_matrix.py [--build build] [--all] [--seed N] [NAME ...]

One case per row of images.py: the whole disk byte for byte, random unaligned pieces, every
snapshot, `map`, `info` and `check` as JSON. `make test` reads a selection that the seed chooses,
`make matrix` (--all) everything; NAME selects rows by a part of their name. A row that failed
leaves its files in build/tests/interop/matrix-*. METALCOW names another program to test.
"""

import argparse
import concurrent.futures
import filecmp
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import images

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 20261121
SELECTED = 40
PIECES = 300
JOBS = 2


class Different(Exception):
    """Our answer is not qemu-img's."""


def output(arguments, folder, statuses=(0,)):
    """Run a command; return (exit status, stdout); its stderr is for the failure's message."""
    done = subprocess.run([str(argument) for argument in arguments], cwd=folder,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode not in statuses:
        raise Different(f"{' '.join(map(str, arguments))}: exit status {done.returncode}: "
                        f"{done.stderr.decode(errors='replace')}")
    return done.returncode, done.stdout.decode(errors="replace")


class Programs:
    """What is tested, and with what."""

    def __init__(self, build):
        self.metalcow = pathlib.Path(os.environ.get("METALCOW", build / "san/metalcow")).resolve()
        self.piece_reader = (build / "san/tests/interop/piece_reader").resolve()

    def same_bytes(self, image, ours, theirs, what):
        """Compare two raw files; ours may be shorter only if it is a smaller snapshot's."""
        if not filecmp.cmp(image.folder / ours, image.folder / theirs, shallow=False):
            raise Different(f"{what}: {ours} and {theirs} differ")

    def check_disk(self, image, seed):
        output(["qemu-img", "convert", "-O", "raw", image.name, "theirs.raw"], image.folder)
        output([self.metalcow, "convert", "-O", "raw", image.name, "ours.raw"], image.folder)
        self.same_bytes(image, "ours.raw", "theirs.raw", "the disk")
        self.check_pieces(image, "theirs.raw", seed)

    def check_pieces(self, image, raw, seed, snapshot=()):
        arguments = [self.piece_reader, image.name, "qcow2", raw, seed, PIECES, *snapshot]
        status, text = output(arguments, image.folder, (0, 1))
        if status != 0:
            raise Different(f"pieces (seed {seed}): {text}")

    def check_snapshot(self, image, snapshot, seed):
        """qemu-img reads a snapshot at the image's present size, metalcow at the snapshot's own."""
        output(["qemu-img", "convert", "-l", f"snapshot.name={snapshot.name}", "-O", "raw",
                image.name, "theirs.raw"], image.folder)
        output([self.metalcow, "convert", "-l", snapshot.name, "-O", "raw", image.name, "ours.raw"],
               image.folder)
        size = (image.folder / "ours.raw").stat().st_size
        if size != snapshot.size:
            raise Different(f"snapshot {snapshot.name}: size {size}, was {snapshot.size}")
        os.truncate(image.folder / "theirs.raw", size)
        self.same_bytes(image, "ours.raw", "theirs.raw", f"snapshot {snapshot.name}")
        self.check_pieces(image, "theirs.raw", seed, [snapshot.name])

    def check_answer(self, image, arguments, statuses=(0,)):
        """The same exit status and the same JSON."""
        theirs = output(["qemu-img", *arguments, image.name], image.folder, statuses)
        ours = output([self.metalcow, *arguments, image.name], image.folder, statuses)
        if ours[0] != theirs[0]:
            raise Different(f"{arguments}: exit status {ours[0]}, qemu-img's {theirs[0]}")
        compare_json(json.loads(ours[1]), json.loads(theirs[1]), " ".join(arguments))

    def check_human_map(self, image):
        """Line for line, also where both give up at a compressed cluster."""
        theirs = output(["qemu-img", "map", image.name], image.folder, (0, 1))
        ours = output([self.metalcow, "map", image.name], image.folder, (0, 1))
        if ours != theirs:
            raise Different(f"map: {ours}\nqemu-img: {theirs}")

    def check_image(self, image, seed):
        self.check_disk(image, seed)
        for snapshot in image.snapshots:
            self.check_snapshot(image, snapshot, seed)
        self.check_answer(image, ["map", "--output=json"])
        self.check_human_map(image)
        self.check_answer(image, ["info", "--output=json", "--backing-chain"])
        self.check_answer(image, ["check", "--output=json"], (0, 2, 3))


def compare_json(ours, theirs, what):
    if ours == theirs:
        return
    if isinstance(ours, list) and isinstance(theirs, list):
        for index, (mine, its) in enumerate(zip(ours, theirs)):
            if mine != its:
                raise Different(f"{what}: entry {index} is {mine}, qemu-img's {its}")
        raise Different(f"{what}: {len(ours)} entries, qemu-img's {len(theirs)}")
    raise Different(f"{what}: {ours}, qemu-img's {theirs}")


def run_row(programs, row, folder, seed):
    """Make and check one row; return why it failed, or ""."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        image = images.build(row, folder, seed)
        programs.check_image(image, seed)
    except (Different, images.ToolError, OSError, ValueError) as error:
        return str(error).strip() or type(error).__name__
    shutil.rmtree(folder)
    return ""


def report(row, why):
    if not why:
        print(f"ok - {row.name}", flush=True)
        return
    first, *rest = why.splitlines()
    print(f"not ok - {row.name}: {first[:2000]}")
    for line in rest:
        print(f"# {line}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--build", type=pathlib.Path,
                        default=ROOT / os.environ.get("BUILD", "build"))
    parser.add_argument("--all", action="store_true", help="the whole matrix")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("MATRIX_SEED", SEED)))
    args = parser.parse_args()
    build = args.build.resolve()
    rows = images.all_rows()
    nb_rows = len(rows)
    if args.names:
        rows = [row for row in rows if any(name in row.name for name in args.names)]
    elif not args.all:
        rows = images.select_rows(rows, SELECTED, args.seed)
    print(f"# seed {args.seed}, {len(rows)} of {nb_rows} rows", flush=True)
    begin = time.monotonic()
    programs = Programs(build)
    folder = build / f"tests/interop/matrix-{os.getpid()}"
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        futures = {pool.submit(run_row, programs, row, folder / row.name, args.seed): row
                   for row in rows}
        for future in concurrent.futures.as_completed(futures):
            why = future.result()
            failed += bool(why)
            report(futures[future], why)
    if not failed:
        shutil.rmtree(folder)
    print(f"# {time.monotonic() - begin:.0f} s")
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not rows else 0)


if __name__ == "__main__":
    main()

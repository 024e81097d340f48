#!/usr/bin/python3
"""One image written in turn by `metalcow io` and by qemu-io 7.2, at random.

Between turns one of them makes the disk larger, or qemu-img takes and deletes snapshots. After each
turn `qemu-img check` finds nothing and `qemu-img compare` finds the image equal to a raw
file that this program writes itself. At the end metalcow's own check and compare must agree.

    test_write_random.py [--seed N] [--turns N] [NAME ...]
"""

import argparse
import dataclasses
import os
import pathlib
import random
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import Failure, check, check_equal, run_case  # noqa: E402
from tools import speed  # noqa: E402

BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
METALCOW = pathlib.Path(os.environ.get("METALCOW", BUILD / "san/metalcow")).resolve()
FOLDER = BUILD / f"tests/interop/random-{os.getpid()}"
KIB = 1024
TURNS = 6
COMMANDS = 6  # a turn


@dataclasses.dataclass
class Row:
    """A geometry."""

    name: str
    options: str = ""
    cluster: int = 64 * KIB
    size: int = 1500 * KIB + 512
    image_format: str = "qcow2"
    backing: bool = False
    compress: bool = True   # our turns store compressed clusters too
    discard: bool = True
    snapshots: bool = True
    grows: bool = True


ROWS = [
    Row("default"),
    Row("cluster-512", "cluster_size=512,refcount_bits=1", 512, 90 * KIB + 512, compress=False,
        snapshots=False),
    Row("cluster-2m", "cluster_size=2M,refcount_bits=64", 2048 * KIB, 9000 * KIB),
    Row("cluster-4k-zstd", "cluster_size=4k,refcount_bits=8,compression_type=zstd", 4 * KIB,
        700 * KIB + 1536),
    # Snapshots have no size of their own there.
    Row("version-2", "compat=0.10,cluster_size=8k", 8 * KIB, 800 * KIB, grows=False),
    # QEMU leaves a discarded cluster unallocated in version 2: what is below would show.
    Row("version-2-backing", "compat=0.10,cluster_size=8k", 8 * KIB, 800 * KIB, backing=True,
        discard=False, snapshots=False),
    Row("backing", "cluster_size=16k", 16 * KIB, backing=True),
    Row("extended", "extended_l2=on,cluster_size=16k", 16 * KIB),
    Row("extended-backing-zstd", "extended_l2=on,compression_type=zstd", backing=True),
    Row("lazy-refcounts", "lazy_refcounts=on,refcount_bits=32,cluster_size=4k", 4 * KIB),
    Row("data-file", "data_file=NAME.data", compress=False, snapshots=False),
    Row("data-file-raw", "data_file=NAME.data,data_file_raw=on,cluster_size=4k", 4 * KIB,
        compress=False, snapshots=False),
    Row("data-file-extended", "data_file=NAME.data,extended_l2=on,cluster_size=32k", 32 * KIB,
        compress=False, snapshots=False),
    Row("raw", size=300 * KIB, image_format="raw", compress=False, discard=False,
        snapshots=False),
]


def run(*command):
    done = subprocess.run(list(map(str, command)), cwd=FOLDER, check=False, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=speed.stretch(60))
    text = (done.stdout + done.stderr).decode(errors="replace")
    check_equal(done.returncode, 0, f"{' '.join(map(str, command))}: {text[-600:]}")
    return text


class Turns:
    """One image, and the raw file that it has to equal."""

    def __init__(self, row, seed):
        self.row = row
        self.size = row.size
        self.chooser = random.Random(f"{seed} {row.name}")
        self.name = f"{row.name}.img"
        self.model = FOLDER / f"{row.name}.model"
        self.history = []
        self.has_snapshot = False
        with open(self.model, "wb") as file:
            file.truncate(row.size)

    def create(self):
        row = self.row
        options = ["-o", row.options.replace("NAME", row.name)] if row.options else []
        if row.backing:
            base = f"{row.name}.base"
            run("qemu-img", "create", "-q", "-f", "qcow2", base, row.size)
            run("qemu-io", "-f", "qcow2", "-c", f"write -P 77 0 {row.size - 300 * KIB}", base)
            self.fill(0, row.size - 300 * KIB, 77)
            options += ["-b", base, "-F", "qcow2"]
        program = self.chooser.choice([METALCOW, "qemu-img"])
        run(program, "create", "-q", "-f", row.image_format, *options, self.name, row.size)

    def fill(self, offset, length, byte):
        with open(self.model, "r+b") as file:
            file.seek(offset)
            file.write(bytes([byte]) * length)

    def any_range(self):
        """From one byte to a few clusters, anywhere; often small."""
        chooser, row = self.chooser, self.row
        length = chooser.choice([chooser.randint(1, 700), chooser.randint(1, row.cluster),
                                 chooser.randint(1, 3 * row.cluster)])
        offset = chooser.randrange(self.size)
        return offset, min(length, self.size - offset)

    def cluster_range(self, most):
        cluster = self.row.cluster
        offset = self.chooser.randrange((self.size + cluster - 1) // cluster) * cluster
        return offset, min(cluster * self.chooser.randint(1, most), self.size - offset)

    def command(self, ours):
        """One command, carried out on the model."""
        chooser = self.chooser
        kinds = ["write"] * 5 + ["write -z"] * 2 + ["write -zu"]
        kinds += ["discard"] * self.row.discard + ["write -c"] * (ours and self.row.compress)
        kind = chooser.choice(kinds)
        byte = 0 if kind in ("write -z", "write -zu", "discard") else chooser.randint(1, 255)
        if kind in ("discard", "write -c") or chooser.random() < 0.3:
            offset, length = self.cluster_range(5 if kind == "discard" else 2)
        else:
            offset, length = self.any_range()
        self.fill(offset, length, byte)
        pattern = f" -P {byte}" if byte else ""
        return f"{kind} -q{pattern} {offset} {length}"

    def grow(self):
        program = self.chooser.choice([METALCOW, "qemu-img"])
        self.size += 512 * self.chooser.randint(1, 500)
        self.history.append(f"{program} resize {self.size}")
        os.truncate(self.model, self.size)
        run(program, "resize", "-q", "-f", self.row.image_format, self.name, self.size)

    def snapshot(self):
        """Take one, or delete the one that is there."""
        flag = "-d" if self.has_snapshot else "-c"
        self.has_snapshot = not self.has_snapshot
        self.history.append(f"qemu-img snapshot {flag}")
        run("qemu-img", "snapshot", flag, "kept", self.name)

    def between(self):
        if self.row.grows and self.chooser.random() < 0.4:
            self.grow()
        if self.row.snapshots and self.chooser.random() < 0.5:
            self.snapshot()

    def turn(self, ours):
        program = [METALCOW, "io"] if ours else ["qemu-io", "-d", "unmap"]
        commands = [self.command(ours) for _ in range(COMMANDS)]
        words = [word for command in commands for word in ("-c", command)]
        self.history.append(" ".join([str(program[0]), *words]))
        text = run(*program, "-f", self.row.image_format, *words, self.name)
        check("failed" not in text, text)
        run("qemu-img", "compare", "-q", "-f", self.row.image_format, "-F", "raw", self.name,
            self.model.name)
        if self.row.image_format == "qcow2":
            run("qemu-img", "check", "-q", "-f", "qcow2", self.name)

    def finish(self):
        run(METALCOW, "compare", "-q", "-f", self.row.image_format, "-F", "raw", self.name,
            self.model.name)
        if self.row.image_format == "qcow2":
            run(METALCOW, "check", "-q", self.name)
        if "data_file_raw" in self.row.options:
            run("cmp", "-n", self.size, f"{self.row.name}.data", self.model.name)


def run_row(row, seed, turns):
    work = Turns(row, seed)
    try:
        work.create()
        for number in range(turns):
            work.turn(ours=number % 2 == 0)
            work.between()
        work.finish()
    except Failure as failure:
        raise Failure("\n".join([str(failure), *work.history])) from failure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", default="244")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="run rows with this in the name")
    args = parser.parse_args()
    rows = [row for row in ROWS
            if not args.names or any(name in row.name for name in args.names)]
    print(f"# seed {args.seed}, {args.turns} turns of {COMMANDS} commands", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    passed = sum(run_case(row.name, lambda row=row: run_row(row, args.seed, args.turns))
                 for row in rows)
    if passed == len(rows):
        shutil.rmtree(FOLDER)
    print(f"{passed} passed, {len(rows) - passed} failed")
    sys.exit(0 if rows and passed == len(rows) else 1)


if __name__ == "__main__":
    main()

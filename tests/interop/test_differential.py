#!/usr/bin/python3
"""The same images changed in turns by metalcow and by QEMU 7.2, at random, beside a model.

A batch is many ranges that one program reads and writes, and some verbs: snapshots, sizes, bitmaps,
commit, rebase, amend. After each batch both checks find nothing, both readers find the model's
content, and the file holds the model's bitmaps; now and then both also tell the same map and QEMU
itself says what is dirty. The first images have the geometries of ROWS, the others are random.

    test_differential.py [--seed N] [--ops N] [--batches N] [--first N] [--images N]
                         [--judge-each] [--keep-going] [NAME ...]

An image that fails can be run alone: `--first ITS-NUMBER --images 1 --judge-each`, with the same
seed and batches.
"""

import argparse
import json
import os
import pathlib
import random
import shlex
import shutil
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import Failure, check, check_equal, run_case  # noqa: E402
from tests.interop import bitmap_file  # noqa: E402
from tests.interop.disk_model import (  # noqa: E402
    KIB, Bitmap, Geometry, Model, any_geometry)
from tools import speed  # noqa: E402

BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
METALCOW = pathlib.Path(os.environ.get("METALCOW", BUILD / "host/metalcow")).resolve()
FOLDER = BUILD / f"tests/interop/differential-{os.getpid()}"
PATIENCE = speed.stretch(120)   # seconds for one program: none of them may hang
OPS = 2000
COMMANDS = 80   # of a batch, at most
BATCHES = 2     # of an image, at most
GRANULARITIES = (512, 4 * KIB, 64 * KIB, 1024 * KIB)

ROWS = [
    Geometry("default"),
    Geometry("cluster-512", 90 * KIB + 512, 512, refcount_bits=1),
    Geometry("cluster-2m", 9000 * KIB, 2048 * KIB, refcount_bits=64),
    Geometry("cluster-4k-zstd", 700 * KIB + 1536, 4 * KIB, compression="zstd"),
    Geometry("version-2", 800 * KIB, 8 * KIB, 2),
    Geometry("version-2-backing", 800 * KIB, 8 * KIB, 2, backing=("qcow2",)),
    Geometry("backing", cluster=16 * KIB, backing=("qcow2", "raw")),
    Geometry("extended", cluster=16 * KIB, extended=True),
    Geometry("extended-backing-zstd", extended=True, compression="zstd", backing=("qcow2",)),
    Geometry("lazy-refcounts", cluster=4 * KIB, refcount_bits=32, lazy=True),
    Geometry("data-file", data_file="plain"),
    Geometry("data-file-raw", cluster=4 * KIB, data_file="raw"),
    Geometry("data-file-extended", cluster=32 * KIB, data_file="plain", extended=True),
    Geometry("raw", 300 * KIB, image_format="raw"),
]


def run(*command):
    """Exit status and what was printed."""
    done = subprocess.run(list(map(str, command)), cwd=FOLDER, check=False, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def good(*command):
    status, text = run(*command)
    check_equal(status, 0, f"{' '.join(map(str, command))}: {text[-600:]}")
    return text


def answers(text):
    """What the commands of qemu-io or `metalcow io` say, one answer each: True for success."""
    found = []
    for line in text.splitlines():
        if line.startswith(("wrote ", "discard ", "read ")):
            found.append(True)
        elif "failed" in line:
            found.append(False)
    return found


class Image:
    """One image, its backing files, and the model of it."""

    def __init__(self, geometry, number, seed):
        self.geometry = geometry
        self.chooser = random.Random(f"{seed} {number}")
        self.model = Model(geometry)
        self.name = f"{geometry.name}.img"
        self.history = []
        self.below = []          # (name, format, content) from the nearest downwards
        self.nb_made = 0
        self.nb_ops = 0
        self.has_shrunk = False

    # --- programs

    def verb(self, ours, *words):
        """Run a verb of metalcow or qemu-img, which succeeds."""
        self.history.append(f"{'metalcow' if ours else 'qemu-img'} {' '.join(map(str, words))}")
        self.nb_ops += 1
        return good(METALCOW if ours else "qemu-img", *words)

    def refused(self, ours, *words):
        """Run a verb which must be refused."""
        self.history.append(f"{'metalcow' if ours else 'qemu-img'} {' '.join(map(str, words))}")
        self.nb_ops += 1
        status, text = run(METALCOW if ours else "qemu-img", *words)
        check_equal(status, 1, f"{words} must be refused: {text[-600:]}")

    # --- making

    def any_content(self, size):
        """Some bytes for a backing file: (offset, length, byte) and all of it."""
        content, pieces = bytearray(size), []
        for _ in range(4):
            offset = self.chooser.randrange(size)
            length = min(self.chooser.randint(1, size), size - offset)
            byte = self.chooser.randint(1, 255)
            content[offset:offset + length] = bytes([byte]) * length
            pieces.append((offset, length, byte))
        return content, pieces

    def make_below(self, formats, size):
        """A chain of backing files, whose nearest file has `size`."""
        chain = []
        for number, image_format in reversed(list(enumerate(formats))):
            self.nb_made += 1
            name = f"{self.geometry.name}.base{self.nb_made}"
            content, pieces = self.any_content(size)
            options = ["-b", chain[0][0], "-F", chain[0][1]] if chain else []
            if chain: # part of it shows what is below
                content, pieces = self.over(chain[0][2], pieces[:1], size)
            good("qemu-img", "create", "-q", "-f", image_format, *options, name, size)
            words = [word for offset, length, byte in pieces
                     for word in ("-c", f"write -q -P {byte} {offset} {length}")]
            good("qemu-io", "-f", image_format, *words, name)
            chain.insert(0, (name, image_format, content))
        return chain

    @staticmethod
    def over(below, pieces, size):
        content = bytearray(below[:size].ljust(size, b"\0"))
        for offset, length, byte in pieces:
            content[offset:offset + length] = bytes([byte]) * length
        return content, pieces

    def near_size(self):
        """A size for a backing file: often another one than that of the disk."""
        return max(1, int(self.model.size * self.chooser.choice((0.6, 1, 1, 1.3))) // 512) * 512

    def create(self):
        geometry = self.geometry
        options = ["-o", geometry.options()] if geometry.options() else []
        if geometry.backing:
            self.below = self.make_below(geometry.backing, self.near_size())
            options += ["-b", self.below[0][0], "-F", self.below[0][1]]
            self.model.content, _ = self.over(self.below[0][2], [], geometry.size)
        self.verb(self.chooser.random() < 0.5, "create", "-q", "-f", geometry.image_format,
                  *options, self.name, geometry.size)

    # --- ranges

    def any_range(self):
        """From one byte to a few clusters, anywhere; often small."""
        chooser, cluster = self.chooser, self.geometry.cluster
        length = chooser.choice([chooser.randint(1, 700), chooser.randint(1, cluster),
                                 chooser.randint(1, 3 * cluster)])
        offset = chooser.randrange(self.model.size)
        return offset, min(length, self.model.size - offset)

    def cluster_range(self, most):
        cluster, size = self.geometry.cluster, self.model.size
        offset = self.chooser.randrange((size + cluster - 1) // cluster) * cluster
        return offset, min(cluster * self.chooser.randint(1, most), size - offset)

    def command(self):
        """One command of `io`: its words, its range and its byte."""
        chooser, geometry = self.chooser, self.geometry
        kinds = ["write"] * 6 + ["write -z"] * 2 + ["write -z -u"] * 2 + ["read"] * 2
        kinds += ["discard"] * 2 * geometry.discards + ["write -c"] * 2 * geometry.compresses
        kind = chooser.choice(kinds + ["flush"] * (chooser.random() < 0.2))
        if kind == "flush":
            return kind, 0, 0, 0
        if kind == "write -c":
            return kind, *self.cluster_range(1), chooser.randint(1, 255)
        byte = chooser.randint(1, 255) if kind == "write" else 0
        if chooser.random() < 0.3 + 0.5 * (kind == "discard"):
            return kind, *self.cluster_range(5 if kind == "discard" else 2), byte
        return kind, *self.any_range(), byte

    def io(self, ours, nb):
        """Many commands in one process. The model goes along, so that reads know what to find.
        QEMU refuses a compressed write over some clusters, so its come last, and tell."""
        commands = [self.command() for _ in range(nb)]
        if not ours:
            commands.sort(key=lambda command: command[0] == "write -c")
        words, plan = [], []
        for kind, offset, length, byte in commands:
            if kind == "read":
                offset, length, byte = self.model.uniform(self.chooser)
            pattern = f" -P {byte}" if kind in ("write", "write -c", "read") else ""
            words += ["-c", kind if kind == "flush" else f"{kind}{pattern} {offset} {length}"]
            if kind == "flush":
                continue
            plan.append((kind, offset, length, byte))
            if ours or kind != "write -c":
                self.apply(ours, *plan[-1])
        program = [METALCOW, "io"] if ours else ["qemu-io", "-d", "unmap"]
        self.history.append(f"{'metalcow io' if ours else 'qemu-io'} {shlex.join(words)}")
        self.nb_ops += nb
        _, text = run(*program, "-f", self.geometry.image_format, *words, self.name)
        self.apply_answers(ours, plan, answers(text), text)

    def apply_answers(self, ours, plan, got, text):
        check_equal(len(got), len(plan), f"answers of io: {text}")
        for (kind, offset, length, byte), success in zip(plan, got):
            if ours or kind != "write -c":
                check(success, f"{kind} {offset} {length} failed: {text[-600:]}")
            elif success:
                self.model.write(offset, length, byte)
            else:
                self.model.mark(offset, length)

    def apply(self, ours, kind, offset, length, byte):
        if kind == "discard":
            begin, end = self.model.discard(offset, length)
            self.model.mark(begin, end - begin)
            if not ours: # QEMU marks the parts of clusters that it leaves alone
                self.model.mark(offset, length)
        elif kind.startswith("write"):
            self.model.write(offset, length, byte)

    # --- verbs

    def resize(self, ours):
        model, chooser = self.model, self.chooser
        if self.geometry.version == 2 and model.snapshots:
            return
        size = model.size + 512 * chooser.randint(1, 500)
        if chooser.random() < 0.4 and model.size > 512:
            size = 512 * chooser.randint(1, model.size // 512 - 1)
            ours = ours or bool(model.bitmaps)   # QEMU 7.2 leaks clusters of the bitmaps
            self.has_shrunk = True
        elif self.has_shrunk and model.size % self.geometry.cluster:
            ours = True   # QEMU 7.2 shows what the last cluster has held past the old end
        elif self.geometry.version == 2 and self.below and len(self.below[0][2]) > model.size:
            ours = True   # QEMU 7.2 refuses: it has no clusters of zeros to hide the file below
        model.resize(size)
        self.verb(ours, "resize", "-q", "--shrink", "-f", self.geometry.image_format, self.name,
                  size)

    def snapshot(self, ours):
        model, chooser = self.model, self.chooser
        kind = chooser.choice("cccadd")
        if kind == "c" and len(model.snapshots) < self.geometry.nb_snapshots:
            self.nb_made += 1
            name = f"s{self.nb_made}"
            model.snapshots[name] = bytes(model.content)
            self.verb(ours, "snapshot", "-c", name, self.name)
        elif kind == "d" and model.snapshots:
            name = chooser.choice(sorted(model.snapshots))
            del model.snapshots[name]
            self.verb(ours, "snapshot", "-d", name, self.name)
        elif kind == "a" and model.snapshots:
            name = chooser.choice(sorted(model.snapshots))
            if model.bitmaps:
                self.refused(ours, "snapshot", "-a", name, self.name)
                return
            model.content = bytearray(model.snapshots[name])
            self.verb(ours, "snapshot", "-a", name, self.name)

    def bitmap(self, ours):
        model, chooser = self.model, self.chooser
        if not self.geometry.has_bitmaps:
            return
        names = sorted(model.bitmaps)
        kind = chooser.choice(["add"] if len(names) < 2 else
                              ["add", "remove", "clear", "enable", "disable", "merge", "merge"])
        if kind == "add" and len(names) < 4:
            self.nb_made += 1
            granularity, enabled = chooser.choice(GRANULARITIES), chooser.random() < 0.8
            model.bitmaps[f"b{self.nb_made}"] = Bitmap(granularity, enabled)
            self.verb(ours, "bitmap", "--add", "-g", granularity, *["--disable"] * (not enabled),
                      self.name, f"b{self.nb_made}")
            return
        if kind == "add":
            kind = "remove"
        name = chooser.choice(names)
        words = [f"--{kind}", self.name, name]
        if kind == "remove":
            del model.bitmaps[name]
        elif kind == "clear":
            model.bitmaps[name].dirty = set()
        elif kind == "merge":
            source = chooser.choice(names)
            model.merge(source, name)
            words.insert(1, source)
        else:
            model.bitmaps[name].enabled = kind == "enable"
        self.verb(ours, "bitmap", *words)

    def drop_snapshots(self, ours):
        """A new backing file shows in snapshots too."""
        for name in sorted(self.model.snapshots):
            self.verb(ours, "snapshot", "-d", name, self.name)
        self.model.snapshots = {}

    def rebase(self, ours):
        """Put another file below; the content stays."""
        if self.geometry.image_format == "raw" or self.geometry.data_file == "raw":
            return
        self.drop_snapshots(ours)
        if self.geometry.version == 2 and not self.below:
            ours = True   # QEMU 7.2 leaves zeros above the new file unallocated
        chain = []
        if not self.below or self.chooser.random() < 0.7:
            chain = self.make_below(self.chooser.choice((("qcow2",), ("raw",), ("qcow2", "raw"))),
                                    self.near_size())
        where = ["-b", chain[0][0], "-F", chain[0][1]] if chain else ["-b", ""]
        self.geometry.backing = tuple(image_format for _, image_format, _ in chain)
        self.below = chain
        self.verb(ours, "rebase", "-q", "-f", "qcow2", *where, self.name)
        self.more_dirty()

    def more_dirty(self):
        """The verb has copied bytes into the image, and may have marked what it wrote."""
        found = bitmap_file.bitmaps(FOLDER / self.name)
        for name, bitmap in self.model.bitmaps.items():
            check(name in found and found[name][2] >= bitmap.dirty, f"bitmap {name} has lost bits")
            check(bitmap.enabled or found[name][2] == bitmap.dirty, f"{name} is disabled")
            bitmap.dirty = found[name][2]

    def commit(self, ours):
        if not self.below:
            return
        self.drop_snapshots(ours)
        name, image_format, old = self.below[0]
        content = bytes(self.model.content) + bytes(old[self.model.size:])
        self.below[0] = name, image_format, bytearray(content)
        self.verb(ours, "commit", "-q", *["-d"] * (self.chooser.random() < 0.3), "-f", "qcow2",
                  self.name)
        self.judge_content(name, image_format, content)
        if image_format == "qcow2":
            self.judge_structure(name)

    def amend(self, ours):
        """lazy_refcounts, the version and the width of refcounts."""
        geometry, chooser = self.geometry, self.chooser
        if geometry.image_format == "raw":
            return
        kind = chooser.choice(("lazy", "lazy", "width", "version"))
        if kind == "version":
            self.amend_version(ours)
        elif kind == "width" and geometry.version == 3 and (ours or geometry.cluster <= 64 * KIB):
            # QEMU 7.2 takes minutes with larger clusters, for each entry of its refcount table.
            geometry.refcount_bits = chooser.choice((16, 32, 64))
            self.verb(ours, "amend", "-f", "qcow2", "-o",
                      f"refcount_bits={geometry.refcount_bits}", self.name)
        elif geometry.version == 3:
            geometry.lazy = chooser.random() < 0.5
            self.verb(ours, "amend", "-f", "qcow2", "-o",
                      f"lazy_refcounts={'on' if geometry.lazy else 'off'}", self.name)

    def amend_version(self, ours):
        """Upwards always, down where the image has nothing of version 3."""
        geometry, model = self.geometry, self.model
        news = (geometry.extended, geometry.data_file, geometry.lazy, model.bitmaps,
                model.snapshots, geometry.refcount_bits != 16, geometry.compression != "zlib")
        if geometry.version == 3 and any(news):
            return
        geometry.version = 5 - geometry.version
        self.verb(ours, "amend", "-f", "qcow2", "-o",
                  f"compat={'1.1' if geometry.version == 3 else '0.10'}", self.name)

    # --- judging

    def judge_structure(self, name):
        good("qemu-img", "check", "-q", "-f", "qcow2", name)
        good(METALCOW, "check", "-q", "-f", "qcow2", name)

    def judge_content(self, name, image_format, content):
        """Both readers find this content, and the size is that of the content."""
        model = f"{self.geometry.name}.model"
        (FOLDER / model).write_bytes(content)
        for program in ("qemu-img", METALCOW):
            good(program, "compare", "-q", "-f", image_format, "-F", "raw", name, model)
        if image_format == "qcow2":
            with open(FOLDER / name, "rb") as file:
                check_equal(struct.unpack(">Q", file.read(32)[24:])[0], len(content), "size")
        else:
            check_equal((FOLDER / name).stat().st_size, len(content), "size")

    def judge(self):
        geometry, model = self.geometry, self.model
        if geometry.image_format == "qcow2":
            self.judge_structure(self.name)
        self.judge_content(self.name, geometry.image_format, model.content)
        if geometry.data_file == "raw":
            data = (FOLDER / f"{geometry.name}.data").read_bytes()
            check(data[:model.size] == model.content, "the raw data file is not the disk")
        if geometry.has_bitmaps:
            wanted = {name: (bitmap_file.AUTO * bitmap.enabled, bitmap.granularity, bitmap.dirty)
                      for name, bitmap in model.bitmaps.items()}
            self.judge_bitmaps(bitmap_file.bitmaps(FOLDER / self.name), wanted)

    def judge_bitmaps(self, found, wanted):
        check_equal(sorted(found), sorted(wanted), "bitmaps")
        for name, (flags, granularity, dirty) in found.items():
            check_equal((flags, granularity), wanted[name][:2], f"flags, granularity of {name}")
            check(dirty == wanted[name][2], f"bitmap {name}, granules of {granularity}: missing "
                  f"{runs(wanted[name][2] - dirty)}, too many {runs(dirty - wanted[name][2])}")

    def judge_rarely(self):
        """What costs more: snapshots, maps, and what QEMU itself says of bitmaps."""
        for name, content in self.model.snapshots.items():
            for program in (METALCOW, "qemu-img"):
                good(program, "convert", "-f", "qcow2", "-O", "raw", "-l", f"snapshot.name={name}",
                     self.name, "snapshot.raw")
                found = (FOLDER / "snapshot.raw").read_bytes()
                if program == "qemu-img": # shows as much of it as the disk has now
                    found, content = found[:len(content)], content[:len(found)]
                check(found == content, f"snapshot {name} read by {program}")
        maps = [json.loads(good(program, "map", "--output=json", "-f", self.geometry.image_format,
                                self.name)) for program in ("qemu-img", METALCOW)]
        check_equal(joined(maps[1]), joined(maps[0]), "map")
        if self.model.bitmaps:
            name = self.chooser.choice(sorted(self.model.bitmaps))
            bitmap = self.model.bitmaps[name]
            wanted = [(begin * bitmap.granularity,
                       min(end * bitmap.granularity, self.model.size))
                      for begin, end in runs(bitmap.dirty)]
            check_equal(dirty_by_nbd(self.name, name), wanted, f"what QEMU says is dirty in {name}")

    def live(self, judge_each, nb_batches):
        """All of the image's life."""
        chooser = self.chooser
        self.create()
        for _ in range(chooser.randint(2, nb_batches)):
            steps = [lambda: self.io(chooser.random() < 0.5, chooser.randint(1, COMMANDS))] * 2
            verbs = [self.bitmap] * 4 + [self.snapshot] * 4 + [self.resize] * 2
            verbs += [self.amend, self.amend, self.rebase, self.commit]
            steps += [lambda verb=verb: verb(chooser.random() < 0.5)
                      for verb in chooser.choices(verbs, k=chooser.randint(0, 4))]
            chooser.shuffle(steps)
            for step in steps:
                step()
                if judge_each:
                    self.judge()
            self.judge()
        self.judge_rarely()


def runs(numbers):
    """[begin, end) of each run of neighbours in a set of numbers."""
    found = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1][1] = number + 1
        else:
            found.append([number, number + 1])
    return found


def joined(entries):
    """A map whose neighbours of one kind are one entry; which file has the bytes stays."""
    found = []
    for entry in entries:
        kind = (entry["depth"], entry["zero"], entry["data"])
        offset = entry.get("offset")
        last = found[-1] if found else None
        if last and last[2] == kind and (offset is None) == (last[3] is None) and \
                (offset is None or last[3] + last[1] == offset):
            last[1] += entry["length"]
        else:
            found.append([entry["start"], entry["length"], kind, offset])
    return found


def dirty_by_nbd(image, bitmap):
    """[begin, end) of what qemu-nbd says is dirty."""
    text = good("nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{bitmap}", "--", "[", "qemu-nbd",
                "-r", "-f", "qcow2", "-B", bitmap, image, "]")
    found = []
    for entry in json.loads(text):
        begin, end = entry["offset"], entry["offset"] + entry["length"]
        if entry["type"] & 1 and found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        elif entry["type"] & 1:
            found.append((begin, end))
    return found


def live(image, args):
    try:
        image.live(args.judge_each, args.batches)
    except Failure as failure:
        raise Failure("\n".join([str(failure), f"files: {FOLDER}", image.geometry.text(),
                                 *image.history])) from failure
    for path in FOLDER.glob(f"{image.geometry.name}.*"):
        path.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", default="244")
    parser.add_argument("--ops", type=int, default=OPS, help="operations, at least")
    parser.add_argument("--batches", type=int, default=BATCHES, help="of an image, at most")
    parser.add_argument("--first", type=int, default=0, help="number of the first image")
    parser.add_argument("--images", type=int, default=sys.maxsize, help="images, at most")
    parser.add_argument("--judge-each", action="store_true", help="judge after each step")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only rows with this in the name")
    args = parser.parse_args()
    print(f"# seed {args.seed}, {args.ops} operations", flush=True)
    FOLDER.mkdir(parents=True)
    nb_ops = passed = nb = 0
    number, begin = args.first, time.monotonic()
    while (nb_ops < args.ops or number < len(ROWS)) and nb < args.images:
        geometry = ROWS[number] if number < len(ROWS) else \
            any_geometry(random.Random(f"{args.seed} geometry {number}"), f"random-{number}")
        if not args.names or any(name in geometry.name for name in args.names):
            image = Image(geometry, number, args.seed)
            ok = run_case(f"{number}-{geometry.name}", lambda image=image: live(image, args))
            nb, passed, nb_ops = nb + 1, passed + ok, nb_ops + image.nb_ops
            if not ok and not args.keep_going:
                break
        elif number >= len(ROWS):
            break
        number += 1
    if passed == nb:
        shutil.rmtree(FOLDER)
    print(f"# {nb_ops} operations on {nb} images in {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {nb - passed} failed")
    sys.exit(0 if nb and passed == nb else 1)


if __name__ == "__main__":
    main()

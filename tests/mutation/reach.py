"""Which test program executes which line of the sources, and how long each program takes.

The programs are built once more, by make in build/mutation/counted, with gcc's counters. Each runs
once. The result is kept in build/mutation/reach.json, and a program runs again when it has changed.
A program that takes longer than TOO_LONG is left out: it counts as one that executes nothing.
"""

import collections
import hashlib
import itertools
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys

from tests.mutation import mutants, programs

ROOT = mutants.ROOT
COUNTED = f"{programs.BUILD}/mutation/counted"
RESULT = ROOT / programs.BUILD / "mutation/reach.json"
TOO_LONG = 30  # seconds of a processor


class Reach:
    """`rows` is {program: {"key": hash, "seconds": of a processor, "code": {source: [lines]},
    "lines": {source: [lines]}}}: lines that have code, and those of them that are executed. `code`
    is that of all programs."""

    def __init__(self, names):
        build(names)
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        self.rows, self.code = {}, {}
        self.hits = collections.Counter()  # (source, program): mistakes that it noticed
        for name in names:
            key = hashlib.sha256((ROOT / COUNTED / "san" / name).read_bytes()).hexdigest()
            if kept.get(name, {}).get("key") != key:
                kept[name] = dict(count(name), key=key)
                RESULT.write_text(json.dumps(kept))
            self.rows[name] = kept[name]
            for source, numbers in self.rows[name]["code"].items():
                self.code.setdefault(source, set()).update(numbers)

    def programs_of(self, source, index, patience):
        """Programs that execute a line (index: from 0), the one to run first in front, until their
        costs together are more than the patience."""
        number = self.line_of(source, index + 1)
        names = [name for name, row in self.rows.items() if number in row["lines"].get(source, ())]
        names.sort(key=lambda name: (self.cost(name, source), name))
        sums = itertools.accumulate(self.cost(name, source) for name in names)
        return [name for name, total in zip(names, sums) if total <= patience or name == names[0]]

    def line_of(self, source, number):
        """The line that has the code of a line: a statement of several lines may be counted at its
        beginning."""
        return max((line for line in self.code.get(source, ()) if line <= number), default=0)

    def cost(self, name, source):
        """Seconds; less for programs that are likely to notice, because they mirror the file or its
        folder, or because they noticed another mistake in it."""
        path = pathlib.Path(source)
        beside = f"/{path.parent}/" in f"/{name}"
        mirror = beside and pathlib.Path(name).name == f"test_{path.stem}"
        likely = (20 if mirror else 5 if beside else 1) + 2 * self.hits[source, name]
        return self.rows[name]["seconds"] / likely


def build(names):
    """Let make build the programs with counters. Third-party sources are not fetched again."""
    print("the programs are built with counters", flush=True)
    subprocess.run(["make", "-s", f"-j{os.environ.get('JOBS', 2)}", f"BUILD={COUNTED}",
                    "CC=gcc --coverage", "SAN_FLAGS=", "SAN_CFLAGS=$(COV_CFLAGS)",
                    f"THIRD_PARTY={programs.BUILD}/third_party",
                    *(f"{COUNTED}/san/{name}" for name in names)],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def count(name):
    """Run a program with counters; return its row."""
    print(f"counted: {name}", flush=True)
    objects = ROOT / COUNTED / "san/obj"
    for path in objects.rglob("*.gcda"):
        path.unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(["prlimit", f"--cpu={TOO_LONG}", ROOT / COUNTED / "san" / name],
                          cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"mutate: {name} fails without a mistake (exit status {done.returncode})")
    row = {"seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
           "lines": {}, "code": {}}
    wanted = set(mutants.sources(""))
    paths = [str(path) for path in objects.rglob("*.gcda")
             if str(path.relative_to(objects).with_suffix(".c")) in wanted]
    for source, lines in gcov(paths):
        if source in wanted:
            row["code"][source] = sorted({line["line_number"] for line in lines})
            row["lines"][source] = sorted({line["line_number"] for line in lines if line["count"]})
    return row


def gcov(paths):
    """gcov's account of the counters: (source, lines) pairs."""
    if not paths:
        return
    done = subprocess.run(["gcov", "--json-format", "--stdout", *paths], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    for text in done.stdout.splitlines():
        for file in json.loads(text)["files"]:
            yield file["file"], file["lines"]

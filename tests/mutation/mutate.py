#!/usr/bin/python3
"""Mutation testing of the tests: make small mistakes in the code, and see whether a test notices.

    tests/mutation/mutate.py [--count 60] [--seed N] [--only PART] [-j N] [--patience 10]
                             [--json FILE [--resume]]
    tests/mutation/mutate.py --list --count 400 --seed 1     only show the mutants

A mutant is one change in one function: a relation or a logical operator is turned, a constant is
changed, a statement is left out, two arguments are swapped, or a check that ends a function is
removed (mutants.py). Its file is compiled again. Each test program of `make san` that executes the
line (reach.py) is linked with it (programs.py) and run, the quickest first, until one fails:
caught. First all run without sanitizers, and with them when none has failed. Only those are run
that take --patience seconds together, without sanitizers, and a quarter of that with them; the
seconds of programs that mirror the file's folder count a fifth. A mistake should be noticed by a
quick test beside it. A line that no program executes counts as survived.

Mutants that cannot be noticed, because they do the same, are listed with the reason in
tests/mutation/equivalent.txt. A mutant that does not compile is not counted. The result is text,
and JSON with --json, which is written every few seconds; with --resume, mutants that this file has
as caught are not judged again. The exit status is 1 if a mutant survived.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.mutation import mutants, programs  # noqa: E402
from tests.mutation.reach import Reach  # noqa: E402


WRITE_EVERY = 10  # seconds
SLOWER_WITH_SANITIZERS = 4


def judge(variants, mutant, names_of, seconds_of):
    """Fill in the mutant's result. variants: pairs of Programs and their patience; the next is
    asked when the one before has noticed nothing. names_of(mutant, patience): programs that may
    notice, in order."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=work_folder()))
    try:
        for variant, patience in variants:
            if not programs.compile_mutant(variant, mutant, folder):
                mutant.result = "does not compile"
                return
            names = names_of(mutant, patience)
            mutant.result = "survived" if names else "not executed"
            for name in names:
                program = programs.link_mutant(variant, name, mutant, folder)
                status = programs.run_program(program, seconds_of(name))
                if status != 0:
                    mutant.result = "caught"
                    mutant.by = name + (" (time)" if status is None else "")
                    return
    finally:
        shutil.rmtree(folder)


def work_folder():
    folder = programs.ROOT / programs.BUILD / "mutation/work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def show(mutant):
    print(f"{mutant.result:<9} {mutant.kind:<9} {mutant.source}:{mutant.number + 1}"
          f"{'  by ' + mutant.by if mutant.by else ''}", flush=True)
    if mutant.result != "caught":
        print(f"    {mutant.before.strip()}\n    {mutant.after.strip()}", flush=True)


class Run:
    """A run: judges the mutants, shows each, and writes the file of results."""

    def __init__(self, seed, chosen, path):
        self.seed = seed
        self.chosen = chosen
        self.path = path
        self.lock = threading.Lock()
        self.written = 0.0

    def resume(self):
        """Take over what the file has. Those that survived are judged again, and last."""
        old = json.loads(self.path.read_text())["mutants"] if self.path.exists() else []
        rows = {(row["kind"], row["nth"], row["source"], row["before"], row["after"]): row
                for row in old if row["result"]}
        known = []
        for mutant in self.chosen:
            row = rows.get((mutant.kind, mutant.nth, mutant.source, mutant.before, mutant.after))
            if row and row["result"] != "equivalent":
                mutant.result, mutant.by = row["result"], row["by"]
                known.append(mutant)
        self.chosen = [mutant for mutant in self.chosen if mutant not in known] + known

    def judge_all(self, jobs, patience):
        excused = mutants.equivalents()
        for mutant in self.chosen:
            if mutant.key() in excused:
                mutant.result, mutant.by = "equivalent", excused[mutant.key()]
        left = [mutant for mutant in self.chosen
                if mutant.result not in ("caught", "equivalent", "does not compile")]
        names = programs.test_names()
        programs.build_plain(names)
        plain = programs.Programs(names, f"{programs.PLAIN}/san", programs.PLAIN_SETTINGS)
        variants = ((plain, patience),
                    (programs.Programs(names, programs.SAN), patience / SLOWER_WITH_SANITIZERS))
        reach = Reach(names)
        for mutant in self.chosen:
            reach.hits[mutant.source, mutant.by] += mutant.result == "caught"

        def one(mutant):
            judge(variants, mutant,
                  lambda its, most: reach.programs_of(its.source, its.number, most),
                  lambda name: reach.rows[name]["seconds"])
            reach.hits[mutant.source, mutant.by] += mutant.result == "caught"
            self.done(mutant)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, left))

    def done(self, mutant):
        with self.lock:
            show(mutant)
            if time.monotonic() > self.written + WRITE_EVERY:
                self.write()
                self.written = time.monotonic()

    def counts(self):
        """{result: how many} of the mutants that were judged."""
        return collections.Counter(mutant.result for mutant in self.chosen if mutant.result)

    def write(self):
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(
                {"seed": self.seed, "counts": self.counts(),
                 "mutants": [dataclasses.asdict(mutant) for mutant in self.chosen]}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", help="a part of the name of the files")
    parser.add_argument("-j", type=int, default=1, dest="jobs", help="mutants at a time")
    parser.add_argument("--patience", type=float, default=8,
                        help="seconds of a processor for the programs that may notice a mutant")
    parser.add_argument("--list", action="store_true", help="show the mutants and end")
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    parser.add_argument("--resume", action="store_true", help="keep what the file has as caught")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    chosen = mutants.choose(args.count, seed, args.only)
    print(f"seed {seed}, {len(chosen)} mutants", flush=True)
    if args.list:
        for mutant in chosen:
            show(mutant)
        return 0
    run = Run(seed, chosen, args.json)
    if args.resume and args.json:
        run.resume()
    run.judge_all(args.jobs, args.patience)
    run.write()
    return report(run.counts())


def report(counts):
    """Print the sums; return the exit status."""
    print(", ".join(f"{number} {result}" for result, number in sorted(counts.items())))
    survived = counts["survived"] + counts["not executed"]
    judged = counts["caught"] + survived
    if judged:
        print(f"{counts['caught'] / judged:.1%} of {judged} mutants were caught")
    return 1 if survived or not judged else 0


if __name__ == "__main__":
    sys.exit(main())

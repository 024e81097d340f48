"""Lines and branches of core/ that the host's test programs reach; `make coverage` calls this.

    coverage.py --build build --lines 100 --branches 95 --sources core/... --programs build/cov/...

Runs the test programs of the cov variant, which alone have to reach everything, then asks gcov
about each source. Code in headers counts for every source that has it, once reached is reached. A
line that no test can reach, or that has a branch which none can take, says so itself:
`/* not covered: REASON */`; it is left out of the sums and listed with its reason. The comment is
stale where everything on its line was reached after all, or where there is no code.

Prints a table, and fails when a program fails, a total is below its threshold, or a comment is
stale. Not a suite: no test_ in the name, not executable.
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import time

NAMED = re.compile(r"/\* not covered: (.+?) \*/")
JOBS = 2
SLOW = 10  # seconds; what takes longer is said


def run_programs(programs, build):
    """Run them all on fresh counters; return the names of those that fail."""
    for path in (build / "cov").rglob("*.gcda"):
        path.unlink()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return [name for name in pool.map(run_program, programs) if name]


def run_program(program):
    """Run one; return its name if it fails."""
    begin = time.monotonic()
    result = subprocess.run([program], capture_output=True, text=True, check=False,
                            errors="replace")
    seconds = time.monotonic() - begin
    if seconds > SLOW:
        print(f"coverage: {program} took {seconds:.0f} s", flush=True)
    if result.returncode == 0:
        return ""
    lines = [line for line in result.stdout.splitlines() if line.startswith("not ok")]
    print("\n".join([f"coverage: {program} fails", *lines[:10]]), flush=True)
    return program


def gcov(source, build):
    """gcov's account of one object: [file, lines] pairs."""
    notes = (build / "cov" / "obj" / source).with_suffix(".gcno")
    result = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                             str(notes)], capture_output=True, text=True, check=True)
    for text in result.stdout.splitlines():
        for file in json.loads(text)["files"]:
            yield file["file"], file["lines"]


class File:
    """What is known of one source: how often each line ran, and each branch of it."""

    def __init__(self):
        self.lines = collections.Counter()
        self.branches = {}

    def add(self, line):
        number = line["line_number"]
        self.lines[number] += line["count"]
        old = self.branches.get(number, [])
        new = [branch["count"] for branch in line["branches"]]
        size = max(len(old), len(new))
        pairs = zip(old + [0] * (size - len(old)), new + [0] * (size - len(new)))
        self.branches[number] = [a + b for a, b in pairs]

    def leave_out(self, path):
        """Drop the lines that say why nothing reaches them; return {line: reason} of those that
        are right, and the stale ones."""
        named, stale = {}, {}
        for number, text in enumerate(path.read_text().splitlines(), 1):
            match = NAMED.search(text)
            if not match:
                continue
            count = self.lines.pop(number, None)
            branches = self.branches.pop(number, [])
            reached = count is None or (count > 0 and 0 not in branches)
            (stale if reached else named)[number] = match[1]
        return named, stale

    def counts(self):
        """(lines reached, lines, branches reached, branches)"""
        branches = [count for counts in self.branches.values() for count in counts]
        return (sum(count > 0 for count in self.lines.values()), len(self.lines),
                sum(count > 0 for count in branches), len(branches))

    def missing(self):
        """Lines that never ran, and after them lines with a branch never taken, marked ?"""
        lines = [number for number, count in sorted(self.lines.items()) if count == 0]
        partly = [f"{number}?" for number, counts in sorted(self.branches.items())
                  if 0 in counts and self.lines[number] > 0]
        return " ".join([*ranges(lines), *partly])


def ranges(numbers):
    """[3, 4, 5, 9] as 3-5, 9."""
    found = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def collect(sources, build):
    files = collections.defaultdict(File)
    for source in sources:
        for name, lines in gcov(source, build):
            if name.startswith(("core/", "include/")):
                for line in lines:
                    files[name].add(line)
    return files


def row(name, counts, missing=""):
    lines, of_lines, branches, of_branches = counts
    print(f"{name:<26} {lines:5}/{of_lines:<5} {percent(lines, of_lines):5.1f} % "
          f"{branches:5}/{of_branches:<5} {percent(branches, of_branches):5.1f} %  {missing}"
          .rstrip())


def report(files):
    """Print the table; return the totals."""
    total = [0, 0, 0, 0]
    named, stale = [], []
    print(f"{'file':<26} {'lines':^19} {'branches':^19}  never run; ? branch never taken")
    for name, file in sorted(files.items()):
        found = file.leave_out(pathlib.Path(name))
        for kind, entries in zip((named, stale), found):
            kind += [f"{name}:{number}: {reason}" for number, reason in entries.items()]
        counts = file.counts()
        row(name, counts, file.missing())
        total = [a + b for a, b in zip(total, counts)]
    row("total", total)
    print("\n".join([f"{len(named)} lines say why no test reaches them:", *named]))
    if stale:
        print("\n".join([f"coverage: {len(stale)} lines say so and are reached:", *stale]))
    return total, stale


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default="build")
    parser.add_argument("--lines", type=float, default=0)
    parser.add_argument("--branches", type=float, default=0)
    parser.add_argument("--sources", nargs="+", required=True)
    parser.add_argument("--programs", nargs="+", required=True)
    args = parser.parse_args()
    failed = run_programs(args.programs, args.build)
    total, stale = report(collect(args.sources, args.build))
    failed += stale
    lines, branches = percent(*total[:2]), percent(*total[2:])
    if lines < args.lines or branches < args.branches:
        print(f"coverage: wanted {args.lines} % of lines and {args.branches} % of branches")
        failed.append("threshold")
    sys.exit(1 if failed else 0)


main()

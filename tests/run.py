#!/usr/bin/python3
"""Run the test suites and total their cases; `make test` ends with this.

    tests/run.py [--build build] [--list] [--jobs 2] [PART ...]    PART selects suites by name

A suite is a program found by where it is stored:

    build/san/tests/DIR/test_*    one per tests/DIR/test_*.c, built with the sanitizers
    tests/**/test_*.py, test_*.sh
    tests/lint/*                  every executable there

It prints `ok - name` or `not ok - name: why` per case and ends with `N passed, N failed`. The lines
are what counts: a suite that crashes, runs out of time, ran no case, or whose total does not agree
with its lines gets one failed case of its own. A C test that was not built is a failure too. Suites
below tests/boot/ run QEMU; two suites run at a time, the long ones first. Limits of time are
seconds of the reference machine (tools/speed.py), so a busy machine waits longer.

The last line is the total, `N passed, N failed`, and the exit status is 1 when anything failed.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import speed  # noqa: E402

SUITE_TIMEOUT = 600
BOOT_TIMEOUT = 900
TAIL_LINES = 40

CASE = re.compile(r"^(ok|not ok) - (.*)$")
# The search for leaks takes half of the time of a command that does little. Suites of commands
# start thousands of them, so it is done in those that run every verb.
COMMANDS = "tests/interop/"
LEAK_SEARCHES = ("test_cli.py", "test_write_cli.py", "test_bitmaps.py", "test_io.py")
# The end of a suite in which a case failed; wrong when none did.
FAILED_ONLY = "ended with exit status 1 without a failing case"
TOTAL = re.compile(r"^(\d+) passed, (\d+) failed$")


@dataclasses.dataclass
class Suite:
    """A program that runs cases."""

    name: str
    command: list
    timeout: int = SUITE_TIMEOUT
    missing: str = ""


@dataclasses.dataclass
class Result:
    """What a suite did; `failures` are lines to show."""

    suite: Suite
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list = dataclasses.field(default_factory=list)
    output: str = ""


def c_suites(root, build):
    for source in sorted((root / "tests").rglob("test_*.c")):
        name = source.relative_to(root).with_suffix("")
        program = root / build / "san" / name
        missing = "" if program.exists() else f"{program.relative_to(root)} was not built"
        yield Suite(str(name), [str(program)], missing=missing)


def script_suites(root):
    tests = root / "tests"
    scripts = {*tests.rglob("test_*.py"), *tests.rglob("test_*.sh")}
    scripts |= {path for path in tests.glob("lint/*")
                if path.is_file() and os.access(path, os.X_OK)}
    for path in sorted(scripts):
        name = str(path.relative_to(root))
        command = ["/usr/bin/python3", str(path)] if path.suffix == ".py" else [str(path)]
        is_boot = path.is_relative_to(tests / "boot")
        yield Suite(name, command, BOOT_TIMEOUT if is_boot else SUITE_TIMEOUT)


def find_suites(root, build, parts):
    """All suites that a part of PARTS selects; the long ones first: boots, then what tries every
    power cut. One that runs alone at the end makes the whole run longer."""
    suites = [*c_suites(root, build), *script_suites(root)]
    chosen = [suite for suite in suites
              if not parts or any(part in suite.name for part in parts)]
    return sorted(chosen, key=lambda suite: (-suite.timeout, "cuts" not in suite.name, suite.name))


class Running:
    """The processes that run now, which an interrupt ends, and the clock of their limits."""

    def __init__(self, clock=None):
        self.clock = clock or speed.Clock()
        self.lock = threading.Lock()
        self.groups = set()

    def add(self, process):
        with self.lock:
            self.groups.add(process.pid)

    def discard(self, process):
        with self.lock:
            self.groups.discard(process.pid)

    def kill_all(self):
        with self.lock:
            for group in self.groups:
                kill_group(group)


def kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def finish(process, timeout, clock):
    """Wait for a process, so many seconds of the clock; return (its output, why it was ended)."""
    deadline = clock.seconds() + timeout
    while True:
        try:
            return process.communicate(timeout=0.5)[0], ""
        except subprocess.TimeoutExpired:
            if clock.seconds() > deadline:
                kill_group(process.pid)
                return process.communicate()[0], f"ran longer than {timeout} s"


def wants_leaks(suite):
    """Are leaks searched for in the programs of this suite?"""
    return not suite.name.startswith(COMMANDS) or suite.name.endswith(LEAK_SEARCHES)


def execute(suite, root, running):
    """Run the program; return (its output, why it ended badly or "")."""
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C.UTF-8",
                       UBSAN_OPTIONS="print_stacktrace=1",
                       ASAN_OPTIONS=f"detect_leaks={int(wants_leaks(suite))}")
    try:
        process = subprocess.Popen(suite.command, cwd=root, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    except OSError as error:
        return "", f"does not start: {error}"
    running.add(process)
    try:
        output, why = finish(process, suite.timeout, running.clock)
    finally:
        running.discard(process)
    return output.decode(errors="replace"), why or ending(process.returncode)


def ending(status):
    """What an exit status says: 0 and 1 are answers, the rest is a crash."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return {0: "", 1: FAILED_ONLY}.get(status, f"ended with exit status {status}")


def disagreement(output, counted):
    """What is wrong with a suite's total, given what its case lines say; "" if nothing."""
    lines = [line for line in output.splitlines() if line.strip()]
    total = TOTAL.match(lines[-1]) if lines else None
    if not total:
        return "did not end with its total"
    if tuple(map(int, total.groups())) != counted:
        return f"says '{total.group()}' but its lines say {counted[0]} passed, {counted[1]} failed"
    return "ran no case" if counted == (0, 0) else ""


def judge(suite, output, why):
    """Count the case lines of a suite's output and add what is wrong with the suite as a whole."""
    result = Result(suite, output=output)
    for line in output.splitlines():
        match = CASE.match(line)
        if match and match.group(1) == "ok":
            result.passed += 1
        elif match:
            result.failed += 1
            result.failures.append(line)
    if why == FAILED_ONLY and result.failed > 0:
        why = ""
    why = why or disagreement(output, (result.passed, result.failed))
    if why:
        result.failed += 1
        result.failures.append(f"not ok - {suite.name}: {why}")
    return result


def run_suite(suite, root, running):
    begin = time.monotonic()
    output, why = ("", suite.missing) if suite.missing else execute(suite, root, running)
    result = judge(suite, output, why)
    result.seconds = time.monotonic() - begin
    return result


def report(result):
    """One line for the suite; the failing cases and the end of its output when it failed."""
    word = "FAIL" if result.failed else "pass"
    print(f"{word}  {result.suite.name:<52} {result.passed:>5} passed {result.failed:>3} failed "
          f"{result.seconds:>7.1f} s")
    if result.failed:
        for line in result.failures:
            print(f"      {line}")
        rest = [line for line in result.output.splitlines() if not CASE.match(line)]
        for line in rest[-TAIL_LINES:]:
            print(f"      | {line}")
    sys.stdout.flush()


def run_all(suites, root, jobs):
    """Run the suites, reporting each as it ends; return (passed, failed)."""
    running = Running()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            futures = [pool.submit(run_suite, suite, root, running) for suite in suites]
            for future in concurrent.futures.as_completed(futures):
                result = future.result()
                report(result)
                passed += result.passed
                failed += result.failed
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            running.kill_all()
            raise
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="run suites with this in the name")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the project's folder")
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    parser.add_argument("--jobs", type=int, default=2, help="suites at a time")
    parser.add_argument("--list", action="store_true", help="only list the suites")
    args = parser.parse_args()
    suites = find_suites(args.root, args.build, args.parts)
    if args.list:
        print("\n".join(suite.name for suite in suites))
        return
    begin = time.monotonic()
    passed, failed = run_all(suites, args.root, args.jobs)
    print(f"{len(suites)} suites in {time.monotonic() - begin:.0f} s")
    if not suites:
        print("no suite was found")
        failed = 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

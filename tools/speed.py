#!/usr/bin/python3
"""How fast this machine is now, so that waits for a result do not depend on other programs.

A wait that is bounded in seconds fails on a busy machine although nothing is wrong. So limits of
time are given in seconds of a reference machine. A fixed piece of work is timed, and seconds are
stretched by the ratio to what that work takes on the reference machine with nothing else to do.

    speed.stretch(60)            for one call: 60 seconds of the reference machine, as they are now
    clock = speed.Clock()        for long waits: measures again and again while it runs
    clock.seconds()              seconds of the reference machine since it was made

    speed.py SECONDS COMMAND ... run a command for that long at most; exit status 124 if it is over
    speed.py SECONDS             print the seconds of a watch, rounded up

The measurement includes what other programs take, a slow processor, and a lower priority of the
test. May call the standard library only. Invariant: a second of the reference machine is never
shorter here than a second of a watch.
"""

import math
import os
import signal
import subprocess
import sys
import threading
import time

# Seconds that work() takes on the reference machine: one processor of 2.1 GHz (AMD EPYC), idle.
REFERENCE = 0.05
NB_STEPS = 1_500_000
# Between two measurements of a clock. The work costs 2 % of a processor.
PERIOD = 2.5
# A process that has slept runs at once for some milliseconds, so work() sees less of the load than
# a program that has run all the time. So a ratio above BUSY is multiplied by BUSY_MARGIN.
BUSY = 1.3
BUSY_MARGIN = 1.6


def work():
    """The fixed piece of work."""
    total = 0
    for number in range(NB_STEPS):
        total += number & 7
    return total


def measure():
    """How many times longer things take than on the reference machine; at least 1."""
    begin = time.monotonic()
    work()
    ratio = (time.monotonic() - begin) / REFERENCE
    return max(1.0, ratio * BUSY_MARGIN if ratio > BUSY else ratio)


_last = (0.0, 1.0)  # when it was measured, and the factor


def factor():
    """The factor of now, measured anew when the last measurement is some seconds old."""
    global _last  # pylint: disable=global-statement # one measurement for the whole process
    when, value = _last
    if time.monotonic() - when > PERIOD or when == 0.0:
        value = (value + 2 * measure()) / 3 if when else measure()
        _last = (time.monotonic(), value)
    return value


def stretch(seconds):
    """Seconds of the reference machine as seconds of a watch, for a short wait that begins now."""
    return seconds * max(factor(), measure())


class Clock:
    """Counts seconds of the reference machine. Measures from a thread until stop() is called."""

    def __init__(self, measured=measure, now=time.monotonic, period=PERIOD):
        self.measured = measured
        self.now = now
        self.period = period
        self.factor = measured()
        self.counted = 0.0
        self.since = now()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(self.period):
            self.take(self.measured())

    def take(self, value):
        """A new measurement: time so far passed at the old factor. Single ones are noisy."""
        with self.lock:
            now = self.now()
            self.counted += (now - self.since) / self.factor
            self.since = now
            self.factor = (self.factor + value) / 2

    def seconds(self):
        with self.lock:
            return self.counted + (self.now() - self.since) / self.factor

    def stop(self):
        self.ended.set()
        self.thread.join()


def run_limited(seconds, command):
    """Run a command in a group of its own; return its exit status, 124 when it was stopped."""
    clock = Clock()
    process = subprocess.Popen(command, start_new_session=True)
    try:
        while True:
            try:
                return process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                if clock.seconds() > seconds:
                    print(f"speed: stopped after {seconds:.0f} s of the reference machine: "
                          f"{' '.join(command)}", file=sys.stderr)
                    return 124
    finally:
        clock.stop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if len(sys.argv) == 2:
        print(math.ceil(stretch(float(sys.argv[1]))))
        sys.exit(0)
    STATUS = run_limited(float(sys.argv[1]), sys.argv[2:])
    sys.exit(STATUS if STATUS >= 0 else 128 - STATUS)

#!/usr/bin/python3
"""tools/speed.py: limits of time follow the speed of the machine, and still end what hangs."""

import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests import cases  # noqa: E402
from tools import speed  # noqa: E402
from tools.qemu.machine import Machine, MachineError  # noqa: E402


class Watch:
    """A watch that is set by hand."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def clock(watch, factor):
    """A clock that measures once and never by itself again."""
    return speed.Clock(measured=lambda: factor, now=watch, period=3600)


def test_clock_of_the_reference_machine_counts_seconds():
    watch = Watch()
    made = clock(watch, 1.0)
    watch.time += 30
    cases.check_equal(made.seconds(), 30.0, "seconds")
    made.stop()


def test_clock_of_a_slow_machine_counts_slowly():
    watch = Watch()
    made = clock(watch, 5.0)
    watch.time += 30
    cases.check_equal(made.seconds(), 6.0, "seconds")
    made.stop()


def test_clock_keeps_what_passed_before_the_machine_became_busy():
    watch = Watch()
    made = clock(watch, 1.0)
    watch.time += 10
    made.take(7.0)  # counts half, the other half is the factor before: 4
    cases.check_equal(made.seconds(), 10.0, "seconds at the measurement")
    watch.time += 40
    cases.check_equal(made.seconds(), 20.0, "seconds after it")
    made.stop()


def test_clock_measures_again_by_itself():
    values = iter([1.0, 3.0])
    made = speed.Clock(measured=lambda: next(values, 3.0), period=0.01)
    for _ in range(1000):
        if made.factor > 2.5:
            break
        time.sleep(0.01)
    made.stop()
    cases.check(made.factor > 2.5, f"the factor stays {made.factor}")


def test_measure_is_never_below_one():
    steps = speed.NB_STEPS
    speed.NB_STEPS = 1  # as on a machine that is a thousand times faster
    try:
        cases.check_equal(speed.measure(), 1.0, "the factor")
        cases.check(speed.stretch(60) >= 60, "60 seconds are shorter than 60 seconds")
    finally:
        speed.NB_STEPS = steps


def test_measure_sees_a_machine_that_is_slower():
    steps = speed.NB_STEPS
    try:
        speed.NB_STEPS = 4 * steps  # as on a machine that is four times slower
        cases.check(speed.measure() > 2, "a slow machine is not noticed")
    finally:
        speed.NB_STEPS = steps


def test_command_has_its_exit_status_and_a_limit():
    program = str(ROOT / "tools/speed.py")
    done = subprocess.run([program, "60", "/bin/sh", "-c", "exit 7"], check=False)
    cases.check_equal(done.returncode, 7, "exit status of a command that ends")
    done = subprocess.run([program, "0.5", "/bin/sh", "-c", "sleep 600 & wait"], check=False,
                          capture_output=True)
    cases.check_equal(done.returncode, 124, "exit status of a command that hangs")
    done = subprocess.run([program, "60"], check=True, capture_output=True)
    cases.check(int(done.stdout) >= 60, f"{done.stdout} is less than 60")


def test_machine_waits_by_its_clock():
    """A limit of 20 s on a machine that is ten times slower: 100 s by the watch are within it."""
    watch = Watch()
    machine = Machine([], timeout=20)
    machine.clock = clock(watch, 10.0)
    machine.started = time.monotonic()
    texts = iter(["", "", "it came\n"])

    def pump(_):
        watch.time += 50
        machine.text += next(texts, "")
        return True

    machine.pump = pump
    cases.check_equal(machine.expect("it came").group(), "it came", "what was waited for")
    try:
        machine.expect("never")
    except MachineError as error:
        cases.check("no 'never'" in str(error), str(error))
    else:
        raise cases.Failure("a wait without a result has no end")
    machine.clock.stop()


if __name__ == "__main__":
    cases.main(globals())

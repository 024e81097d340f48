"""Cases of a test program in Python: functions test_*, run in the order they are written.

    from tests import cases
    def test_boot_data_file_named_in_image(): ...
    if __name__ == "__main__":
        cases.main(globals())

A case fails by an exception (assert, MachineError, ToolError, ...). The output is what tests/run.py
counts: `ok - name`, `not ok - name: why`, details after `#`, and a total as the last line. Names
given as arguments select cases by a part of their name.
"""

import sys
import time
import traceback


class Failure(Exception):
    """What a check found wrong; shown without a traceback."""


def check(condition, why):
    if not condition:
        raise Failure(why)


def check_equal(got, want, what):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


def run_case(name, function):
    """Run one case, print its line, return whether it passed."""
    begin = time.monotonic()
    try:
        function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pylint: disable=broad-except # a case must not end the suite
        first, *rest = (str(error) or type(error).__name__).splitlines()
        print(f"not ok - {name}: {first}")
        if not isinstance(error, Failure) and not rest:
            rest = traceback.format_exc().splitlines()
        for line in rest:
            print(f"# {line}")
        return False
    else:
        print(f"ok - {name}")
        return True
    finally:
        print(f"# {name}: {time.monotonic() - begin:.1f} s", flush=True)


def main(names, arguments=None):
    """Run the test_* functions among `names` (a module's globals()); exit 1 when one fails."""
    wanted = sys.argv[1:] if arguments is None else arguments
    found = [(name, value) for name, value in names.items()
             if name.startswith("test_") and callable(value)
             and (not wanted or any(part in name for part in wanted))]
    passed = sum(run_case(name, function) for name, function in found)
    print(f"{passed} passed, {len(found) - passed} failed")
    sys.exit(0 if found and passed == len(found) else 1)

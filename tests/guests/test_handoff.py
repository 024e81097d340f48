#!/usr/bin/python3
"""A whole Debian runs from an image on a stick and keeps its disk: firmware, GRUB, kernel, root
file system read-write, power-off; then the stick is judged. One of the rows of run_guests.py.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.guests import rows, run_guests  # noqa: E402


def test_handoff_grub_with_data_file():
    options = argparse.Namespace(rounds=1, cuts=0, keep=False)
    result = run_guests.run_row(rows.find("grub"), options)
    cases.check(any("lane: mixed" in line for line in result["log"]),
                f"the kernel log does not name the lane: {result['log']}")
    locked = int(result["server"].split()[1])
    cases.check(12 * 1024 < locked <= 16 * 1024, f"{locked} KiB of the server are locked")
    cases.check(not any("room" in line for line in result["log"]),
                f"the kernel log tells of room that is there: {result['log']}")


if __name__ == "__main__":
    cases.main(globals())

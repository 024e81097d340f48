#!/usr/bin/python3
"""One Debian guest runs from an image on a stick by the hand-off, without our firmware: the part of
tests/guests/guests.py that `make test` has.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.guests import guests  # noqa: E402


def test_handoff_server_gives_the_guest_its_disk():
    guests.test_server_rw_data_file()


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""The driver comes and goes many times; handles and free memory of the firmware are what they were.

driver_rounds.py [ROUNDS]   load, connect, disconnect, unload: 100 times if nothing is said

Not part of `make test`: under emulation it takes minutes.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tests.boot.test_boot_driver import DRIVER_PATH, TWICE  # noqa: E402

ROUNDS = 100
ENTRY = {"image": "/img/debian.qcow2", "attach": "yes"}


def test_driver_rounds_leave_handles_and_memory_as_they_were():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    files = {DRIVER_PATH: harness.DRIVER, **TWICE}
    with harness.stick(image="data-file", entry=ENTRY, files=files, application=None) as stick:
        with harness.shell(stick) as shell:
            output = shell.shell(f"fs0:\\probe.efi rounds fs0:\\metalcowdxe.efi {rounds}",
                                 timeout=10 * rounds + 60)
    cases.check("probe: rounds ok" in output, output)
    print(f"# {rounds} rounds: {output.strip().splitlines()[-1]}")


if __name__ == "__main__":
    cases.main(globals(), [])

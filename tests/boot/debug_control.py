#!/usr/bin/python3
"""The firmware of `make test-debug-firmware` tells of wrong calls: each is made once, on purpose.

Without this the other boot tests might pass there because nothing is told, or nobody listens.
METALCOW_OVMF names the firmware's folder; its name says which build it is.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools.qemu.machine import OVMF, MachineError  # noqa: E402

PROBE = harness.BUILD / "x64/tests/probe.efi"

# Build, fault of probe.efi, what the firmware says.
FAULTS = (
    ("plain", "tpl", "FATAL ERROR - RestoreTpl"),
    ("plain", "free-twice", "the pages to free have been freed"),
    ("plain", "overrun", "Tail->Signature"),
    ("plain", "read-null", "Page-Fault"),
    ("guarded", "overrun", "Page-Fault"),
    ("freed", "read-freed", "Page-Fault"),
)


def check_fault(fault, text):
    """The fault must end the machine's next wait or its `with`, and the message must say why."""
    try:
        with harness.stick(files={"/probe.efi": PROBE}, application=None) as stick:
            with harness.shell(stick) as shell:
                shell.shell(f"probe.efi fault {fault}")
    except MachineError as error:
        why = str(error)
        cases.check(text in why.splitlines()[0] and f"fault {fault}" in why,
                    f"{fault}: no '{text}' in:\n{why}")
    else:
        raise cases.Failure(f"{fault}: the firmware did not tell")


def test_debug_firmware_tells_of_wrong_calls():
    rows = [(fault, text) for build, fault, text in FAULTS if build == OVMF.name]
    cases.check(rows, f"METALCOW_OVMF is {OVMF}, which is no debug firmware")
    for fault, text in rows:
        check_fault(fault, text)


if __name__ == "__main__":
    cases.main(globals())

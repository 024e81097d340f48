#!/usr/bin/python3
"""`metalcow install` and `uninstall`: the firmware's boot manager starts what they wrote.

The application is stored as \\metalcow.efi, where no firmware looks by itself.
"""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402

ENTRY = {"image": "/img/debian.qcow2"}
PROGRAM = "/metalcow.efi"


@contextlib.contextmanager
def installed(*commands):
    """A stick and firmware variables after a visit to the shell; yields (stick, variables) for the
    next boot. commands: (what to say to metalcow, what it must answer)."""
    with harness.kept_variables() as variables, \
            harness.stick(image="data-file", entry=ENTRY, application=PROGRAM) as stick:
        with Machine([Drive(stick, snapshot=False)], log=harness.log_path(),
                     variables=variables) as running:
            running.enter_shell()
            running.shell("fs0:")
            for words, answer in commands:
                check_answer(running, words, answer)
            remove_shell_option(running)
            running.send_line("reset -s")
            running.wait_end()
        yield stick, variables


def check_answer(running, words, answer):
    said = " ".join(running.shell(words).split())
    cases.check(answer in said, f"'{words}' said '{said}', not '{answer}'")


def remove_shell_option(shell):
    """The shell's boot option is made again at each boot, and then comes after the new disk's."""
    for block in shell.shell("bcfg boot dump").split("Option: ")[1:]:
        if "EFI Internal Shell" in block:
            shell.shell(f"bcfg boot rm {block.split('.')[0].strip()}")


def test_boot_installed_driver_starts_the_guest():
    there = "Driver0000 is there already, nothing was changed"
    with installed(("metalcow install", "Driver0000 is new"),
                   ("metalcow install", there),
                   ("bcfg driver dump", "Driver0000"),
                   ("metalcow uninstall", "Driver0000 was taken out"),
                   ("metalcow uninstall", "nothing was changed"),
                   ("metalcow install fs0:\\metalcow.efi", "is no UEFI driver"),
                   ("metalcow install fs0:\\none.efi", "none.efi"),
                   ("metalcow install", "Driver0000 is new"),
                   ("metalcow install fs0:\\EFI\\metalcow\\metalcowdxe.efi", there)) as machine:
        stick, variables = machine
        text = harness.check_guest_boots(stick, variables=variables)
        cases.check("metalcow.efi" not in text, f"the application ran:\n{text[-1500:]}")


def test_boot_installed_application_starts_the_guest():
    with installed(("metalcow install --boot", "is new; at each boot it starts /metalcow."),
                   ("METALCOW.efi install --boot", "is there already, nothing was changed"),
                   ("metalcow uninstall --boot", "was taken out"),
                   ("metalcow install --boot", "is new")) as (stick, variables):
        text = harness.check_guest_boots(stick, variables=variables)
        cases.check("metalcow: starting Debian" in text, f"not by the application:\n{text[-1500:]}")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""The guest starts by the driver alone: no application on the stick, only metalcowdxe.efi."""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

DRIVER_PATH = "/metalcowdxe.efi"
ENTRY = {"image": "/img/debian.qcow2", "attach": "yes"}

# The probe, and a second disk of the same image.
TWICE = {"/probe.efi": harness.BUILD / "x64/tests/probe.efi",
         "/metalcow/entries/second.conf": b"image /img/debian.qcow2\n"}

# Starts the boot loader of whichever volume is the guest's ESP.
GO_SCRIPT = b"""for %d in 0 1 2 3 4 5
  if exist fs%d:\\EFI\\debian\\grub.cfg then
    fs%d:\\EFI\\BOOT\\BOOTX64.EFI
  endif
endfor
"""


@contextlib.contextmanager
def driver_stick(entry=None, **more):
    files = {DRIVER_PATH: harness.DRIVER, "/go.nsh": GO_SCRIPT, **more}
    with harness.stick(image="data-file", entry=entry or ENTRY, files=files,
                       application=None) as stick:
        yield stick


def test_boot_driver_variable_alone_starts_guest():
    """One boot installs Driver0000 from the shell; the next is the firmware's own boot manager."""
    with driver_stick() as stick, harness.kept_variables() as variables:
        with harness.shell(stick, variables=variables) as shell:
            output = shell.shell("bcfg driver add 0 fs0:\\metalcowdxe.efi metalcow")
            cases.check("Add Driver0000" in output, f"bcfg: {output}")
            remove_shell_option(shell)
            shell.send_line("reset -s")
            shell.wait_end()
        harness.check_guest_boots(stick, variables=variables)


def remove_shell_option(shell):
    """The shell's boot option is made again at each boot, and then comes after the new disk's."""
    dump = shell.shell("bcfg boot dump")
    for block in dump.split("Option: ")[1:]:
        if "EFI Internal Shell" in block:
            shell.shell(f"bcfg boot rm {block.split('.')[0].strip()}")


def test_boot_driver_loaded_in_shell_starts_guest():
    with driver_stick() as stick, harness.shell(stick) as shell:
        shell.shell("load fs0:\\metalcowdxe.efi")
        shell.shell("map -r")
        shell.send_line("go.nsh")
        harness.check_guest(shell)


def test_boot_driver_unload_takes_the_disk_away():
    """A path names one of two disks, the driver's diagnostics check them; then Stop and Unload undo
    everything: the block devices are those of before."""
    with driver_stick(**TWICE) as stick, harness.shell(stick) as shell:
        before = sorted(shell.shell("map -r").split())
        loaded = shell.shell("load fs0:\\metalcowdxe.efi")
        during = sorted(shell.shell("map -r").split())
        cases.check(during != before, f"load published nothing:\n{loaded}")
        for probe in ("named", "diagnose"):
            output = shell.shell(f"fs0:\\probe.efi {probe}")
            cases.check(f"probe: {probe} ok" in output, output)
        handle = driver_handle(shell)
        unloaded = shell.shell(f"unload -n {handle}")
        after = sorted(shell.shell("map -r").split())
        cases.check(after == before, f"unload left something:\n{unloaded}\n{' '.join(after)}")


def driver_handle(shell):
    """The handle of our driver as the shell's `drivers` shows it."""
    for line in shell.shell("drivers").splitlines():
        if "metalcow" in line.lower():
            return line.split()[0]
    raise cases.Failure("`drivers` does not list metalcow")


if __name__ == "__main__":
    cases.main(globals())

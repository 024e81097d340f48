#!/usr/bin/python3
"""A boot with a TPM: the firmware's log replays to what the guest finds in the registers, and what
SECURITY.md says is measured is in it.

The log is read out of the machine's memory. The part before GRUB is what GetEventLog() gives in the
shell; the rest is the table of final events, which stays when boot services end.
"""

import contextlib
import hashlib
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness, tpm  # noqa: E402
from tools import fs  # noqa: E402
from tools.guest import make_guest  # noqa: E402
from tools.qemu.machine import GAVE_UP, Drive, Machine  # noqa: E402

IMAGE = r"fs0:\img\debian.qcow2"
PROBE = harness.BUILD / "x64/tests/probe.efi"
LOG_SIZE = 64 * 1024  # the firmware's log and its table are not larger
WRITTEN_BY_LINUX = 10  # IMA's register

# Starts the loader of the volume that is in the disk; it has a folder that the stick has not.
GO_SCRIPT = """for %%d in 1 2 3 4 5
  if exist fs%%d:\\%s then
    fs%%d:\\EFI\\BOOT\\BOOTX64.EFI
  endif
endfor
"""
PROOF = {"grub": r"EFI\debian\grub.cfg", "systemd-boot": r"loader\loader.conf"}


def memory(machine, folder, address, size):
    """Bytes of the machine's memory."""
    path = folder / "memory"
    machine.qmp("pmemsave", val=address, size=size, filename=str(path))
    return path.read_bytes()


@contextlib.contextmanager
def machine_with_tpm(stick, folder):
    with tpm.emulator(folder) as words:
        # The guest powers off as soon as it has spoken; the machine stays, so its memory is read.
        with Machine([Drive(stick)], log=harness.log_path(),
                     extra=[*words, "-no-shutdown"]) as machine:
            machine.enter_shell()
            machine.shell("fs0:")
            yield machine


def measured_boot(loader):
    """Boot the guest of a loader; (events before the loader, events since, guest's registers)."""
    files = {"/probe.efi": PROBE, "/go.nsh": (GO_SCRIPT % PROOF[loader]).encode()}
    with tempfile.TemporaryDirectory(prefix="metalcow-tpm-", dir=harness.BUILD) as name:
        folder = pathlib.Path(name)
        with harness.stick(image="data-file", application="/metalcow.efi", files=files,
                           loader=loader) as stick, machine_with_tpm(stick, folder) as machine:
            said = machine.shell(f"metalcow.efi attach {IMAGE}")
            cases.check("disk 0:" in said, said)
            said = machine.shell("probe.efi tpm")
            found = re.search(r"probe: tpm ok, first (\d+) last (\d+) final (\d+)", said)
            cases.check(found, said)
            first, last, final = (int(number) for number in found.groups())
            before, sizes = tpm.parse_log(memory(machine, folder, first, LOG_SIZE), last - first)
            machine.shell("map -r")
            machine.send_line("go.nsh")
            start = machine.mark
            token = machine.expect(r"^METALCOW-GUEST-UP (\w+)\s*\n", absent=GAVE_UP).group(1)
            cases.check_equal(token, harness.guest_token(loader), "the guest's token")
            since = tpm.parse_final_events(memory(machine, folder, final, LOG_SIZE), sizes)
            registers = dict(re.findall(r"METALCOW-GUEST-PCR (\d+) (\w+)", machine.text[start:]))
    return before, since, {int(number): value for number, value in registers.items()}


def check_replays(events, registers):
    for number, value in tpm.replay(events).items():
        if number != WRITTEN_BY_LINUX:
            cases.check_equal(registers.get(number), value, f"register {number}")


def check_measured(events, kind, register, path, what):
    """A program was measured when it was loaded."""
    digest = tpm.program_sha256(path.read_bytes())
    found = [event for event in events if event.kind == kind and event.digest == digest]
    cases.check_equal([event.register for event in found], [register], f"registers of {what}")


def guest_file(loader, name):
    """A file of the ESP inside the guest's disk."""
    with tempfile.TemporaryDirectory(dir=harness.BUILD) as folder:
        target = pathlib.Path(folder, "file")
        volume = f"{harness.guest_raw(loader)}@@{make_guest.ESP['start']}"
        fs.run("mcopy", "-n", "-i", volume, f"::/{name}", target)
        return target.read_bytes()


def check_programs(before, since, loader):
    check_measured(before, tpm.EV_APPLICATION, 4, harness.APPLICATION, "the application")
    check_measured(before, tpm.EV_DRIVER, 2, harness.DRIVER, "the driver")
    digest = tpm.program_sha256(guest_file(loader, "EFI/BOOT/BOOTX64.EFI"))
    cases.check((4, digest) in [(event.register, event.digest) for event in since],
                "the loader in the image is not in the log")


def handoffs(events):
    return [event for event in events if event.data.startswith(b"metalcow hand-off")]


def test_tpm_grub_enters_the_kernel_so_the_driver_measures_the_hand_off():
    before, since, registers = measured_boot("grub")
    check_replays(before + since, registers)
    check_programs(before, since, "grub")
    found = [(event.register, event.kind) for event in handoffs(since)]
    cases.check_equal(found, [(9, tpm.EV_IPL)], "events of the hand-off")


def test_tpm_the_kernels_stub_measures_the_initrd_with_the_hand_off():
    before, since, registers = measured_boot("systemd-boot")
    check_replays(before + since, registers)
    check_programs(before, since, "systemd-boot")
    cases.check_equal(handoffs(since), [], "events of ours")
    initrds = [event for event in since
               if (event.register, event.kind) == (9, tpm.EV_EVENT_TAG) and b"initrd" in event.data]
    cases.check_equal(len(initrds), 1, "initrds that the kernel has measured")
    alone = hashlib.sha256(guest_file("systemd-boot", "debian/initrd.img")).digest()
    cases.check(initrds[0].digest != alone, "the initrd was measured without the hand-off")


if __name__ == "__main__":
    cases.main(globals())

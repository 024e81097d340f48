#!/usr/bin/python3
"""Entries with `handoff ramdisk`: the guest starts from memory; a refusal changes nothing."""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

ENTRY = {"image": "/img/debian.qcow2", "handoff": "ramdisk"}
# More than the RAM disk of 88 MiB and the 256 MiB that are kept.
MEMORY_MIB = 1024


def test_boot_ramdisk_starts_guest_from_memory():
    with harness.stick(image="data-file", entry=ENTRY) as stick:
        text = harness.check_guest_boots(stick, memory=MEMORY_MIB)
    place = 0
    for words in ("metalcow: a RAM disk of 88 MiB fits into the ", "unpacking into memory [",
                  "metalcow: the system runs from memory: what it writes is gone at power-off",
                  "metalcow: Linux finds a RAM disk only with the modules nfit and nd_pmem in its"):
        found = text.find(words, place)
        cases.check(found >= 0, f"no '{words}' in its place in:\n{text[-3000:]}")
        place = found
    cases.check("through its initrd" not in text, f"the initrd is promised:\n{text[-3000:]}")


def other_entry(**keys):
    return harness.entry_text({**ENTRY, **keys})


def test_boot_ramdisk_refusals_and_failed_starts_leave_the_firmware_as_it_was():
    with tempfile.TemporaryDirectory(prefix="metalcow-ramdisk-", dir=harness.BUILD) as folder:
        large = pathlib.Path(folder) / "large.qcow2"
        subprocess.run([harness.BUILD / "host/metalcow", "create", "-q", "-f", "qcow2", large,
                        "64G"], check=True)
        entries = {"/img/large.qcow2": large,
                   "/metalcow/entries/large.conf": other_entry(image="/img/large.qcow2"),
                   "/metalcow/entries/writes.conf": other_entry(mode="rw"),
                   "/metalcow/entries/nothing.conf": other_entry(boot="/EFI/nothing.efi")}
        with harness.stick(image="data-file", application="/metalcow.efi", files=entries) as stick:
            with harness.shell(stick, memory=MEMORY_MIB) as shell:
                check_refusals(shell)


def check_refusals(shell):
    before = shell.shell("map -r").split()
    for entry, words in (
            ("large", ("a RAM disk of 64 GiB does not fit into the ", "256 MiB are kept")),
            ("writes", ("a RAM disk is lost at power-off", "mode ro or overlay")),
            # This one was registered, and its loader was not found: the RAM disk must be gone.
            ("nothing", ("100 %", "the system runs from memory", "/EFI/nothing.efi"))):
        output = shell.shell(f"metalcow.efi boot {entry}")
        text = "".join(output.split("\n")).replace("\r", "")
        for word in words:
            cases.check(word in text, f"{entry}: no '{word}' in:\n{output}")
        if entry != "nothing":
            cases.check("unpacking" not in text, f"{entry}: read all the same:\n{output}")
        cases.check_equal(shell.shell("map -r").split(), before, f"map after {entry}")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""A real guest starts from an image on the stick, through our application as BOOTX64.EFI."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

IMAGE = {"image": "/img/debian.qcow2"}


def test_boot_control_raw_disk_starts_without_us():
    """The guest itself is sound: what fails below is ours."""
    harness.check_guest_boots(harness.guest_raw())


def test_boot_data_file_named_in_image_starts_guest():
    with harness.stick(image="data-file", entry=IMAGE) as stick:
        harness.check_guest_boots(stick)


def test_boot_data_file_by_override_starts_guest():
    with harness.stick(image="moved", entry={**IMAGE, "data-file": "/img/elsewhere.raw"}) as stick:
        harness.check_guest_boots(stick)


def test_boot_raw_external_data_starts_guest():
    with harness.stick(image="raw-data", entry=IMAGE) as stick:
        harness.check_guest_boots(stick)


def test_boot_plain_image_without_data_file_starts_guest():
    with harness.stick(image="plain", entry=IMAGE) as stick:
        text = harness.check_guest_boots(stick)
        # A person has to know who keeps the disk.
        line = "metalcow: Linux keeps this disk when it starts; other systems lose it"
        cases.check(line in text, f"no '{line}' in:\n{text[-2000:]}")


def test_boot_systemd_boot_guest_starts():
    with harness.stick(image="data-file", loader="systemd-boot", entry=IMAGE) as stick:
        harness.check_guest_boots(stick, loader="systemd-boot")


def test_boot_from_usb_stick_without_partition_table_starts_guest():
    with harness.stick(image="data-file", entry=IMAGE, scheme="superfloppy") as stick:
        harness.check_guest_boots(stick, bus="usb")


if __name__ == "__main__":
    cases.main(globals())

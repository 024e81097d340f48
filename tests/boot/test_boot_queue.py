#!/usr/bin/python3
"""Block I/O 2, Disk I/O 2 and Erase Block of a disk, asked by probe.efi in the firmware.

On NVMe the volume below has Block I/O 2, so reads are queued; on virtio it has none, and every read
at random ends before its call returns. Reads in sequence are gathered on both.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

PROBE = harness.BUILD / "x64/tests/probe.efi"
IMAGE = r"fs0:\img\debian.qcow2"


def check(output, pattern):
    found = re.search(pattern, output)
    cases.check(found, f"no '{pattern}' in:\n{output.strip()}")
    return found


def nb_waiting(bus, variant, words):
    """Run the probe; how many of its reads had not ended when their call returned?"""
    files = {"/probe.efi": PROBE}
    with harness.stick(image=variant, application="/metalcow.efi", files=files) as path:
        with harness.shell(path, bus=bus) as shell:
            check(shell.shell(f"metalcow.efi attach {IMAGE} {words}"), "disk 0:")
            output = shell.shell("probe.efi queue", timeout=100)
            waiting = int(check(output, r"probe: queue ok, waiting (\d+)").group(1))
            shell.shell("metalcow.efi detach 0")
            check(shell.shell("metalcow.efi list"), "no disk")
    return waiting


def test_queue_on_nvme_reads_wait():
    """An image whose data is on the volume: most reads are on their way when they return."""
    waiting = nb_waiting("nvme", "data-file", "--mode rw")
    cases.check(waiting > 20, f"{waiting} of 96 reads were queued")


def test_queue_on_virtio_everything_ends_at_once():
    cases.check_equal(nb_waiting("virtio", "plain", "--mode overlay"), 0, "reads that waited")


def test_queue_of_a_read_only_disk():
    cases.check_equal(nb_waiting("virtio", "plain", ""), 0, "reads that waited")


if __name__ == "__main__":
    cases.main(globals())

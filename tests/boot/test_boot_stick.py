#!/usr/bin/python3
"""What metalcow-stick makes boots: an overlay above the guest's image and its data file."""

import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

PROGRAM = harness.ROOT / "tools/stick/metalcow-stick"


def test_boot_stick_made_from_a_chain_starts_the_guest():
    """The backing file is named absolutely, so the guest is found by the entry's key."""
    base = harness.image_folder("data-file") / "debian.qcow2"
    stick = harness.BUILD / f"boot/made-{os.getpid()}.img"
    stick.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="metalcow-stick-", dir=harness.BUILD) as folder:
        overlay = pathlib.Path(folder) / "debian.qcow2"
        subprocess.run([harness.BUILD / "host/metalcow", "create", "-q", "-f", "qcow2",
                        "-b", base, "-F", "qcow2", overlay], check=True)
        try:
            made = subprocess.run([PROGRAM, "make", "--yes", "--quiet", "--mode", "overlay", stick,
                                   overlay], check=False, capture_output=True, text=True)
            cases.check_equal((made.returncode, made.stderr), (0, ""), "metalcow-stick")
            harness.check_guest_boots(stick)
        finally:
            stick.unlink(missing_ok=True)


if __name__ == "__main__":
    cases.main(globals())

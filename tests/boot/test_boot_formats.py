#!/usr/bin/python3
"""The guest starts from every kind of image: compressed, chained, a snapshot, subclusters."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

IMAGE = {"image": "/img/debian.qcow2"}


def check_boots(variant, **keys):
    with harness.stick(image=variant, entry={**IMAGE, **keys}) as stick:
        harness.check_guest_boots(stick)


def test_boot_zstd_compressed_image_starts_guest():
    check_boots("zstd")


def test_boot_zlib_compressed_image_starts_guest():
    check_boots("zlib")


def test_boot_chain_of_three_starts_guest():
    check_boots("chain")


def test_boot_chosen_snapshot_starts_guest():
    """The active state is damaged, so only the snapshot can have started."""
    check_boots("snapshot", snapshot="good")


def test_boot_extended_l2_image_starts_guest():
    check_boots("extended-l2")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""An image on a volume that is not FAT: a UDF disc, read through the firmware's file system."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402


def make_disc(folder, files):
    """A UDF disc with these files: {path on it: host path}."""
    root = folder / "root"
    for target, source in files.items():
        path = root / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    disc = folder / "disc.iso"
    subprocess.run(["genisoimage", "-quiet", "-udf", "-J", "-r", "-o", disc, root], check=True)
    return disc


def test_udf_guest_boots_from_image_on_disc():
    """Compressed, so that metadata, streams and data come through small reads of the file."""
    files = {"/metalcow.efi": harness.APPLICATION, **harness.image_files("zstd")}
    with tempfile.TemporaryDirectory() as name:
        disc = make_disc(pathlib.Path(name), files)
        with harness.shell(disc, bus="cdrom") as shell:
            info = shell.shell(r"metalcow.efi info img\debian.qcow2")
            cases.check(re.search("read through: the file system.*not FAT", info), f"info: {info}")
            attached = shell.shell(r"metalcow.efi attach img\debian.qcow2")
            cases.check("disk 0:" in attached, f"attach: {attached}")
            shell.send_line("metalcow.efi boot --disk 0")
            harness.check_guest(shell)


if __name__ == "__main__":
    cases.main(globals())

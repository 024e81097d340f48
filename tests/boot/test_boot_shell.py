#!/usr/bin/python3
"""metalcow.efi as a command of the UEFI shell: attach, list, info, detach."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402


def test_shell_attach_publishes_disk_that_holds_the_esp():
    with harness.stick(image="data-file", application="/metalcow.efi") as stick:
        with harness.shell(stick) as shell:
            before = shell.shell("map -r")
            shell.shell("metalcow.efi attach fs0:\\img\\debian.qcow2")
            after = shell.shell("map -r")
            cases.check(after.count("FS") > before.count("FS"), f"no new volume:\n{after}")
            listing = shell.shell("metalcow.efi list")
            cases.check("debian.qcow2" in listing, f"list: {listing}")
            shell.shell("metalcow.efi detach 0")
            cases.check_equal(shell.shell("map -r").split(), before.split(), "map after detach")


def test_shell_attach_with_data_file_argument():
    with harness.stick(image="moved", application="/metalcow.efi") as stick:
        with harness.shell(stick) as shell:
            shell.shell("metalcow.efi attach fs0:\\img\\debian.qcow2 "
                        "--data-file fs0:\\img\\elsewhere.raw")
            listing = shell.shell("metalcow.efi list")
            cases.check("debian.qcow2" in listing, f"list: {listing}")


def test_shell_info_shows_format_and_size():
    with harness.stick(image="data-file", application="/metalcow.efi") as stick:
        with harness.shell(stick) as shell:
            output = shell.shell("metalcow.efi info fs0:\\img\\debian.qcow2")
            for text in (r"file format: qcow2", r"virtual size: .*92274688 bytes",
                         r"data file: debian\.raw"):
                cases.check(re.search(text, output), f"no '{text}' in:\n{output}")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""What cannot be booted is said in a sentence with the file and the cause; the firmware goes on.

All rows of texts.ATTACH are tried in one UEFI shell, each with its own folder on one stick. Then
the same from the boot path: the message stands on the console, and the next boot option follows.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness, texts  # noqa: E402

SHELL_BANNER = r"UEFI Interactive Shell"


def row_files(row):
    """The files of one row in a folder named like the row."""
    variant, _, removed, _ = texts.ATTACH[row]
    files = harness.image_files(variant, target=f"/{row}")
    return {path: source for path, source in files.items()
            if path.rsplit("/", 1)[1] not in removed}


def attach(shell, row):
    """Try to attach the row's image; return what the command printed."""
    image, arguments = texts.attach_command(row)
    return shell.shell(f"metalcow.efi attach fs0:\\{row}\\{image} {arguments}".rstrip())


def test_attach_bad_image_names_file_and_cause():
    files = {path: source for row in texts.ATTACH for path, source in row_files(row).items()}
    with harness.stick(files=files, application="/metalcow.efi") as stick:
        with harness.shell(stick) as shell:
            wrong = []
            for row, (_, _, _, text) in texts.ATTACH.items():
                output = attach(shell, row)
                if not re.search(text, output, re.IGNORECASE):
                    wrong.append(f"[{row}] no '{text}' in:\n{output.strip()}")
                blocks = shell.shell("metalcow.efi list")
                if row in blocks:
                    wrong.append(f"[{row}] a disk was published:\n{blocks.strip()}")
            cases.check(not wrong, f"{len(wrong)} row(s)\n" + "\n".join(wrong))


def check_boot_says(text, **content):
    """Boot such a stick; the text must come, then the firmware's next boot option, the shell."""
    with harness.stick(**content) as stick, harness.machine(stick) as running:
        running.expect(f"(?i){text}", absent=SHELL_BANNER)
        running.expect(SHELL_BANNER)


def test_boot_missing_data_file_is_said_and_next_option_follows():
    image = {"/img/debian.qcow2": harness.image_folder("data-file") / "debian.qcow2"}
    check_boot_says(texts.ATTACH["missing-data-file"][3], files=image,
                    entry={"image": "/img/debian.qcow2"})


def test_boot_snapshot_for_writing_is_refused_and_next_option_follows():
    check_boot_says(r"debian\.qcow2: a snapshot can only be read", image="snapshot",
                    entry={"image": "/img/debian.qcow2", "snapshot": "good", "mode": "rw"})


def test_boot_without_configuration_is_said_and_next_option_follows():
    check_boot_says(texts.NO_ENTRY)


if __name__ == "__main__":
    cases.main(globals())

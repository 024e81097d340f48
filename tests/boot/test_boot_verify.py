#!/usr/bin/python3
"""Key `verify`: the disk is attached if its files have the sums of the entry, and not otherwise."""

import hashlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402

IMAGE = "image /img/debian.qcow2\nattach no\n"


def sums():
    """The sums of the image and its data file, as an administrator has them from sha256sum."""
    folder = harness.image_folder("data-file")
    image = folder / "debian.qcow2"
    data = next(path for path in folder.iterdir() if path != image)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in (image, data)]


def entries():
    """Entries by what is wrong with them: (text, what metalcow says)."""
    image, data = sums()
    right, other = f"verify {image}\nverify {data}\n", "0" * 64
    return {
        "changed": (f"verify {image}\nverify {other}\n",
                    "its SHA-256 is not the one of its verify line"),
        "exchanged": (f"verify {data}\nverify {image}\n", "is not the one of its verify line"),
        "forgotten": (f"verify {image}\n", "this file of the disk has no verify line"),
        "noise": (f"verify {image}\nverify abc\n", "is no SHA-256"),
        "written": (right + "mode rw\n", "verify is for files that are only read"),
        "right": (right, ""),
    }


def test_boot_verify_refuses_what_differs_and_starts_what_is_right():
    found = entries()
    files = {f"/metalcow/entries/{name}.conf": f"{IMAGE}{lines}".encode()
             for name, (lines, _) in found.items()}
    with harness.stick(image="data-file", application="/metalcow.efi", files=files) as stick, \
            harness.shell(stick) as shell:
        for name, (_, says) in found.items():
            if says:
                said = " ".join(shell.shell(f"metalcow boot {name}").split())
                cases.check(says in said, f"{name}: {said}")
        shell.send_line("metalcow boot right")
        shell.expect(r"metalcow: verifying \[#{20}\] 100 %")
        harness.check_guest(shell)


if __name__ == "__main__":
    cases.main(globals())

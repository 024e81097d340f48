#!/usr/bin/python3
"""Formats of files that a person names: told by their first bytes, and never below an image."""

import json
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import Folder  # noqa: E402

WARNING = ("metalcow: warning: disk.raw is taken for a raw image, because no format was given. A "
           "write that makes its first 512 bytes look like another format is refused; -f raw "
           "allows it.\n")


def raw_disk(folder):
    (folder.path / "disk.raw").write_bytes(b"operating system".ljust(512, b"\0") +
                                           bytes(1024 * 1024 - 512))


def test_reading_a_raw_disk_needs_no_format():
    with Folder("probe") as folder:
        raw_disk(folder)
        answer = json.loads(folder.good("info", "--output=json", "disk.raw"))
        check_equal((answer["format"], answer["virtual-size"]), ("raw", 1024 * 1024), "info")
        folder.good("convert", "-O", "qcow2", "disk.raw", "disk.qcow2")
        check_equal(folder.good("compare", "disk.raw", "disk.qcow2"), "Images are identical.\n",
                    "compare")
        check_equal(folder.good("read", "0", "9", "disk.raw"), "operating", "read")
        (folder.path / "empty.raw").write_bytes(b"")
        check("file format: raw" in folder.good("info", "empty.raw"), "an empty file")


def test_writing_a_raw_disk_warns_and_guards_block_0():
    header = "QFI\xfb\0\0\0\3"
    with Folder("guard") as folder:
        raw_disk(folder)
        (folder.path / "header").write_bytes(header.encode("latin-1"))
        (folder.path / "text").write_bytes(b"OPERATING")
        folder.run("truncate", "-s", "512", "plain")
        check_equal(folder.ours("write", "0", "disk.raw", "text"), (0, "", WARNING),
                    "a plain write")
        check_equal(folder.good("read", "0", "16", "disk.raw"), "OPERATING system", "what is there")
        for words in (["write", "0", "disk.raw", "header"],
                      ["io", "-c", "write -s header 0 512", "disk.raw"]):
            before = (folder.path / "disk.raw").read_bytes()
            status, _, err = folder.ours(*words)
            check(status == 1 and err.startswith(WARNING) and "say '-f raw' to allow it" in err,
                  f"{words}: {err}")
            check_equal((folder.path / "disk.raw").read_bytes(), before, f"{words}: content")
        folder.good("write", "-f", "raw", "0", "disk.raw", "header")
        check_equal((folder.path / "disk.raw").read_bytes()[:8], header.encode("latin-1"), "said")


def test_resize_of_a_raw_disk():
    with Folder("resize") as folder:
        raw_disk(folder)
        check_equal(folder.ours("resize", "disk.raw", "+1M"), (0, "Image resized.\n", WARNING),
                    "grow")
        check_equal((folder.path / "disk.raw").stat().st_size, 2 * 1024 * 1024, "size")
        check_equal(folder.ours("resize", "-q", "--shrink", "disk.raw", "512k"), (0, "", WARNING),
                    "shrink")
        check_equal((folder.path / "disk.raw").stat().st_size, 512 * 1024, "size")


def test_other_formats_are_named():
    with Folder("foreign") as folder:
        for image_format, name in (("vmdk", "a VMDK image"), ("vdi", "a VDI image"),
                                   ("vpc", "a VHD image"), ("vhdx", "a VHDX image"),
                                   ("qed", "a QED image"), ("qcow", "a qcow image of version 1"),
                                   ("parallels", "a Parallels image")):
            folder.qemu_img("create", "-q", "-f", image_format, f"x.{image_format}", "4M")
            for option in ([], ["-f", "qcow2"]):
                status, out, err = folder.ours("info", *option, f"x.{image_format}")
                check_equal((status, out), (1, ""), image_format)
                check(f"x.{image_format}: {name}, which metalcow does not read" in err, err)
            folder.good("info", "-f", "raw", f"x.{image_format}")
            folder.qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", f"x.{image_format}", "-F",
                            "raw", "top.qcow2", "1M")
            status, _, err = folder.ours("convert", "-O", "raw", "-f", "qcow2",
                                         f"x.{image_format}", "o.raw")
            check(status == 1 and name in err, err)


def test_an_image_names_a_format_and_is_never_doubted():
    """A raw backing file whose content poses as qcow2 stays raw."""
    with Folder("never") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "inner.qcow2", "1M")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "inner.qcow2", "-F", "raw",
                        "top.qcow2", "1M")
        check_equal(folder.good("read", "0", "3", "top.qcow2"), "QFI", "raw below an image")
        data = bytearray((folder.path / "top.qcow2").read_bytes())
        at = data.index(struct.pack(">I", 0xe2792aca))
        data[at:at + 4] = b"mcow"
        (folder.path / "top.qcow2").write_bytes(data)
        status, _, err = folder.ours("read", "0", "3", "top.qcow2")
        check(status == 1 and "no format" in err, err)


if __name__ == "__main__":
    cases.main(globals())

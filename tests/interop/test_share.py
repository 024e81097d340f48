#!/usr/bin/python3
"""Who may use a file at the same time: readers of a file rely on it not to change.

QEMU holds the files here, and asks for what metalcow holds.
"""

import contextlib
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import METALCOW, Folder  # noqa: E402

IN_USE = "the file is in use"
READING = (["info"], ["check"], ["map"], ["measure", "-O", "qcow2"], ["snapshot", "-l"],
           ["read", "0", "512"], ["convert", "-O", "raw"], ["compare"])


@contextlib.contextmanager
def held(folder, *command):
    """A program that has an image open while the block runs: it waits for its standard input."""
    with subprocess.Popen([str(word) for word in command], cwd=folder.path, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        process.stdin.write(b"length\n")
        process.stdin.flush()
        line = b""
        while b"MiB" not in line:  # the answer: the image is open
            line = process.stdout.readline()
            check(line, f"{command} ended early")
        yield
        process.stdin.close()
        process.stdout.read()
        check_equal(process.wait(), 0, f"{command}")


def images(folder):
    folder.qemu_img("create", "-q", "-f", "qcow2", "base.qcow2", "1M")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    folder.qemu_img("create", "-q", "-f", "raw", "plain.raw", "1M")


def command_line(words, image, *options):
    """A reading verb on an image."""
    more = {"convert": ["out.raw"], "compare": [image]}.get(words[0], [])
    return [words[0], *options, *words[1:], image, *more]


def test_an_image_that_is_written_is_read_only_on_demand():
    with Folder("share") as folder:
        images(folder)
        with held(folder, "qemu-io", "-f", "qcow2", "top.qcow2"):
            for words in READING:
                status, out, err = folder.ours(*command_line(words, "top.qcow2"))
                check(status != 0 and out == "", f"{words}: {status} {out}")
                check(f"top.qcow2: {IN_USE}" in err and "-U" in err, f"{words}: {err}")
                folder.good(*command_line(words, "top.qcow2", "-U"))
                folder.good(*command_line(words, "top.qcow2", "--force-share"))
        for words in READING:
            folder.good(*command_line(words, "top.qcow2"))


def test_a_backing_file_is_held_while_its_overlay_is_open():
    with Folder("below") as folder:
        images(folder)
        for holder in (["qemu-io", "-f", "qcow2"], [METALCOW, "io"], [METALCOW, "io", "-r"]):
            with held(folder, *holder, "top.qcow2"):
                status, _, err = folder.ours("write", "0", "base.qcow2", "top.qcow2")
                check(status == 1 and IN_USE in err, f"{holder}: {err}")
                status, _, err = folder.run("qemu-io", "-f", "qcow2", "-c", "write 0 512",
                                            "base.qcow2")
                check(status == 1 and "lock" in err, f"{holder}: {err}")
                folder.good("map", "base.qcow2")
        folder.qemu_io("qcow2", "base.qcow2", "write 0 512")


def test_readers_do_not_hinder_each_other():
    with Folder("readers") as folder:
        images(folder)
        for holder in (["qemu-io", "-r", "-f", "qcow2"], [METALCOW, "io", "-r"]):
            with held(folder, *holder, "top.qcow2"):
                for words in READING:
                    folder.good(*command_line(words, "top.qcow2"))
                folder.qemu_img("convert", "-O", "raw", "top.qcow2", "o.raw")
                status, _, err = folder.ours("resize", "-q", "top.qcow2", "2M")
                check(status == 1 and f"top.qcow2: {IN_USE}" in err, err)


def test_raw_files_are_held_like_others():
    with Folder("raw") as folder:
        images(folder)
        with held(folder, "qemu-io", "-f", "raw", "plain.raw"):
            status, _, err = folder.ours("convert", "-f", "raw", "-O", "qcow2", "plain.raw",
                                         "o.qcow2")
            check(status == 1 and f"plain.raw: {IN_USE}" in err, err)
            check(not (folder.path / "o.qcow2").exists(), "an output was made")
            folder.good("convert", "-U", "-f", "raw", "-O", "qcow2", "plain.raw", "o.qcow2")
        with held(folder, METALCOW, "io", "-r", "-f", "raw", "plain.raw"):
            status, _, err = folder.run("qemu-io", "-f", "raw", "-c", "write 0 512", "plain.raw")
            check(status == 1 and "lock" in err, err)


def test_rebase_reads_backing_files_that_are_written():
    with Folder("rebase") as folder:
        images(folder)
        folder.qemu_img("create", "-q", "-f", "qcow2", "new.qcow2", "1M")
        folder.qemu_io("qcow2", "base.qcow2", "write -q -P 4 0 1M")
        words = ["-b", "new.qcow2", "-F", "qcow2", "top.qcow2"]
        for name in ("base.qcow2", "new.qcow2"):
            with held(folder, "qemu-io", "-f", "qcow2", name):
                status, _, err = folder.ours("rebase", *words)
                check(status == 1 and f"{name}: {IN_USE}" in err, f"{name}: {err}")
                folder.qemu_img("rebase", "-U", "-u", *words)
                folder.qemu_img("rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
                folder.good("rebase", "-U", *words)
            folder.qemu_io("qcow2", "top.qcow2", "read -q -P 4 0 1M")
            folder.good("rebase", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
        with held(folder, "qemu-io", "-f", "qcow2", "top.qcow2"):
            status, _, err = folder.ours("rebase", "-U", *words)
            check(status == 1 and f"top.qcow2: {IN_USE}" in err, err)


def test_force_share_is_for_reading():
    with Folder("force") as folder:
        images(folder)
        for words in (["check", "-U", "-r", "all", "top.qcow2"],
                      ["snapshot", "-U", "-c", "s", "top.qcow2"], ["io", "-U", "top.qcow2"]):
            status, _, err = folder.ours(*words)
            check(status == 1 and "for reading only" in err, f"{words}: {err}")
        folder.good("io", "-U", "-r", "-c", "read 0 512", "top.qcow2")


if __name__ == "__main__":
    cases.main(globals())

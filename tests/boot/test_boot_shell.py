#!/usr/bin/python3
"""metalcow.efi as a command of the UEFI shell: attach, list, info, map, check, detach."""

import pathlib
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools.guest import make_image  # noqa: E402


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
            output = shell.shell("metalcow.efi info fs0:\\img\\debian.qcow2 --backing-chain")
            for name in ("qcow2", "raw"):
                text = rf"/img/debian.{name}: the volume itself \(\d+ pieces?\)"
                cases.check(re.search(text, output), f"no '{text}' in:\n{output}")


# --- map and check: the host command's words ------------------------------------------------------

HOST_COMMAND = harness.BUILD / "host/metalcow"
BACKING_FORMAT = 0xE2792ACA


def host(folder, verb, name):
    """What the host command prints, findings last, with the firmware's paths."""
    done = subprocess.run([HOST_COMMAND, verb, name], cwd=folder, capture_output=True, text=True,
                          check=False)
    text = done.stderr + done.stdout if verb == "check" else done.stdout + done.stderr
    return re.sub(r"(?m)([\w-]+\.(?:qcow2|raw))$", r"/img/\1", text)


def damage(path):
    """A leak, and a cluster in use whose refcount says that it is free."""
    with open(path, "r+b") as file:
        file.seek(48)
        table = struct.unpack(">Q", file.read(8))[0]
        file.seek(table)
        block = struct.unpack(">Q", file.read(8))[0]
        file.seek(block + 2 * 5)
        file.write(struct.pack(">H", 0))
        file.seek(block + 2 * 4)
        file.write(struct.pack(">H", 7))


def forget_backing_format(path):
    for start, kind, _ in make_image.extensions(path):
        if kind == BACKING_FORMAT:
            make_image.patch(path, start, struct.pack(">I", 0x6D636F77))


def make_small_images(folder):
    """Images of a few clusters; returns the stick's files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def run(*words):
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    (folder / "base.raw").write_bytes(b"base" * (1 << 18))
    run("qemu-img", "create", "-q", "-f", "qcow2", "good.qcow2", "3M")
    run("qemu-io", "-c", "write 64k 192k", "-c", "write 1M 64k", "-c", "write -z 2M 64k",
        "good.qcow2")
    shutil.copy(folder / "good.qcow2", folder / "bad.qcow2")
    damage(folder / "bad.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "unsaid.qcow2")
    run("qemu-io", "-c", "write 64k 64k", "unsaid.qcow2")
    forget_backing_format(folder / "unsaid.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "good.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-io", "-c", "write 128k 64k", "top.qcow2")
    run("qemu-img", "convert", "-c", "-O", "qcow2", "good.qcow2", "packed.qcow2")
    return {f"/img/{path.name}": path for path in folder.iterdir()}


def check_same(shell, folder, verb, name):
    output = shell.shell(f"metalcow.efi {verb} fs0:\\img\\{name}")
    wanted = host(folder, verb, name)
    for word in ("ERROR cluster", "ERROR OFLAG_COPIED", "Leaked cluster"):
        cases.check(name != "bad.qcow2" or word in wanted, f"the damage is not there: {wanted}")
    cases.check_equal(output.split(), wanted.split(), f"{verb} {name}")


def check_unsaid_format(shell):
    """The driver was told by the entry; a command is told by its option, or refuses."""
    listing = shell.shell("metalcow.efi list")
    cases.check("/img/unsaid.qcow2" in listing, f"the entry's disk is not there: {listing}")
    command = "metalcow.efi map fs0:\\img\\unsaid.qcow2"
    cases.check("has no format in the image" in shell.shell(command), "a format was guessed")
    output = shell.shell(f"{command} --backing-format raw")
    for line in (r"0x10000 +0x10000 +0x50000 +/img/unsaid\.qcow2",
                 r"0x20000 +0xe0000 +0x20000 +/img/base\.raw"):
        cases.check(re.search(line, output), f"no '{line}' in:\n{output}")


def test_shell_map_and_check_say_what_the_host_command_says():
    folder = harness.BUILD / "boot/small"
    files = {**make_small_images(folder), "/metalcowdxe.efi": harness.DRIVER}
    entry = {"image": "/img/unsaid.qcow2", "backing-format": "raw"}
    with harness.stick(files=files, entry=entry, application="/metalcow.efi") as stick:
        with harness.shell(stick) as shell:
            shell.shell("load fs0:\\metalcowdxe.efi")
            for name in ("good.qcow2", "top.qcow2", "packed.qcow2"):
                check_same(shell, folder, "map", name)
            for name in ("good.qcow2", "bad.qcow2", "top.qcow2"):
                check_same(shell, folder, "check", name)
            check_unsaid_format(shell)
            output = shell.shell("metalcow.efi check 0")
            cases.check("No errors were found" in output, output)
            output = shell.shell("metalcow.efi check fs0:\\img\\base.raw --format raw")
            cases.check("only a qcow2 image can be checked" in output, output)


if __name__ == "__main__":
    cases.main(globals())

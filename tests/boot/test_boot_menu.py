#!/usr/bin/python3
"""The menu in OVMF, over the serial console: countdown, keys, choices, what happens after failures.

The loader of the images is metalcow.efi itself, which finds no entry on its own volume, says so and
comes back with an error. So one boot serves many starts.
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness, menu_pictures  # noqa: E402
from tools.stick import make_stick  # noqa: E402

FOLDER = harness.BUILD / "boot/menu"
SHELL_BANNER = r"UEFI Interactive Shell"
STARTED = r"/metalcow/entries: no entry is configured"
UP, DOWN, RIGHT, LEFT, ESCAPE = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b"


def make_image(name, files, snapshots=()):
    """A qcow2 image with one FAT volume; made once."""
    image = FOLDER / name
    newest = harness.APPLICATION.stat().st_mtime
    if image.exists() and image.stat().st_mtime > newest:
        return image
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw = make_stick.make_stick(FOLDER / (name + ".raw"), files, bits=16, size=24 << 20)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    raw.unlink()
    for snapshot in snapshots:
        subprocess.run(["qemu-img", "snapshot", "-c", snapshot, image], check=True)
    return image


def content(settings, **more):
    """The files of a stick with three entries; more: of which the keys are other ones."""
    program = harness.APPLICATION
    one = make_image("one.qcow2", {harness.BOOT_PATH: program}, ["first", "second"])
    many = make_image("many.qcow2", {"/EFI/a/grubx64.efi": program, "/EFI/b/grubx64.efi": program,
                                     "/EFI/b/shimx64.efi": program})
    only = make_image("only.qcow2", {"/EFI/b/systemd-bootx64.efi": program})
    entries = {
        "alpha": {"title": "Alpha", "image": "/img/one.qcow2", "sort-key": "1"},
        "beta": {"title": "Beta", "image": "/img/many.qcow2", "sort-key": "2"},
        "gamma": {"title": "Gamma", "image": "/img/none.qcow2", "sort-key": "3"},
        "delta": {"title": "Delta", "image": "/img/only.qcow2", "sort-key": "4"},
    }
    files = {f"/img/{image.name}": image for image in (one, many, only)}
    files["/metalcow/metalcow.conf"] = settings.encode()
    for name, keys in {**entries, **more}.items():
        files[f"/metalcow/entries/{name}.conf"] = harness.entry_text(keys)
    return files


def expect_start(running, line):
    """One start and its end: the loader ran, and the menu says how it came back."""
    running.expect(re.escape(f"metalcow: starting {line}"), absent=SHELL_BANNER)
    running.expect(STARTED, absent=SHELL_BANNER)
    running.expect(r"did not start: .*", absent=SHELL_BANNER)


def leave(running):
    running.send(ESCAPE)
    running.expect(SHELL_BANNER)


def choose(running):
    """Every way to choose, in one boot."""
    running.expect(r"Alpha starts in \d+ s\. Any key stops this\.")
    running.send(RIGHT)
    running.expect(r"snapshot \d{4}-\d\d-\d\d \d\d:\d\d UTC  first")
    running.expect(r"snapshot .*UTC  second")
    running.send(DOWN + DOWN + "m\r")
    expect_start(running, "Alpha from /img/one.qcow2, snapshot 2, mode overlay")
    running.send("3e")
    running.expect(r"For this boot only: Gamma")
    running.send(" mdoe=rw\r")
    running.expect(r"mdoe is no key; did you mean mode\?")
    for _ in "mdoe=rw":  # the cursor is at the key
        running.send(RIGHT)
    running.send("\b" * 7 + "mode=overlay\r")
    running.expect(r"metalcow: starting Gamma from /img/none.qcow2, mode overlay")
    running.expect(r"Gamma did not start: /img/none.qcow2: .*")


def choose_loader(running):
    """Where there is no usual loader: the only one is started, several are offered."""
    running.send("4\r")
    expect_start(running, "Delta from /img/only.qcow2, mode ro")
    running.send("2\r")
    running.expect(r"several loaders are on the disk; say which one with a line 'boot FILE'")
    running.expect(r"loader /EFI/a/grubx64\.efi")
    running.expect(r"loader /EFI/b/shimx64\.efi")
    running.send(DOWN + DOWN + "\r")
    running.expect(r"metalcow: starting Beta from /img/many.qcow2, mode ro")
    running.expect(r"/EFI/b/shimx64\.efi: the loader came back with an error")


def test_menu_choices_and_the_last_one_is_remembered():
    variables = harness.BUILD / "boot/menu/vars.fd"
    variables.parent.mkdir(parents=True, exist_ok=True)
    variables.unlink(missing_ok=True)
    with harness.stick(files=content("default @saved\ntimeout 30\n")) as stick:
        with harness.machine(stick, variables=variables) as running:
            choose(running)
            choose_loader(running)
            leave(running)
    with harness.stick(files=content("default @saved\ntimeout 2\n")) as stick:
        with harness.machine(stick, variables=variables) as running:
            # Nobody is there: Beta starts, is explained, and the firmware goes on.
            running.expect(r"Beta starts in 2 s")
            running.expect(r"metalcow: starting Beta from /img/many.qcow2", absent=SHELL_BANNER)
            running.expect(r"several loaders are on the disk", absent=SHELL_BANNER)
            running.expect(r"press a key for the menu; else", absent=SHELL_BANNER)
            running.expect(SHELL_BANNER)


def test_menu_default_that_selects_nothing_starts_nothing():
    with harness.stick(files=content("default nothing*\ntimeout 1\nbeep no\n")) as stick:
        with harness.machine(stick) as running:
            text = r"/metalcow/metalcow\.conf: default nothing\* selects no entry"
            running.expect(text)
            running.expect(r"metalcow: choose what to start")
            # Three times as long as the timeout.
            for _ in range(6):
                running.pump(0.5)
            cases.check("metalcow: starting" not in running.text, "something was started")
            running.send(UP + DOWN + "\r")
            running.expect(r"metalcow: starting Beta from /img/many\.qcow2, mode ro")


def test_menu_held_key_brings_the_menu():
    with harness.stick(files=content("")) as stick:
        with harness.machine(stick) as running:
            while "choose what to start" not in running.text:
                running.send(" ")
                running.pump(0.2)
                cases.check("metalcow: starting" not in running.text, "the menu did not come")
                cases.check(running.clock.seconds() < running.timeout, "no menu came")
            running.send("1\r")
            expect_start(running, "Alpha from /img/one.qcow2, mode ro")
            running.send(ESCAPE)
            running.enter_shell()
            # Without a timeout a command starts the default at once, and fails as a command.
            output = running.shell(r"fs0:\EFI\BOOT\BOOTX64.EFI boot")
            cases.check("starting Alpha" in output and "choose what" not in output, output)
            output = running.shell(r"fs0:\EFI\BOOT\BOOTX64.EFI menu alpha")
            cases.check("alpha: this command takes no such word" in output, output)
            running.send_line(r"fs0:\EFI\BOOT\BOOTX64.EFI menu")
            running.expect(r"metalcow: choose what to start")
            running.send("3\r")
            running.expect(r"Gamma did not start")


def test_menu_failure_brings_the_menu_if_somebody_is_there():
    with harness.stick(files=content("default gamma\n")) as stick:
        with harness.machine(stick) as running:
            running.expect(r"metalcow: /img/none\.qcow2: .*")
            running.expect(r"press a key for the menu; else the firmware goes on in 5 s")
            running.send("x")
            running.expect(r"Gamma did not start: /img/none\.qcow2: ", absent=SHELL_BANNER)
            leave(running)


def test_menu_pictures_are_those_of_readme():
    readme = (harness.ROOT / "README.md").read_text(encoding="utf-8")
    for name, size in menu_pictures.SCREENS.items():
        picture, text = menu_pictures.take(size)
        taken = harness.BUILD / f"boot/pictures/{name}.png"
        taken.parent.mkdir(parents=True, exist_ok=True)
        taken.write_bytes(picture)
        stored = menu_pictures.FOLDER / f"{name}.png"
        same = menu_pictures.pixels_of_png(stored.read_bytes()) == \
            menu_pictures.pixels_of_png(picture)
        cases.check(same, f"{taken} differs from {stored}; tests/boot/menu_pictures.py takes it "
                          "anew")
        cases.check(f"boot/pictures/{name}.png" in readme, f"README does not show {name}")
        if name == "menu-80x25":
            block = "\n".join(("    " + line).rstrip() for line in text.splitlines())
            cases.check(block in readme, f"README has another serial menu than this:\n{block}")


if __name__ == "__main__":
    cases.main(globals())

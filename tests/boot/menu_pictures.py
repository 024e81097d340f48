#!/usr/bin/python3
"""Pictures of the menu: what README shows, taken from a machine under OVMF.

    tests/boot/menu_pictures.py     write tests/boot/pictures/*.png, print the serial console's text

test_boot_menu.py takes the same pictures and compares them, so README shows what the program does.
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.boot import harness  # noqa: E402
from tools.qemu.machine import MachineError  # noqa: E402
from tools.qemu.picture import png_of_ppm  # noqa: E402

FOLDER = pathlib.Path(__file__).parent / "pictures"
# Name of a picture: the resolution of its screen. The first has 80 columns and 25 rows.
SCREENS = {"menu-80x25": (640, 480), "menu-large": (1280, 800)}

SNAPSHOTS = {"fresh installation": 1759309200, "before the upgrade": 1767258300}
ENTRIES = {
    "debian": {"title": "Debian 12", "image": "/img/debian.qcow2", "mode": "rw", "sort-key": "1"},
    "try": {"title": "Debian 12, changes kept in memory", "image": "/img/debian.qcow2",
            "mode": "overlay", "overlay-size": "512M", "sort-key": "2"},
    "rescue": {"title": "Rescue system", "image": "/img/rescue.qcow2", "sort-key": "3"},
}


def set_snapshot_dates(image, dates):
    """Write the dates into the snapshot table.  (qcow2: "Snapshots")"""
    with open(image, "r+b") as file:
        file.seek(60)
        _, at = struct.unpack(">IQ", file.read(12))
        for date in dates:
            file.seek(at + 12)
            id_length, name_length = struct.unpack(">HH", file.read(4))
            file.write(struct.pack(">I", date))
            file.seek(at + 36)
            extra = struct.unpack(">I", file.read(4))[0]
            at += (40 + extra + id_length + name_length + 7) // 8 * 8


def make_image(folder):
    image = folder / "debian.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    for name in SNAPSHOTS:
        subprocess.run(["qemu-img", "snapshot", "-c", name, image], check=True)
    set_snapshot_dates(image, SNAPSHOTS.values())
    return image


def pixels_of_png(data):
    """(width, height, rows of pixels as PNG stores them) of a picture of png_of_ppm()."""
    width, height = struct.unpack(">II", data[16:24])
    length = struct.unpack(">I", data[33:37])[0]
    return width, height, zlib.decompress(data[41:41 + length])


def screen(machine):
    """The screen as PNG, once it does not change any more."""
    last = None
    for _ in range(40):
        with tempfile.NamedTemporaryFile(suffix=".ppm") as file:
            machine.qmp("screendump", filename=file.name)
            now = pathlib.Path(file.name).read_bytes()
        if now == last:
            return png_of_ppm(now)
        last = now
        machine.pump(0)
        time.sleep(0.5)
    raise MachineError("the screen does not come to rest")


def serial_menu(text):
    """The menu as the serial console shows it first."""
    block = re.search(r"^ metalcow: choose.*?^ For this boot:.*?$", text, re.M | re.S).group()
    return "\n".join(line.rstrip() for line in block.splitlines())


def take(size):
    """(picture, text of the serial console's first menu) on a screen of this size."""
    extra = ["-device", f"VGA,edid=on,xres={size[0]},yres={size[1]}"]
    files = {"/metalcow/metalcow.conf": b"default try\ntimeout menu-force\n"}
    for name, keys in ENTRIES.items():
        files[f"/metalcow/entries/{name}.conf"] = harness.entry_text(keys)
    with tempfile.TemporaryDirectory() as folder:
        files["/img/debian.qcow2"] = make_image(pathlib.Path(folder))
        with harness.stick(files=files) as stick, \
                harness.machine(stick, extra=extra) as machine:
            machine.expect("For this boot:.*snapshots")
            text = serial_menu(machine.text)
            machine.send("1")
            machine.send("\x1b[C")
            machine.expect("before the upgrade")
            return screen(machine), text


def main():
    for name, size in SCREENS.items():
        picture, text = take(size)
        (FOLDER / f"{name}.png").write_bytes(picture)
        print(f"{name}\n{text}\n")


if __name__ == "__main__":
    main()

"""What a row of tests/guests/run_guests.py boots: a system, a loader, a kind of image, a bus; and
making its stick.

The guests' disks are made by tools/guest/make_installed.py and kept between runs.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.cases import Failure  # noqa: E402
from tools import fs  # noqa: E402
from tools.guest import make_installed  # noqa: E402
from tools.stick import make_stick  # noqa: E402

BUILD = ROOT / os.environ.get("BUILD", "build")
WORK = BUILD / "guests"
CACHE = BUILD / "guest/debian"
ROOM = 512 * fs.MIB
SNAPSHOT = "before"


@dataclasses.dataclass
class Row:
    name: str
    loader: str = "grub"
    release: str = "bookworm"
    initramfs: str = "initramfs-tools"
    kernel: str = "cloud"
    image: str = "data-file"
    bus: str = "virtio"
    pieces: int = 0          # bytes; 0: the image is stored in one piece
    root: str = "/dev/nbd0p2"
    mode: str = "rw"
    memory: int = 1024


ROWS = [
    Row("grub", image="data-file"),
    Row("grub-pieces", image="qcow2", pieces=4 * fs.MIB),
    Row("grub-usb", bus="usb", kernel="amd64"),  # the cloud kernel has no USB
    Row("grub-nvme", bus="nvme"),
    Row("systemd-boot", loader="systemd-boot"),
    Row("uki", loader="uki"),
    Row("dracut", initramfs="dracut", loader="systemd-boot"),
    Row("kernel-amd64", kernel="amd64"),
    Row("trixie", release="trixie"),
    Row("trixie-systemd-boot", release="trixie", loader="systemd-boot"),
    Row("qcow2", image="qcow2"),
    Row("raw-data-file", image="raw-data-file", root="/dev/loop0p2"),
    Row("zstd-overlay", image="zstd-overlay"),
    Row("given-backing", image="given-backing"),
    Row("snapshot", image="snapshot", mode="overlay"),
    Row("read-only-overlay", image="qcow2", mode="overlay"),
]


def find(name):
    return next(row for row in ROWS if row.name == name)


def guest(row):
    """The raw disk of a row's system and loader, and the record about it."""
    out = CACHE / f"{row.release}-{row.initramfs}-{row.kernel}-{row.loader}.raw"
    script = pathlib.Path(make_installed.__file__)
    if not out.exists() or out.stat().st_mtime < script.stat().st_mtime:
        system = make_installed.make_system(CACHE.resolve(), row.release, row.initramfs, row.kernel)
        make_installed.make_disk(system, row.loader, out)
    return out, json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))


def with_load(raw, record, folder):
    """A copy of a guest's disk that writes without end (tools/guest/make_installed.py)."""
    copy = folder / "load.raw"
    fs.run("cp", "--sparse=always", raw, copy)
    fs.run("debugfs", "-w", "-R", "write /dev/null /etc/metalcow-load",
           f"{copy}?offset={record['root_start']}")
    return copy


def make_image(row, raw, record, folder, load=False):
    """The files of an image kind, in folder; returns the keys that its entry needs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    top = folder / "debian.qcow2"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
    if load:
        raw = with_load(raw, record, folder.parent)
    if row.image == "qcow2":
        fs.run(*convert, raw, top)
    elif row.image in ("data-file", "raw-data-file"):
        option = "data_file=debian.data" + (",data_file_raw=on" if "raw" in row.image else "")
        fs.run(*convert, "-o", option, raw.resolve(), top.name, cwd=folder)
    elif row.image == "zstd-overlay":
        fs.run(*convert, "-c", "-o", "compression_type=zstd", raw, folder / "base.qcow2")
        fs.run("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", top.name,
               cwd=folder)
    elif row.image == "given-backing":
        fs.run(*convert, "-c", "-o", "compression_type=zstd", raw, folder / "base.qcow2")
        size = raw.stat().st_size
        for name, backing in (("middle.qcow2", "gone/one.img"), (top.name, "gone/two.img")):
            fs.run("qemu-img", "create", "-u", "-f", "qcow2", "-b", backing, "-F", "qcow2", name,
                   size, cwd=folder)
        return {"backing-file": ["/img/middle.qcow2", "/img/base.qcow2"]}
    elif row.image == "snapshot":
        fs.run(*convert, raw, top)
        fs.run("qemu-img", "snapshot", "-c", SNAPSHOT, top)
        # What came after the snapshot must not be seen.
        fs.run("qemu-io", "-c", "write -P 0 0 1M", top)
        return {"snapshot": SNAPSHOT}
    else:
        raise Failure(f"no image kind '{row.image}'")
    return {}


def name_backing_files(row, folder):
    """Let an image whose backing files only the entry names be opened by QEMU."""
    if row.image == "given-backing":
        for name, backing in (("middle.qcow2", "base.qcow2"), ("debian.qcow2", "middle.qcow2")):
            fs.run("qemu-img", "rebase", "-u", "-b", backing, "-F", "qcow2", name, cwd=folder)


def stick_files(folder):
    return {f"/img/{path.name}": path for path in sorted(folder.iterdir())}


def make_row_stick(row, folder, out, keys):
    files = stick_files(folder)
    entry = {"title": "Debian", "image": "/img/debian.qcow2", "mode": row.mode,
             "handoff": "auto", "room": "256M", **keys}
    lines = [f"{key} {value}\n" for key, values in entry.items()
             for value in (values if isinstance(values, list) else [values])]
    text = "".join(lines).encode()
    content = {"/EFI/BOOT/BOOTX64.EFI": BUILD / "x64/metalcow.efi",
               "/metalcow/entries/debian.conf": text, **files,
               "/neighbour.bin": os.urandom(fs.MIB)}
    size = sum(path.stat().st_size for path in files.values()) * 5 // 4 + ROOM
    pieces = {name: row.pieces for name in files} if row.pieces else None
    make_stick.make_stick(out, content, size=-(-size // fs.MIB) * fs.MIB, pieces=pieces)

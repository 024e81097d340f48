"""Booting a real Debian whose disk is an image on a stick, with the hand-off's cpio after its own
initrd, and without our firmware: QEMU loads kernel and initrd itself.

    with rig.Stick("data-file") as stick:
        text = stick.boot(mode="rw")
        stick.check_consistent()

The stick is private to a case. What is not the image's files must not change: check_outside().
"""

import hashlib
import os
import pathlib
import re
import select
import shutil
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests import cases  # noqa: E402
from tests.guests import rows  # noqa: E402
from tools import fs  # noqa: E402
from tools.stick import make_stick  # noqa: E402

BUILD = rows.BUILD
SYSTEM = rows.CACHE / "bookworm-initramfs-tools-cloud"
PROGRAM = BUILD / "linux/handoff"
MAKE_RECORD = BUILD / "host/make_record"

START = fs.MIB
TIMEOUT = 600

# qemu-img's arguments that make each kind of image out of the guest's raw disk.
KINDS = {
    "data-file": ["-O", "qcow2", "-o", "data_file=debian.data"],
    "data-file-raw": ["-O", "qcow2", "-o",
                      "data_file=debian.data,data_file_raw=on,preallocation=metadata"],
    "qcow2": ["-O", "qcow2"],
    "full": ["-O", "qcow2", "-o", "preallocation=metadata", "-S", "0"],
    "raw": ["-O", "raw"],
}

BUSES = {
    "virtio": ["virtio-blk-pci,drive=stick"],
    "usb": ["qemu-xhci,id=xhci", "usb-storage,drive=stick,bus=xhci.0"],
    "nvme": ["nvme,drive=stick,serial=1"],
}


def guest():
    """The disk that the row "grub" has, and the record about it."""
    return rows.guest(rows.find("grub"))


def boot_file(name):
    """The kernel or the initrd of the installed system."""
    return sorted((SYSTEM / "boot").glob(f"{name}-*"))[-1]


def run(*command, cwd=None, good=(0,)):
    done = subprocess.run([str(word) for word in command], cwd=cwd, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    output = done.stdout.decode(errors="replace")
    cases.check(done.returncode in good,
                f"`{' '.join(map(str, command))}` gives {done.returncode}:\n{output[-2000:]}")
    return output


def image_folder(kind):
    """The image of a kind, made once per guest."""
    raw, _ = guest()
    folder = BUILD / "images/debian" / kind
    stamp = folder / ".source"
    source = f"{raw.stat().st_mtime} {KINDS[kind]}"
    if not stamp.exists() or stamp.read_text() != source:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        name = "debian.raw" if kind == "raw" else "debian.qcow2"
        run("qemu-img", "convert", "-q", "-f", "raw", *KINDS[kind], raw.resolve(), name, cwd=folder)
        stamp.write_text(source)
    return folder


def parse_extents(record):
    """[(offset in the partition, length)] of all files of a record."""
    nb_files, _, nb_backing_files = struct.unpack_from("<III", record, 136)
    at = 152
    extents = []

    def skip_string(at):
        (length,) = struct.unpack_from("<H", record, at)
        return at + 2 + (0 if length == 0xFFFF else length + 1)

    for _ in range(2 + nb_backing_files):
        at = skip_string(at)
    for _ in range(nb_files):
        nb_extents, nb_samples = struct.unpack_from("<II", record, at + 16)
        at = skip_string(at + 24)
        for _ in range(nb_extents):
            extents.append(struct.unpack_from("<QQ", record, at))
            at += 16
        at += 24 * nb_samples
    return extents


class Stick:
    """A stick with an image of a kind in /img, next to a file that is not ours."""

    def __init__(self, kind="data-file", pieces=None, files=None, name=None):
        self.kind = kind
        self.pieces = pieces
        self.files = files
        self.folder = BUILD / f"tests/guests/{name or kind}-{os.getpid()}"
        self.path = self.folder / "stick.img"
        self.text = ""

    def __enter__(self):
        self.folder.mkdir(parents=True)
        files = self.files
        if files is None:
            files = {f"/img/{path.name}": path for path in sorted(image_folder(self.kind).iterdir())
                     if not path.name.startswith(".")}
        files = {"/neighbour-1.bin": os.urandom(100_000), **files,
                 "/neighbour-2.bin": os.urandom(100_000)}
        pieces = {target: self.pieces for target in files if target.startswith("/img/debian.")
                  and self.pieces}
        make_stick.make_stick(self.path, files, pieces=pieces)
        self.size = self.path.stat().st_size - 2 * fs.MIB
        self.image = next(target for target in files if re.search(r"debian\.(qcow2|raw)$", target))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def make_cpio(self, **keys):
        """The hand-off's cpio for the stick as it is."""
        cpio = self.folder / "handoff.cpio"
        if self.image.endswith(".raw"):
            keys["format"] = "raw"
        words = [f"{name.replace('_', '-')}={value}" for name, value in keys.items()]
        run(MAKE_RECORD, self.path, START, self.size, "gpt", make_stick.VOLUME_GUID, self.image,
            PROGRAM, cpio, *words)
        self.extents = parse_extents((self.folder / "handoff.cpio.record").read_bytes())
        return cpio

    def make_initrd(self, cpio, stock=None, first=None):
        """first: more files of the initrd, {path: bytes}."""
        initrd = self.folder / "initrd.img"
        content = (stock or boot_file("initrd.img")).read_bytes()
        content += bytes(-len(content) % 4) + self.make_files(first or {}) + cpio.read_bytes()
        initrd.write_bytes(content)
        return initrd

    def make_files(self, files):
        """A cpio of files, which is a multiple of 4 long."""
        if not files:
            return b""
        root = self.folder / "first"
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, check=True,
                                 input="\n".join(files).encode(), stdout=subprocess.PIPE).stdout
        return archive + bytes(-len(archive) % 4)

    def boot(self, append="", bus="virtio", memory=1024, expect="METALCOW-TEST done", cpio=None,
             on_text=None, cache="writeback", first=None, **keys):
        """Boot and wait until the machine is off; return what the serial port said."""
        initrd = self.make_initrd(cpio or self.make_cpio(**keys), first=first)
        _, record = guest()
        devices = [word for device in BUSES[bus] for word in ("-device", device)]
        command = ["qemu-system-x86_64", "-machine", "q35,accel=" + os.environ.get(
            "METALCOW_ACCEL", "tcg"), "-m", f"{memory}M", "-smp", "2", "-nodefaults",
            "-no-user-config", "-no-reboot", "-display", "none", "-net", "none", "-serial", "stdio",
            "-kernel", str(boot_file("vmlinuz")), "-initrd", str(initrd), "-append",
            f"root=UUID={record['root_uuid']} ro console=ttyS0,115200 panic=-1 no_timer_check "
            f"loglevel=6 {append}",
            "-drive", f"if=none,id=stick,format=raw,cache={cache},file={self.path}", *devices]
        log = BUILD / "tests/guests/log"
        log.mkdir(parents=True, exist_ok=True)
        self.text = ""
        begin = time.monotonic()
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:
            try:
                while True:
                    ready, _, _ = select.select([process.stdout], [], [], 1)
                    data = os.read(process.stdout.fileno(), 65536) if ready else None
                    if data == b"":
                        break
                    self.text += (data or b"").decode(errors="replace").replace("\r", "")
                    (log / f"{self.folder.name}.txt").write_text(self.text)
                    if on_text and on_text(process, self.text):
                        break
                    if time.monotonic() - begin > TIMEOUT:
                        break
            finally:
                process.kill()
                (log / f"{self.folder.name}.txt").write_text(self.text)
        cases.check(not expect or re.search(expect, self.text),
                    f"no {expect!r} within {time.monotonic() - begin:.0f} s:\n"
                    + "\n".join(self.text.splitlines()[-30:]))
        return self.text

    def outside(self):
        """A digest of every byte of the stick that is in none of the image's files."""
        digest = hashlib.sha256()
        at = 0
        with open(self.path, "rb") as stick:
            for start, length in sorted(self.extents) + [(self.size + fs.MIB, 0)]:
                stick.seek(at)
                left = START + start - at
                while left > 0:
                    data = stick.read(min(left, fs.MIB))
                    digest.update(data)
                    left -= len(data)
                at = START + start + length
        return digest.hexdigest()

    def extract(self):
        """The image's files as they are on the stick now."""
        target = self.folder / "out"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        fs.run("mcopy", "-s", "-i", f"{self.path}@@{START}", "::/img", target)
        return target / self.image.lstrip("/")

    def check_image(self, good=(0,)):
        """Extract the image and have it checked; returns its path."""
        image = self.extract()
        if image.suffix == ".qcow2":  # QEMU looks for a data file in the current folder
            run("qemu-img", "check", "-q", image.name, cwd=image.parent, good=good)
        return image

    def check_consistent(self):
        """qemu-img check, e2fsck and fsck.vfat find nothing."""
        _, record = guest()
        image = self.check_image()
        raw = image.with_suffix(".as-raw")
        run("qemu-img", "convert", "-f", "raw" if image.suffix == ".raw" else "qcow2", "-O", "raw",
            image.name, raw.name, cwd=image.parent)
        root = raw.with_suffix(".root")
        run("dd", f"if={raw}", f"of={root}", "bs=1M", f"skip={record['root_start'] // fs.MIB}",
            f"count={record['root_size'] // fs.MIB}", "conv=sparse", "status=none")
        run("e2fsck", "-fn", root)
        volume = self.folder / "volume"
        run("dd", f"if={self.path}", f"of={volume}", "bs=1M", "skip=1",
            f"count={self.size // fs.MIB}", "conv=sparse", "status=none")
        run("fsck.vfat", "-n", volume)
        return root

    def found(self, pattern):
        match = re.search(pattern, self.text)
        cases.check(match, f"the guest does not say {pattern!r}:\n"
                    + "\n".join(line for line in self.text.splitlines() if "METALCOW" in line))
        return match

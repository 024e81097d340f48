"""Judging a stick after a guest has run from it.

What is not the image's files must be what it was, the FAT volume, the image and the file system in
it must be in order, and what the guest says it wrote must be there.
"""

import hashlib
import json
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import check  # noqa: E402
from tools import fs  # noqa: E402

FAT_OFFSET = fs.MIB
CHUNK = 4 * fs.MIB


def clusters(stick, path):
    """Cluster ranges of a file of the stick, as mtools tells them: [(first, last)]."""
    text = fs.run("mshowfat", "-i", f"{stick}@@{FAT_OFFSET}", f"::{path}")
    return [(int(first), int(last or first))
            for first, last in re.findall(r"[<( ](\d+)(?:-(\d+))?[>,)]", text.split(" ", 1)[1])]


def geometry(stick):
    """(bytes to the first cluster from the stick's start, bytes of a cluster)"""
    with open(stick, "rb") as file:
        file.seek(FAT_OFFSET)
        boot = file.read(512)
    sector = int.from_bytes(boot[11:13], "little")
    reserved = int.from_bytes(boot[14:16], "little")
    fat = int.from_bytes(boot[36:40], "little")
    return FAT_OFFSET + (reserved + boot[16] * fat) * sector, boot[13] * sector


def keep_copy(stick):
    """A copy of a stick as it is before a boot; holes stay holes."""
    copy = stick.with_suffix(".before")
    fs.run("cp", "--sparse=always", stick, copy)
    return copy


def changed_range(before, after, start, end):
    """The first offset in [start, end) where two sticks differ, or None."""
    while start < end:
        length = min(CHUNK, end - start)
        before.seek(start)
        after.seek(start)
        old, new = before.read(length), after.read(length)
        if old != new:
            return start + next(i for i, pair in enumerate(zip(old, new)) if pair[0] != pair[1])
        start += length
    return None


def check_outside(copy, stick, allowed):
    """Nothing has changed outside the byte ranges that are allowed to."""
    end = stick.stat().st_size
    at = 0
    with open(copy, "rb") as before, open(stick, "rb") as after:
        for first, last in [*sorted(allowed), (end, end)]:
            offset = changed_range(before, after, at, first)
            check(offset is None, f"byte {offset} outside the image's files has changed")
            at = max(at, last)


def file_ranges(stick, files):
    data, size = geometry(stick)
    return [(data + (first - 2) * size, data + (last - 1) * size)
            for path in files for first, last in clusters(stick, path)]


def metadata_ranges(stick):
    """The FATs, the folder of the images, and the dates of this folder in the root folder: the
    firmware's file system changes these when it makes room, and nothing else does."""
    data, size = geometry(stick)
    folder = [(data + (first - 2) * size, data + (last - 1) * size)
              for first, last in clusters(stick, "/img")]
    with open(stick, "rb") as file:
        file.seek(FAT_OFFSET)
        boot = file.read(512)
        root = data + (int.from_bytes(boot[44:48], "little") - 2) * size
        file.seek(root)
        entry = root + file.read(size).index(b"IMG        ")
    reserved = int.from_bytes(boot[14:16], "little") * 512
    dates = [(entry + 11, entry + 12), (entry + 18, entry + 20), (entry + 22, entry + 26)]
    # The information sector of FAT32 counts free clusters.
    return [(FAT_OFFSET + 512, FAT_OFFSET + reserved), (FAT_OFFSET + reserved, data), *dates,
            *folder]


def extract(stick, files, folder):
    """Copy the image's files off the stick; returns the top image."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in files:
        fs.run("mcopy", "-i", f"{stick}@@{FAT_OFFSET}", f"::{path}",
               folder / pathlib.Path(path).name)
    return next(folder / name for name in ("debian.qcow2", "debian.raw")
                if (folder / name).exists())


def check_fat(stick):
    part = stick.with_suffix(".fat")
    size = stick.stat().st_size - 2 * fs.MIB
    fs.run("dd", f"if={stick}", f"of={part}", "bs=1M", f"skip={FAT_OFFSET // fs.MIB}",
           f"count={size // fs.MIB}", "conv=sparse")
    try:
        fs.run("fsck.fat", "-n", part)
        with open(part, "rb") as file:
            file.seek(65)
            check(file.read(1)[0] & 1 == 0, "the FAT's dirty bit is set")
    finally:
        part.unlink()


def e2fsck(option, part, good=(0,)):
    """With the time of now: what a guest has written is not from the future. Returns its words."""
    return fs.run("e2fsck", option, part, good=good, env={"E2FSPROGS_FAKE_TIME": "0"})


def qemu_img(verb, top, *words, good=(0,)):
    """In the image's folder: QEMU looks for a data file's name from where it runs. The passphrase
    of an encrypted image is stored beside it."""
    image = [top.name]
    secret = top.parent / "passphrase"
    if secret.exists():
        image = ["--object", f"secret,id=key,data={secret.read_text(encoding='ascii').rstrip()}",
                 "--image-opts", f"driver=qcow2,encrypt.key-secret=key,file.filename={top.name}"]
    fs.run("qemu-img", verb, *words[:-1], *image, *words[-1:], cwd=top.parent, good=good)


def root_partition(top, record):
    """The root file system of an image, as a file."""
    part = top.with_suffix(".ext4")
    image = {"driver": top.suffix[1:], "file": {"driver": "file", "filename": top.name}}
    words, secret = [], top.parent / "passphrase"
    if secret.exists():
        words = ["--object", f"secret,id=key,data={secret.read_text(encoding='ascii').rstrip()}"]
        image["encrypt"] = {"key-secret": "key"}
    node = {"driver": "raw", "offset": record["root_start"], "size": record["root_size"],
            "file": image}
    fs.run("qemu-img", "convert", *words, "-O", "raw", "json:" + json.dumps(node), part.name,
           cwd=top.parent)
    return part


def check_image(top, record, digests):
    """The image is in order, and the file system in it; files of /var/lib/metalcow have the digests
    that the guest told, {name: digest}."""
    if top.suffix == ".qcow2":
        qemu_img("check", top)
    part = root_partition(top, record)
    try:
        e2fsck("-fn", part)
        for name, digest in digests.items():
            out = top.with_suffix(".file")
            fs.run("debugfs", "-R", f"dump /var/lib/metalcow/{name} {out}", part)
            check(hashlib.sha256(out.read_bytes()).hexdigest() == digest,
                  f"the image's '{name}' is not what the guest says it wrote")
            out.unlink()
    finally:
        part.unlink()

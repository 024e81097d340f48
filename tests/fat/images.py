"""Images on generated FAT volumes: the template, and disks with many volumes."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.fat import odd_fat  # noqa: E402
from tools import fs  # noqa: E402

IMAGE_SIZE = 80 * fs.MIB
DATA_START = 320 * 1024  # of the guest's first byte in the template: checked when it is made
MAX_PARTITIONS = 100


def make_template(folder):
    """A qcow2 image of 80 MiB whose clusters are all allocated, in a row, and nearly all zeros."""
    path = pathlib.Path(folder) / "template.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path,
                    str(IMAGE_SIZE)], check=True)
    mapped = subprocess.run(["qemu-img", "map", "--output=json", path], check=True,
                            capture_output=True, text=True).stdout
    if f'"offset": {DATA_START}' not in mapped.splitlines()[0]:
        raise RuntimeError(f"the template is stored in another way: {mapped.splitlines()[0]}")
    return odd_fat.Template.load(path, DATA_START)


def make_disk(path, volumes, writer):
    """A GPT disk with a partition for each volume; writer(volume, file, base) fills it."""
    parts, at = [], fs.MIB
    for number, volume in enumerate(volumes, start=1):
        size = -(-volume.size // fs.MIB) * fs.MIB
        # The partition ends where the volume says, so that a driver sees what the test means.
        parts.append({"start": at, "size": volume.size // 512 * 512, "type": fs.TYPE_ESP,
                      "name": f"odd{number}",
                      "guid": f"4d435753-0000-4000-8001-{number:012d}"})
        at += size
    fs.make_sparse(path, at + fs.MIB)
    fs.make_gpt(path, "4d435753-0000-4000-8001-000000000000", parts)
    with open(path, "r+b") as file:
        for volume, part in zip(volumes, parts):
            writer(volume, file, part["start"])
    return path


class Reader:
    """The host's reader, one process for many volumes."""

    def __init__(self, program, *arguments):
        self.process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def look(self, image, offset, size, path):
        """What fat_reader says about a file, as text."""
        self.process.stdin.write(f"{image}\t{offset}\t{size}\t{path}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

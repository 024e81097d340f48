#!/usr/bin/python3
"""A file of a FAT volume is replaced. Whenever the stick is pulled, the name stands for the old
file or the new one, whole, and fsck.fat finds no clusters that two files share."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tools import fs  # noqa: E402
from tools.stick import exchange, make_stick, volumes  # noqa: E402

# bits, cluster, size of the stick in MiB
VOLUMES = {"fat12": (12, 1024, 3), "fat16": (16, 512, 8), "fat32": (32, 512, 40)}
OLD, NEW = b"the old loader" * 3000, b"the new one" * 7000
PATH = "/EFI/BOOT/a long name.efi"
PARTIAL = PATH + ".partial"


class Pulled(Exception):
    """The stick was pulled."""


@contextlib.contextmanager
def stick(kind, files):
    bits, cluster, size = VOLUMES[kind]
    with tempfile.TemporaryDirectory() as folder:
        yield make_stick.make_stick(pathlib.Path(folder) / "stick.img", files, scheme="superfloppy",
                                    bits=bits, cluster=cluster, size=size * fs.MIB)


def content(path, name):
    return b"".join(volumes.FatVolume(path, 0).read(name))


def writing_until(count, write=exchange.write_durably):
    """A function that writes `count` times; before the next time the stick is pulled."""
    left = [count]

    def limited(*arguments):
        if left[0] == 0:
            raise Pulled
        left[0] -= 1
        write(*arguments)
    return limited


def check_pulled(kind, count, wanted):
    with stick(kind, {PATH: OLD, PARTIAL: NEW, "/beside": b"beside"}) as path:
        try:
            exchange.exchange(path, 0, PARTIAL, PATH, writing_until(count))
        except Pulled:
            pass
        cases.check(content(path, PATH) == wanted, f"{kind}: another content after {count} writes")
        said = subprocess.run(["/usr/sbin/fsck.fat", "-n", path], check=False,
                              stdout=subprocess.PIPE).stdout.decode()
        cases.check("share" not in said, f"{kind}: after {count} writes: {said}")
        cases.check(content(path, "/beside") == b"beside", "another file has changed")


def test_exchange_pulled_after_each_write_leaves_a_whole_file():
    for kind in VOLUMES:
        for count, wanted in enumerate((OLD, OLD, NEW, NEW)):
            check_pulled(kind, count, wanted)


def test_exchange_makes_three_writes_of_one_sector():
    writes = []
    with stick("fat32", {PATH: OLD, PARTIAL: NEW}) as path:
        cases.check(exchange.exchange(path, 0, PARTIAL, PATH,
                                      lambda _, at, data: writes.append((at, len(data)))), "empty")
    cases.check_equal(len(writes), 3, "writes")
    for at, length in writes:
        cases.check(at // 512 == (at + length - 1) // 512, f"{length} bytes at {at}")


def test_rename_replaces_a_file_and_frees_the_old_one():
    for kind in VOLUMES:
        with stick(kind, {PATH: OLD, PARTIAL: NEW}) as path:
            free = volumes.FatVolume(path, 0).free
            volume = volumes.FatVolume(path, 0)
            volume.rename(PARTIAL, PATH)
            cases.check(content(path, PATH) == NEW, "the old content")
            cases.check(not volume.has(PARTIAL), "the first name is still there")
            fs.run("fsck.fat", "-n", path)
            cases.check(volumes.FatVolume(path, 0).free >= free + len(OLD), "nothing was freed")


def test_rename_of_and_over_an_empty_file():
    for old, new in ((b"", NEW), (OLD, b""), (b"", b"")):
        with stick("fat16", {PATH: old, PARTIAL: new}) as path:
            volumes.FatVolume(path, 0).rename(PARTIAL, PATH)
            cases.check(content(path, PATH) == new, "the old content")
            fs.run("fsck.fat", "-n", path)


if __name__ == "__main__":
    cases.main(globals())

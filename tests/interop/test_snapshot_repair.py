#!/usr/bin/python3
"""`metalcow snapshot` and `metalcow check -r` beside qemu-img 7.2: each accepts what the other
wrote, says the same, and leaves the same content."""

import json
import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop.tool import METALCOW, Folder  # noqa: E402

FORMS = {
    "64k": (),
    "512": ("-o", "cluster_size=512"),
    "2M": ("-o", "cluster_size=2M"),
    "v2": ("-o", "compat=0.10"),
    "extended": ("-o", "extended_l2=on,cluster_size=16k"),
    "refcount-64": ("-o", "refcount_bits=64,cluster_size=4k"),
    "lazy": ("-o", "lazy_refcounts=on"),
}
SIZE = 8 << 20


def create(folder, name, *options):
    folder.qemu_img("create", "-q", "-f", "qcow2", *options, name, SIZE)
    folder.qemu_io("qcow2", name, "write -q -P 17 1000 700000", "write -q -z 1M 192k",
                   "write -q -P 18 5M 100k")


def clean(folder, name):
    """Both checks find nothing, and nothing is leaked."""
    check_equal(folder.qemu_img("check", name).splitlines()[0],
                "No errors were found on the image.", f"qemu-img check {name}")
    check_equal(folder.good("check", name).splitlines()[0],
                "No errors were found on the image.", f"metalcow check {name}")


def content(folder, name, snapshot=None):
    """What qemu-img reads."""
    option = ("-l", f"snapshot.name={snapshot}") if snapshot else ()
    folder.qemu_img("convert", "-f", "qcow2", *option, "-O", "raw", name, "content.raw")
    return (folder.path / "content.raw").read_bytes()


def table(text):
    """The rows of a snapshot list without dates."""
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", line) for line in text.splitlines()]


def test_snapshots_in_turn():
    """Each operation by one program, on what the other one left; we and they begin in turn."""
    first = False
    for form, options in FORMS.items():
        first = not first
        with Folder("snapshots") as folder:
            def snapshot(mine, *arguments):
                (folder.good if mine else folder.qemu_img)("snapshot", *arguments, "a.qcow2")
                clean(folder, "a.qcow2")

            create(folder, "a.qcow2", *options)
            states = {"one": content(folder, "a.qcow2")}
            snapshot(first, "-c", "one")
            folder.qemu_io("qcow2", "a.qcow2", "write -q -P 19 100k 300k", "discard -q 5M 1M")
            states["two"] = content(folder, "a.qcow2")
            snapshot(not first, "-c", "two")
            folder.qemu_io("qcow2", "a.qcow2", "write -q -P 20 0 1M")
            check_equal(table(folder.good("snapshot", "-l", "a.qcow2")),
                        table(folder.qemu_img("snapshot", "-l", "a.qcow2")), f"{form}: list")
            for name, state in states.items():
                check(content(folder, "a.qcow2", name) == state, f"{form}: snapshot {name}")
            snapshot(first, "-a", "one")
            check(content(folder, "a.qcow2") == states["one"], f"{form}: one applied")
            snapshot(not first, "-a", "two")
            check(content(folder, "a.qcow2") == states["two"], f"{form}: two applied")
            snapshot(first, "-d", "one")
            check(content(folder, "a.qcow2", "two") == states["two"], f"{form}: two is left")
            folder.qemu_io("qcow2", "a.qcow2", "write -q -P 21 3M 70k")
            clean(folder, "a.qcow2")
            snapshot(not first, "-d", "two")
            check_equal(folder.good("snapshot", "-l", "a.qcow2"), "", f"{form}: none is left")


def test_new_entries_are_qemu_imgs():
    """The bytes of an entry: all but place, date and name are the same."""
    with Folder("entries") as folder:
        entries = []
        for program in (folder.good, folder.qemu_img):
            create(folder, "a.qcow2")
            program("snapshot", "-c", "a name", "a.qcow2")
            image = (folder.path / "a.qcow2").read_bytes()
            at = struct.unpack(">Q", image[64:72])[0]
            entries.append(image[at + 8:at + 16] + image[at + 24:at + 71])
        check_equal(entries[0], entries[1], "the entry")


def test_apply_changes_the_size_as_qemu_img_does():
    with Folder("size") as folder:
        for program in (folder.good, folder.qemu_img):
            create(folder, "a.qcow2")
            program("snapshot", "-c", "small", "a.qcow2")
            folder.qemu_img("resize", "-q", "a.qcow2", "64M")
            folder.qemu_io("qcow2", "a.qcow2", "write -q -P 1 40M 1M")
            program("snapshot", "-a", "small", "a.qcow2")
            clean(folder, "a.qcow2")
            info = json.loads(folder.qemu_img("info", "--output=json", "a.qcow2"))
            check_equal(info["virtual-size"], SIZE, "the size after it")


def test_snapshot_refusals_are_qemu_imgs():
    with Folder("refusals") as folder:
        create(folder, "one-bit.qcow2", "-o", "refcount_bits=1")
        create(folder, "data.qcow2", "-o", "data_file=data.raw")
        create(folder, "a.qcow2")
        before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
        for arguments in (("-c", "x", "one-bit.qcow2"), ("-c", "x", "data.qcow2"),
                          ("-a", "x", "data.qcow2"), ("-d", "x", "data.qcow2"),
                          ("-a", "gone", "a.qcow2"), ("-d", "gone", "a.qcow2"),
                          ("-c", "x", "-d", "y", "a.qcow2"), ("-l", "-a", "y", "a.qcow2"),
                          ("-c", "x", "gone.qcow2")):
            status, out, err = folder.ours("snapshot", *arguments)
            theirs = folder.run("qemu-img", "snapshot", *arguments)
            check_equal((status, out), theirs[:2], f"snapshot {arguments}: {err} {theirs[2]}")
            check(err.startswith("metalcow: "), err)
        for name, data in before.items():
            if name != "one-bit.qcow2":  # qemu-img leaves leaks there
                check((folder.path / name).read_bytes() == data, f"{name} has changed")


# --- check -r ------------------------------------------------------------------------------------

def number(image, at, length=8):
    return int.from_bytes(image[at:at + length], "big")


def put(image, at, value, length=8):
    image[at:at + length] = value.to_bytes(length, "big")


def block(image):
    """Offset of the first refcount block."""
    return number(image, number(image, 48))


def l2_table(image):
    return number(image, number(image, 40)) & 0x00fffffffffffe00


def leak(image):
    put(image, block(image) + 2 * 3, 5, 2)
    put(image, block(image) + 2 * 60, 1, 2)


def too_low(image):
    cluster = (number(image, l2_table(image)) & 0x00fffffffffffe00) >> 16
    put(image, block(image) + 2 * cluster, 0, 2)


def flags(image):
    put(image, l2_table(image), number(image, l2_table(image)) & ~(1 << 63))


def two_owners(image):
    put(image, l2_table(image) + 8, number(image, l2_table(image)))


def zeros_unaligned(image):
    put(image, l2_table(image) + 8, (number(image, l2_table(image) + 8) | 1) + 512)


def no_block(image):
    put(image, number(image, 48), 0)


def block_reserved(image):
    put(image, number(image, 48), number(image, number(image, 48)) | 1)


def dirty(image):
    too_low(image)
    image[79] |= 1


def corrupt_only(image):
    image[79] |= 2


DAMAGES = (leak, too_low, flags, two_owners, zeros_unaligned, no_block, block_reserved, dirty,
           corrupt_only)


def repair(folder, program, what, name):
    """Exit status, and the JSON of a repair."""
    status, out, _ = folder.run(program, "check", "-r", what, "--output=json", name)
    return status, json.loads(out) if out else {}


def same_counts(ours, theirs, what):
    for key in ("corruptions", "leaks", "check-errors", "leaks-fixed", "corruptions-fixed"):
        check_equal(ours.get(key, 0), theirs.get(key, 0), f"{what}: {key}")


def test_repairs_are_qemu_imgs():
    """Each damage mended by both: the same counts and exit status, no errors after it, and the same
    content. Rebuilt refcount structures are elsewhere and count differently: there only the end
    counts."""
    rebuilt = (no_block, block_reserved, too_low, dirty)
    for damage in DAMAGES:
        with Folder("repairs") as folder:
            create(folder, "right.qcow2")
            folder.qemu_io("qcow2", "right.qcow2", "write -q -P 3 4M 256k")
            image = bytearray((folder.path / "right.qcow2").read_bytes())
            damage(image)
            for what in ("leaks", "all"):
                for name in ("ours.qcow2", "theirs.qcow2"):
                    (folder.path / name).write_bytes(image)
                status, ours = repair(folder, METALCOW, what, "ours.qcow2")
                expected, theirs = repair(folder, "qemu-img", what, "theirs.qcow2")
                title = f"{damage.__name__}, -r {what}"
                if damage not in rebuilt and (damage, what) != (zeros_unaligned, "leaks"):
                    same_counts(ours, theirs, title)
                if damage not in rebuilt:
                    check_equal(status, expected, f"{title}: exit status")
                if what == "all":
                    check_equal(status, 0, f"{title}: exit status")
                    clean(folder, "ours.qcow2")
                    check(content(folder, "ours.qcow2") == content(folder, "theirs.qcow2"),
                          f"{title}: content")
                    info = json.loads(folder.qemu_img("info", "--output=json", "ours.qcow2"))
                    check_equal(info["dirty-flag"], False, f"{title}: dirty")
                    check_equal(info["format-specific"]["data"]["corrupt"], False,
                                f"{title}: corrupt")


def test_repair_says_what_qemu_img_says():
    with Folder("texts") as folder:
        create(folder, "right.qcow2")
        image = bytearray((folder.path / "right.qcow2").read_bytes())
        leak(image)
        for name in ("ours.qcow2", "theirs.qcow2"):
            (folder.path / name).write_bytes(image)
        ours = folder.ours("check", "-r", "leaks", "ours.qcow2")
        theirs = folder.run("qemu-img", "check", "-r", "leaks", "theirs.qcow2")
        check_equal(ours[:2], theirs[:2], "check -r leaks")
        check_equal(ours[2], "".join(line for line in theirs[2].splitlines(True)
                                     if line.startswith("Repairing")), "check -r leaks: findings")
        check_equal(folder.good("check", "--repair=all", "-q", "ours.qcow2"), "", "quiet")
        for arguments in (("-r", "some", "ours.qcow2"), ("-r", "all", "gone.qcow2")):
            status, _, err = folder.ours("check", *arguments)
            check_equal(status, 1, f"check {arguments}: {err}")


def test_repair_of_a_read_only_file_is_refused():
    with Folder("read-only") as folder:
        create(folder, "a.qcow2")
        folder.qemu_img("convert", "-f", "qcow2", "-O", "raw", "a.qcow2", "a.raw")
        status, _, err = folder.ours("check", "-f", "raw", "-r", "all", "a.raw")
        check_equal(status, 63, f"a raw image: {err}")


if __name__ == "__main__":
    main(globals())

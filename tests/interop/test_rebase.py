#!/usr/bin/python3
"""`metalcow rebase`: the disk reads as before above the other backing file, in no more clusters
than `qemu-img rebase` takes; and what fails changes no byte of the disk."""

import json
import pathlib
import random
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

folder = tool.Folder("rebase")
MIB = 1 << 20


def fill(chooser, size):
    commands = []
    for _ in range(8):
        at = chooser.randrange(size // 512) * 512
        length = min(chooser.randrange(1, 400) * 512, size - at)
        commands.append(f"{chooser.choice(('write -P 1', 'write -P 2', 'write -z'))} {at} {length}")
    return commands


def make(name, image_format, size, chooser, *options):
    folder.qemu_img("create", "-q", "-f", image_format, *options, name, size)
    folder.qemu_io(image_format, name, *fill(chooser, size))


def make_files(sizes, options):
    """base <- mid <- top, and other, other.raw; sizes of base, mid, top, others."""
    shutil.rmtree(folder.path / "f", ignore_errors=True)
    (folder.path / "f").mkdir()
    chooser = random.Random(str((sizes, options)))
    words = ["-o", options] if options else []
    make("f/base", "qcow2", sizes[0], chooser)
    make("f/mid", "qcow2", sizes[1], chooser, "-b", "base", "-F", "qcow2")
    make("f/top", "qcow2", sizes[2], chooser, *words, "-b", "mid", "-F", "qcow2")
    make("f/other", "qcow2", sizes[3], chooser, "-o", "cluster_size=4k")
    make("f/other.raw", "raw", sizes[3], chooser)
    shutil.copy(folder.path / "f/top", folder.path / "f/theirs")


def content(name):
    folder.qemu_img("convert", "-f", "qcow2", "-O", "raw", name, "content.raw")
    return (folder.path / "content.raw").read_bytes()


def allocated(name):
    """Clusters that an image has itself."""
    size = json.loads(folder.qemu_img("info", "--output=json", name))["cluster-size"]
    clusters = set()
    for entry in json.loads(folder.qemu_img("map", "--output=json", name)):
        if entry["depth"] == 0 and entry["present"]:
            clusters.update(range(entry["start"] // size,
                                  (entry["start"] + entry["length"] + size - 1) // size))
    return len(clusters)


def check_rebase(sizes, options, base, base_format):
    make_files(sizes, options)
    want = content("f/top")
    arguments = ["-b", base, *(["-F", base_format] if base_format else [])]
    what = f"{sizes} {options} {arguments}"
    check_equal(folder.good("rebase", *arguments, "f/top"), "", f"{what}: output")
    folder.qemu_img("rebase", "-f", "qcow2", *arguments, "f/theirs")
    folder.qemu_img("check", "-q", "f/top")
    check(content("f/theirs") == want, f"{what}: qemu-img's content")
    check(content("f/top") == want, f"{what}: content")
    info = json.loads(folder.qemu_img("info", "--output=json", "f/top"))
    check_equal(info.get("backing-filename", ""), base, what)
    check_equal(info.get("backing-filename-format"), base_format, what)
    ours, theirs = allocated("f/top"), allocated("f/theirs")
    check(ours <= theirs, f"{what}: {ours} clusters in the image, qemu-img {theirs}")


SAME = (2 * MIB, 2 * MIB, 2 * MIB, 2 * MIB)


def test_other_file():
    for options in ("", "cluster_size=512", "cluster_size=2M", "extended_l2=on"):
        check_rebase(SAME, options, "other", "qcow2")
    check_rebase(SAME, "", "other.raw", "raw")


def test_no_file():
    for options in ("", "cluster_size=512", "compat=0.10"):
        check_rebase(SAME, options, "", None)


def test_file_of_the_same_chain():
    check_rebase(SAME, "", "base", "qcow2")
    check_rebase(SAME, "", "mid", "qcow2")
    check_equal(allocated("f/top"), allocated("f/theirs"), "nothing is copied above the same file")


def test_backing_files_of_the_command_line_are_compared():
    """--backing-file puts `other` below `mid`, and mid's own name leads to `base`."""
    make_files(SAME, "")
    below = ("--backing-file", "f/mid", "--backing-file", "f/other")
    folder.good("convert", "-O", "raw", *below, "f/top", "want.raw")
    want = (folder.path / "want.raw").read_bytes()
    check(content("f/top") != want, "the two chains hold the same")
    folder.good("rebase", *below, "-b", "mid", "-F", "qcow2", "f/top")
    check(content("f/top") == want, "content")


def test_sizes_differ():
    for sizes in ((MIB, 3 * MIB, 2 * MIB, 5 * MIB), (3 * MIB, MIB, 2 * MIB, MIB)):
        for base, base_format in (("other", "qcow2"), ("other.raw", "raw"), ("base", "qcow2"),
                                  ("", None)):
            check_rebase(sizes, "", base, base_format)


def test_version_2_without_a_backing_file():
    """There, zeros above the new file have to be bytes; QEMU 7.2 leaves them unallocated."""
    shutil.rmtree(folder.path / "f", ignore_errors=True)
    (folder.path / "f").mkdir()
    make("f/short", "qcow2", MIB, random.Random(1))
    folder.qemu_img("create", "-q", "-f", "raw", "f/other.raw", 2 * MIB)
    folder.qemu_io("raw", "f/other.raw", f"write -P 7 0 {2 * MIB}")
    for below in ((), ("-b", "short", "-F", "qcow2")):
        folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "compat=0.10,cluster_size=8k", *below,
                        "f/top", 2 * MIB)
        folder.qemu_io("qcow2", "f/top", "write -P 9 64k 10k")
        want = content("f/top")
        folder.good("rebase", "-b", "other.raw", "-F", "raw", "f/top")
        check(content("f/top") == want, f"over {below}: content")
        folder.qemu_img("check", "-q", "f/top")


def test_refused_changes_nothing():
    make_files(SAME, "")
    before = (folder.path / "f/top").read_bytes()
    for arguments, words in ((("-b", "gone", "-F", "qcow2", "f/top"), "gone"),
                             (("-b", "other", "f/top"), "the new backing file is not given"),
                             (("f/top",), "the new backing file is not named"),
                             (("-b", "top", "-F", "qcow2", "f/top"), "twice"),
                             (("-b", "other", "-F", "qcow2", "f/gone"), "gone"),
                             (("-f", "raw", "-b", "other", "-F", "qcow2", "f/top"), "raw image")):
        status, out, err = folder.ours("rebase", *arguments)
        check((status, out) == (1, "") and words in err, f"{arguments}: {status} {out} {err}")
        check((folder.path / "f/top").read_bytes() == before, f"{arguments}: the image was changed")
    deep = folder.path / "f" / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    shutil.copy(folder.path / "f/other", deep)
    folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "f/small", MIB)
    before = (folder.path / "f/small").read_bytes()
    status, _, err = folder.ours("rebase", "-b", deep.relative_to(folder.path / "f") / "other",
                                 "-F", "qcow2", "f/small")
    check(status == 1 and "first cluster" in err, f"a name without room: {err}")
    check((folder.path / "f/small").read_bytes() == before, "data came before the refusal")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "top", "-F", "qcow2", "f/above")
    status, _, err = folder.ours("rebase", "-b", "above", "-F", "qcow2", "f/top")
    check(status == 1 and "twice" in err, f"a loop: {err}")


def test_header_changes_after_the_data_are_durable():
    make_files(SAME, "")
    trace = folder.traced("rebase", "-b", "other", "-F", "qcow2", "f/top")
    check_equal(trace[-1], ("flush", "top"), "the last call")
    check(trace.count(("flush", "top")) >= 2, f"{trace}")
    check_equal({name for _, name in trace}, {"top"}, "files that were written")


if __name__ == "__main__":
    with folder:
        main(globals())

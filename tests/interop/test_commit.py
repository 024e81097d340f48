#!/usr/bin/python3
"""`metalcow commit` leaves the files that `qemu-img commit` leaves: the base's content and size, an
overlay that is empty (or as it was), sound both; and a failed commit loses nothing."""

import json
import pathlib
import random
import resource
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

folder = tool.Folder("commit")
SEED = 7
CLUSTER = 65536
NAMES = ("base", "mid", "top")


def writes(chooser, size, compressed):
    """Data and zeros at places that no layer has from another; compressed clusters first, since
    qemu-io writes none where something is stored."""
    clusters = chooser.sample(range(size // CLUSTER), 3)
    commands = [f"write -c -P 3 {at * CLUSTER} {CLUSTER}" for at in clusters] if compressed else []
    for _ in range(12):
        at = chooser.randrange(size // 512) * 512
        length = min(chooser.randrange(1, 300) * 512, size - at)
        kind = chooser.choice(("write -P 1", "write -P 2", "write -z", "write -z -u"))
        commands.append(f"{kind} {at} {length}")
    return commands


def make_chain(name, layers, base_format="qcow2"):
    """A folder with a chain; layers are (cluster size or options, size), the lowest first."""
    chooser = random.Random(SEED)
    path = folder.path / name
    path.mkdir()
    for i, (options, size) in enumerate(layers):
        file = f"{name}/{NAMES[i]}"
        image_format = base_format if i == 0 else "qcow2"
        words = ["-o", options] if options and image_format == "qcow2" else []
        if i > 0:
            words += ["-b", NAMES[i - 1], "-F", base_format if i == 1 else "qcow2"]
        folder.qemu_img("create", "-q", "-f", image_format, *words, file, size)
        compressed = image_format == "qcow2" and options in ("", "cluster_size=64k")
        folder.qemu_io(image_format, file, *writes(chooser, size, compressed))
    return name


def content(path, image_format):
    folder.qemu_img("convert", "-f", image_format, "-O", "raw", path, "content.raw")
    return (folder.path / "content.raw").read_bytes()


def state(name, nb_layers, base_format):
    """What a program left of a chain: each file's own format, size, map and disk."""
    found = []
    for i in range(nb_layers):
        path = f"{name}/{NAMES[i]}"
        image_format = base_format if i == 0 else "qcow2"
        if image_format == "qcow2":
            folder.qemu_img("check", "-q", path)
        present = json.loads(folder.qemu_img("map", "--output=json", "-f", image_format, path))
        top = sum(entry["length"] for entry in present
                  if entry["depth"] == 0 and entry["present"] and i > 0)
        found.append((NAMES[i], content(path, image_format), top))
    return found


def compare_with_qemu(layers, *options, base_format="qcow2", top=None):
    """Both programs on copies of one chain."""
    shutil.rmtree(folder.path / "theirs", ignore_errors=True)
    shutil.rmtree(folder.path / "ours", ignore_errors=True)
    make_chain("theirs", layers, base_format)
    shutil.copytree(folder.path / "theirs", folder.path / "ours")
    top = top or NAMES[len(layers) - 1]
    want = content(f"theirs/{top}", "qcow2")
    said = [folder.qemu_img("commit", "-f", "qcow2", *options, f"theirs/{top}"),
            folder.good("commit", *options, f"ours/{top}")]
    check_equal(said[1], said[0], "words")
    theirs, ours = state("theirs", len(layers), base_format), state("ours", len(layers),
                                                                    base_format)
    what = f"{layers} {options} {base_format}"
    for (name, their_disk, their_top), (_, our_disk, our_top) in zip(theirs, ours):
        check_equal(len(our_disk), len(their_disk), f"{what}: size of {name}")
        check(our_disk == their_disk, f"{what}: content of {name}")
        # QEMU writes zeros over a longer backing file even where that one has none to hide.
        check(our_top <= their_top, f"{what}: {name} has {our_top} bytes itself, not {their_top}")
    return want, ours


MIB = 1 << 20


def test_chains_of_two():
    for below, above in (("512", "512"), ("512", "2M"), ("64k", "512"), ("2M", "64k")):
        below, above = f"cluster_size={below}", f"cluster_size={above}"
        want, left = compare_with_qemu([(below, 3 * MIB), (above, 3 * MIB)])
        check(left[0][1] == want, "the base has the disk")
        check_equal(left[1][2], 0, "bytes left in the overlay")


def test_formats_of_both():
    for below, above in (("compat=0.10", "compat=0.10"), ("", "compat=0.10"), ("compat=0.10", ""),
                         ("extended_l2=on", "extended_l2=on,cluster_size=16k"),
                         ("refcount_bits=1", "refcount_bits=64"), ("lazy_refcounts=on", "")):
        compare_with_qemu([(below, 2 * MIB), (above, 2 * MIB)])


def test_sizes_differ():
    for sizes in ((MIB, 3 * MIB), (3 * MIB, MIB), (MIB + 512, 2 * MIB - 512)):
        for base_format in ("qcow2", "raw"):
            compare_with_qemu([("", sizes[0]), ("", sizes[1])], base_format=base_format)


def test_chains_of_three_into_the_middle():
    for sizes in ((2 * MIB, 2 * MIB, 2 * MIB), (3 * MIB, MIB, 2 * MIB), (MIB, 2 * MIB, 3 * MIB)):
        want, left = compare_with_qemu([("cluster_size=4k", sizes[0]), ("", sizes[1]),
                                        ("cluster_size=512", sizes[2])])
        check(left[1][1] == want, "the middle shows the disk")


def test_chains_of_three_into_the_base():
    for base, base_format in (("base", "qcow2"), ("base", "raw")):
        want, left = compare_with_qemu([("", 2 * MIB), ("cluster_size=4k", 2 * MIB), ("", 2 * MIB)],
                                       "-b", base, base_format=base_format)
        check(left[0][1] == want, "the base has the disk")
        check(left[2][2] > 0, "-b leaves the overlay as it is")


def test_layers_shorter_than_the_base_hide_it():
    """What is after a short middle reads as zeros, and has to in the base afterwards."""
    want, left = compare_with_qemu([("", 3 * MIB), ("", MIB), ("", 3 * MIB)], "-b", "base")
    check(left[0][1] == want, "the base has the disk")


def test_zeros_give_clusters_of_the_base_back():
    for options in ("", "cluster_size=512", "extended_l2=on", "compat=0.10"):
        words = ["-o", options] if options else []
        for name in ("zb", "zt"):
            (folder.path / name).unlink(missing_ok=True)
        folder.qemu_img("create", "-q", "-f", "qcow2", *words, "zb", "1M")
        folder.qemu_io("qcow2", "zb", "write -P 3 0 1M")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "zb", "-F", "qcow2", "zt")
        folder.qemu_io("qcow2", "zt", "write -z 64k 896k")
        want = content("zt", "qcow2")
        folder.good("commit", "-q", "zt")
        check(content("zb", "qcow2") == want, f"{options}: content")
        got = json.loads(folder.qemu_img("check", "--output=json", "zb"))["allocated-clusters"]
        most = 256 if options == "cluster_size=512" else 2  # the first and the last 64 KiB
        check(got <= most, f"{options}: {got} clusters in the base")


def test_drop_quiet_and_progress():
    _, left = compare_with_qemu([("", MIB), ("", MIB)], "-d")
    check(left[1][2] > 0, "-d leaves the overlay as it is")
    compare_with_qemu([("", MIB), ("", MIB)], "-q")
    shutil.rmtree(folder.path / "shown", ignore_errors=True)
    make_chain("shown", [("", MIB), ("", MIB)])
    out = folder.good("commit", "-p", "shown/mid")
    check(out.startswith("    (0.00/100%)\r"), repr(out))
    check(out.endswith("(100.00/100%)\r\nImage committed.\n"), repr(out))


def test_wrong_command_lines():
    shutil.rmtree(folder.path / "wrong", ignore_errors=True)
    make_chain("wrong", [("", MIB), ("", MIB)])
    before = (folder.path / "wrong/mid").read_bytes()
    for arguments, words in ((("wrong/base",), "has no backing file"),
                             (("-f", "raw", "wrong/mid"), "has no backing file"),
                             (("-b", "elsewhere", "wrong/mid"), "backing chain"),
                             (("-b", "mid", "wrong/mid"), "backing chain"),
                             (("gone",), "gone")):
        status, out, err = folder.ours("commit", *arguments)
        check((status, out) == (1, "") and words in err, f"{arguments}: {status} {out} {err}")
    check(before == (folder.path / "wrong/mid").read_bytes(), "the overlay was changed")


def test_failed_commit_keeps_the_overlay():
    """The base may not grow: the overlay has to have everything still."""
    shutil.rmtree(folder.path / "full", ignore_errors=True)
    folder.path.joinpath("full").mkdir()
    folder.qemu_img("create", "-q", "-f", "qcow2", "full/base", "4M")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "full/top")
    folder.qemu_io("qcow2", "full/top", "write -P 5 0 3M")
    want = content("full/top", "qcow2")
    before = (folder.path / "full/top").read_bytes()
    limit = 2 * MIB
    done = subprocess.run(
        [str(tool.METALCOW), "commit", "full/top"], cwd=folder.path, capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    check_equal((done.returncode, done.stdout), (1, b""), f"{done.stderr}")
    check(b"full/base" in done.stderr or b"base" in done.stderr, f"{done.stderr}")
    check((folder.path / "full/top").read_bytes() == before, "the overlay was changed")
    folder.run("qemu-img", "check", "-q", "-r", "leaks", "full/base")
    check(content("full/top", "qcow2") == want, "the disk was changed")
    check_equal(folder.good("commit", "full/top"), "Image committed.\n", "once there is room")
    check(content("full/base", "qcow2") == want, "the base has the disk then")


def test_base_is_durable_before_the_overlay_is_emptied():
    shutil.rmtree(folder.path / "order", ignore_errors=True)
    make_chain("order", [("", MIB), ("", MIB)])
    trace = folder.traced("commit", "order/mid")
    overlay = [i for i, (call, name) in enumerate(trace) if call == "write" and name == "mid"]
    base = [i for i, (call, name) in enumerate(trace) if call == "write" and name == "base"]
    flushes = [i for i, (call, name) in enumerate(trace) if call == "flush" and name == "base"]
    check(base and overlay and flushes, f"{trace}")
    check(max(base) < max(flushes) < min(overlay), f"{trace}")


if __name__ == "__main__":
    with folder:
        main(globals())

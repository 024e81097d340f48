#!/usr/bin/python3
"""`metalcow convert -O qcow2`: the image holds the disk, as qemu-img and metalcow read it, sound,
about as small as qemu-img's, the same for any number of threads, and gone when it failed."""

import itertools
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

folder = tool.Folder("convert")
SEED = 244
SIZE = 5000192  # no multiple of a cluster


def make_source():
    """A chain with data that compress, data that do not, zeros, nothing; and a snapshot."""
    if (folder.path / "top.qcow2").exists():
        return "top.qcow2"
    chooser = random.Random(SEED)
    raw = bytearray(SIZE)
    for _ in range(12):
        at, length = chooser.randrange(SIZE), chooser.randrange(1, 150000)
        piece = chooser.choice((chooser.randbytes(length), b"some words, " * (length // 12),
                                bytes(range(256)) * (length // 256)))
        raw[at:at + length] = piece[:SIZE - at]
    raw[-700:] = b"e" * 700
    (folder.path / "base.raw").write_bytes(raw[:SIZE])
    folder.qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "base.raw", "base.qcow2")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "base.qcow2",
                    "-F", "qcow2", "top.qcow2")
    folder.qemu_io("qcow2", "top.qcow2", "write -P 7 1000 70000")
    folder.qemu_img("snapshot", "-c", "first", "top.qcow2")
    folder.qemu_io("qcow2", "top.qcow2", "write -z 512k 192k", "write -P 8 3M 5k",
                   "write -P 0 2M 128k")
    return "top.qcow2"


def remove(*names):
    for name in names:
        (folder.path / name).unlink(missing_ok=True)


def convert(target, *options, source=None):
    remove(target)
    folder.good("convert", "-O", "qcow2", *options, source or make_source(), target)
    return target


def info(name):
    return json.loads(folder.qemu_img("info", "--output=json", name))


def check_image(name, source=None):
    """Sound, and the disk of the source, by both programs."""
    source = source or make_source()
    folder.qemu_img("check", "-q", name)
    folder.good("check", "-q", name)
    folder.qemu_img("compare", "-q", "-f", "qcow2", "-F", "qcow2", name, source)
    folder.good("compare", "-q", name, source)


def size_of(name):
    return (folder.path / name).stat().st_size


def test_every_geometry_holds_the_disk():
    rows = [*itertools.product(range(9, 22), (("", ""), ("-c", ""))),
            *itertools.product((9, 16, 21), (("", ",compat=0.10"),
                                             ("-c", ",compression_type=zstd")))]
    for bits, (packing, options) in rows:
        options = ["-o", f"cluster_size={1 << bits}{options}"] + ([packing] if packing else [])
        check_image(convert("out.qcow2", *options))


def test_options_are_those_of_the_image():
    for options, fields in (("refcount_bits=1", {"refcount-bits": 1}),
                            ("refcount_bits=64", {"refcount-bits": 64}),
                            ("extended_l2=on", {"extended-l2": True}),
                            ("lazy_refcounts=on", {"lazy-refcounts": True}),
                            ("compat=0.10", {"compat": "0.10"}),
                            ("data_file=out.data", {"data-file": "out.data"}),
                            ("data_file=out.data,data_file_raw=on", {"data-file-raw": True})):
        check_image(convert("out.qcow2", "-o", options))
        data = info("out.qcow2")["format-specific"]["data"]
        check_equal({name: data[name] for name in fields}, fields, options)
    for options in ("refcount_bits=1", "extended_l2=on"):
        check_image(convert("out.qcow2", "-c", "-o", options))
    for how in ("metadata", "falloc", "full"):
        check_image(convert("out.qcow2", "-o", f"preallocation={how}"))
        check_equal(allocated("out.qcow2")[0], (SIZE + 65535) // 65536, f"clusters, {how}")


def test_raw_output_is_preallocated_as_by_qemu_img():
    make_source()
    folder.qemu_img("convert", "-O", "raw", "top.qcow2", "want.raw")
    want = (folder.path / "want.raw").read_bytes()
    for mode, full in (("off", False), ("falloc", True), ("full", True)):
        for more in ((), ("-S", "0"), ("-C",)):
            blocks = []
            for program in ("qemu-img", tool.METALCOW):
                (folder.path / "out.raw").write_bytes(b"old" * 1000)
                check_equal(folder.run(program, "convert", "-O", "raw", "-o",
                                       f"preallocation={mode}", *more, "top.qcow2", "out.raw"),
                            (0, "", ""), f"{program} {mode} {more}")
                check((folder.path / "out.raw").read_bytes() == want, f"{program} {mode} {more}")
                blocks.append((folder.path / "out.raw").stat().st_blocks * 512 >= SIZE)
            check_equal(blocks[0], blocks[1], f"{mode} {more}: qemu-img's and our blocks")
            check_equal(blocks[1], full or "-S" in more, f"{mode} {more}: blocks")
    remove("out.raw", "want.raw")


def test_raw_output_without_room_keeps_none():
    """A file system in memory refuses what is larger than itself at once."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        name = f"{memory}/out.raw"
        folder.qemu_img("create", "-q", "-f", "qcow2", "huge.qcow2", "1T")
        status, _, err = folder.ours("convert", "-O", "raw", "-o", "preallocation=falloc",
                                     "huge.qcow2", name)
        check(status == 1 and err.startswith(f"metalcow: {name}: "), err)
        check_equal(os.stat(name).st_size, 0, "what is left")


def allocated(name):
    answer = json.loads(folder.run("qemu-img", "check", "--output=json", name)[1])
    return answer["allocated-clusters"], answer.get("compressed-clusters", 0)


def test_clusters_are_those_of_qemu_img():
    """Which clusters are stored, which of them compressed, and how large the file is."""
    for options in ((), ("-c",), ("-c", "-o", "compression_type=zstd"),
                    ("-c", "-o", "cluster_size=4k"), ("-S", "0"), ("-c", "-S", "0"),
                    ("-o", "cluster_size=2M")):
        convert("ours.qcow2", *options)
        remove("theirs.qcow2")
        folder.qemu_img("convert", "-O", "qcow2", *options, make_source(), "theirs.qcow2")
        check_equal(allocated("ours.qcow2"), allocated("theirs.qcow2"), f"clusters, {options}")
        ours, theirs = size_of("ours.qcow2"), size_of("theirs.qcow2")
        check(ours <= theirs * 1.02 + 65536, f"{options}: {ours} bytes, qemu-img {theirs}")


def test_threads_do_not_change_the_image():
    for compression in ("zlib", "zstd"):
        contents = set()
        for threads in ("1", "2", "5", "16"):
            name = convert("out.qcow2", "-c", "-m", threads, "-o",
                           f"cluster_size=512,compression_type={compression}")
            contents.add((folder.path / name).read_bytes())
        check_equal(len(contents), 1, f"images of {compression}")


def test_output_over_a_backing_file_has_only_what_is_above():
    make_source()
    for options in ((), ("-c",), ("-o", "cluster_size=2M"), ("-c", "-o", "cluster_size=512")):
        check_image(convert("out.qcow2", "-B", "base.qcow2", "-F", "qcow2", *options))
        answer = info("out.qcow2")
        check_equal((answer["backing-filename"], answer["backing-filename-format"]),
                    ("base.qcow2", "qcow2"), "backing file")
    # 70000 bytes, 192 KiB of zeros, 5 KiB and 128 KiB in clusters of 4 KiB.
    convert("out.qcow2", "-B", "base.qcow2", "-F", "qcow2", "-o", "cluster_size=4k")
    check(allocated("out.qcow2")[0] <= 22, f"{allocated('out.qcow2')} clusters in the overlay")
    status, out, err = folder.ours("convert", "-O", "qcow2", "-B", "base.qcow2", "top.qcow2", "x")
    check((status, out) == (1, "") and "-F" in err, f"no format: {err}")


def test_snapshot_and_raw_input():
    make_source()
    folder.qemu_img("convert", "-O", "raw", "-l", "first", "top.qcow2", "first.raw")
    convert("out.qcow2", "-c", "-l", "first")
    folder.qemu_img("compare", "-q", "-F", "raw", "out.qcow2", "first.raw")
    (folder.path / "odd.raw").write_bytes(b"z" * 70001)
    for options in ((), ("-c",)):
        convert("out.qcow2", "-f", "raw", *options, source="odd.raw")
        folder.qemu_img("check", "-q", "out.qcow2")
        check_equal(folder.good("read", "0", "70144", "out.qcow2"), "z" * 70001 + "\0" * 143,
                    "a raw file of odd size")


def test_existing_output_is_overwritten_where_it_differs():
    make_source()
    for options in ((), ("-c",)):
        remove("out.qcow2")
        folder.qemu_img("create", "-q", "-f", "qcow2", "out.qcow2", "5M")
        folder.qemu_io("qcow2", "out.qcow2", "write -P 99 0 5M")
        folder.good("convert", "-n", "-O", "qcow2", *options, "top.qcow2", "out.qcow2")
        folder.qemu_img("check", "-q", "out.qcow2")
        status, out, _ = folder.ours("compare", "out.qcow2", "top.qcow2")
        check("identical" not in out or status == 0, out)
        want = folder.good("read", "0", SIZE, "top.qcow2")
        check_equal(folder.good("read", "0", SIZE, "out.qcow2") == want, True, "the disk's bytes")
    folder.qemu_img("create", "-q", "-f", "qcow2", "small.qcow2", "1M")
    status, _, err = folder.ours("convert", "-n", "-O", "qcow2", "top.qcow2", "small.qcow2")
    check(status == 1 and "smaller" in err, err)


def test_existing_output_with_another_backing_file_gets_the_whole_disk():
    """Only -B says that input and output share what is below them; an output that exists may stand
    on another file."""
    for name, pattern in (("one.qcow2", 1), ("two.qcow2", 2)):
        folder.qemu_img("create", "-q", "-f", "qcow2", name, "1M")
        folder.qemu_io("qcow2", name, f"write -P {pattern} 0 1M")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "one.qcow2", "-F", "qcow2", "source.qcow2")
    folder.qemu_io("qcow2", "source.qcow2", "write -P 3 64k 64k")
    for options in ((), ("-c",)):
        remove("out.qcow2")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "two.qcow2", "-F", "qcow2",
                        "out.qcow2")
        folder.good("convert", "-n", "-O", "qcow2", *options, "source.qcow2", "out.qcow2")
        check_image("out.qcow2", "source.qcow2")
    remove("out.qcow2")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "one.qcow2", "-F", "qcow2", "out.qcow2")
    folder.good("convert", "-n", "-B", "one.qcow2", "-O", "qcow2", "source.qcow2", "out.qcow2")
    check_image("out.qcow2", "source.qcow2")
    check_equal(allocated("out.qcow2")[0], 1, "clusters with -n -B")


def test_zeros_are_not_written_to_an_output_that_is_said_to_be_zero():
    """What the output has there stays, which shows that nothing was written."""
    make_source()
    want = folder.good("read", "0", SIZE, "top.qcow2")
    for options in (("-O", "raw"), ("-O", "qcow2"), ("-O", "qcow2", "-c"),
                    ("-O", "raw", "-S", "0"), ("-O", "qcow2", "-S", "0")):
        disks = []
        for program in ("qemu-img", tool.METALCOW):
            remove("out")
            folder.qemu_img("create", "-q", "-f", options[1], "out", str(SIZE))
            folder.qemu_io(options[1], "out", "write -P 99 640k 64k")
            check_equal(folder.run(program, "convert", "-n", "--target-is-zero", *options,
                                   "top.qcow2", "out"), (0, "", ""), f"{program} {options}")
            disks.append(folder.good("read", "-f", options[1], "0", SIZE, "out"))
        check(disks[0] == disks[1], f"{options}: another disk than qemu-img's")
        check((disks[1] == want) == ("-S" in options), f"{options}: what is written")
    for options, words in (((), "it needs -n"),
                           (("-n", "-B", "base.qcow2", "-F", "qcow2"), "(-B)")):
        remove("out")
        for program in ("qemu-img", tool.METALCOW):
            status, out, err = folder.run(program, "convert", "--target-is-zero", "-O", "qcow2",
                                          *options, "top.qcow2", "out")
            check(err and out == "" and not (folder.path / "out").exists(),
                  f"{program} {options}: {err}")
        # qemu-img says so too, but its status is 0 with -B.
        check(status == 1 and words in err, f"{status} {err}")


def test_nothing_is_written_past_the_end_of_the_backing_file():
    """What an output shows past its backing file's end is zeros already; an image of version 2 has
    no other way to note zeros than clusters full of them."""
    folder.qemu_img("create", "-q", "-f", "qcow2", "short.qcow2", "1M")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "short.qcow2", "-F", "qcow2", "long.qcow2",
                    "8M")
    folder.qemu_io("qcow2", "long.qcow2", "write -P 5 5M 64k", "write -z 6M 1M", "write -z 900k 4k")
    for compat, most in (("0.10", 2), ("1.1", 1)):
        for options in ((), ("-c",)):
            convert("out.qcow2", "-B", "short.qcow2", "-F", "qcow2", "-o", f"compat={compat}",
                    *options, source="long.qcow2")
            check_image("out.qcow2", "long.qcow2")
            got = allocated("out.qcow2")[0]
            check(got <= most, f"compat {compat} {options}: {got} clusters")


def test_compressing_into_a_data_file_is_refused_as_by_qemu_img():
    """Both refuse; ours says which file it is about and which option to leave out."""
    make_source()
    remove("out.qcow2", "out.data")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "data_file=out.data", "out.qcow2", "5M")
    for program in ("qemu-img", tool.METALCOW):
        status, _, err = folder.run(program, "convert", "-n", "-c", "-O", "qcow2", "top.qcow2",
                                    "out.qcow2")
        check_equal(status, 1, f"{program}")
    check("out.qcow2: " in err and "external data file" in err and "-c" in err, err)
    remove("new.qcow2", "new.data")
    status, _, err = folder.ours("convert", "-c", "-O", "qcow2", "-o", "data_file=new.data",
                                 "top.qcow2", "new.qcow2")
    check(status == 1 and "new.qcow2: " in err and "external data file" in err, err)
    for name in ("new.qcow2", "new.data"):
        check(not (folder.path / name).exists(), f"{name} is left behind")


def test_wrong_command_lines_leave_no_file():
    make_source()
    for options, words in ((("-O", "raw", "-c"), "cannot be compressed (-c)"),
                           (("-O", "qcow2", "-o", "cluster_size=5"), "cluster_size"),
                           (("-O", "qcow2", "-o", "compat=0.10,refcount_bits=1"), "refcount"),
                           (("-O", "qcow2", "-o", "nonsense=1"), "nonsense"),
                           (("-O", "qcow2", "-o", "size=1M"), "size"),
                           (("-O", "qcow2", "-c", "-o", "preallocation=full"), "preallocation"),
                           (("-O", "raw", "-o", "preallocation=metadata"), "no metadata"),
                           (("-O", "raw", "-o", "nonsense=1"), "create -f raw -o help"),
                           (("-O", "raw", "-S", "1000"), "-S: the zeros"),
                           (("-O", "qcow2", "-S", "16777728"), "-S: the zeros"),
                           (("-O", "qcow2", "-m", "17"), "from 1 to 16"),
                           (("-O", "qcow2", "-m", "0"), "from 1 to 16"),
                           (("-O", "qcow2", "-n", "-o", "compat=1.1"), "-o cannot say"),
                           (("-O", "qcow2", "-B", "gone.qcow2", "-F", "qcow2"), "gone.qcow2")):
        status, out, err = folder.ours("convert", *options, "top.qcow2", "never.qcow2")
        check((status, out) == (1, "") and words in err, f"{options}: {status} {err}")
        check(not (folder.path / "never.qcow2").exists(), f"{options}: a file is left behind")


def test_sparse_sizes_are_qemus():
    make_source()
    for size, status in (("0", 0), ("1", 1), ("511", 1), ("512", 0), ("1000", 1), ("1536", 0),
                         ("16m", 0), ("16777728", 1), ("2G", 1)):
        remove("new.raw")
        words = ("convert", "-O", "raw", "-S", size, "top.qcow2", "new.raw")
        check_equal((folder.ours(*words)[0], folder.run("qemu-img", *words)[0]), (status, status),
                    f"-S {size}: our and qemu's status")


def several_inputs():
    """Files of every kind: a chain, a raw file that ends inside a sector, an empty disk, compressed
    clusters, small clusters and a size that is no multiple of 64 KiB."""
    make_source()
    (folder.path / "odd.raw").write_bytes(b"o" * 70001)
    remove("empty.qcow2", "small.qcow2", "packed.qcow2")
    folder.qemu_img("create", "-q", "-f", "qcow2", "empty.qcow2", "3M")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=1k", "small.qcow2", "1023k")
    folder.qemu_io("qcow2", "small.qcow2", "write -P 17 16k 16k", "write -P 34 130k 130k",
                   "write -P 51 1022k 1k")
    folder.qemu_img("convert", "-c", "-O", "qcow2", "small.qcow2", "packed.qcow2")
    return ["small.qcow2", "odd.raw", "top.qcow2", "empty.qcow2", "packed.qcow2", "small.qcow2"]


def test_several_inputs_are_one_disk_as_with_qemu_img():
    names = several_inputs()
    remove("want.raw")
    folder.qemu_img("convert", "-O", "raw", *names, "want.raw")
    want = (folder.path / "want.raw").read_bytes()
    pieces = b""
    for name in names:
        remove("piece.raw")
        folder.good("convert", "-O", "raw", name, "piece.raw")
        piece = (folder.path / "piece.raw").read_bytes()
        pieces += piece + bytes(-len(piece) % 512)
    check_equal(len(pieces), len(want), "the sizes' sum")
    remove("out.raw")
    said = folder.ours("convert", *names, "out.raw")
    check_equal(said[:2], (0, ""), said[2])
    check((folder.path / "out.raw").read_bytes() == want == pieces, "raw: bytes differ")
    for options in ((), ("-c",), ("-S", "0"), ("-o", "cluster_size=512"),
                    ("-c", "-o", "cluster_size=2M")):
        remove("out.qcow2")
        said = folder.ours("convert", "-O", "qcow2", *options, *names, "out.qcow2")
        check_equal(said[:2], (0, ""), said[2])
        folder.qemu_img("check", "-q", "out.qcow2")
        folder.qemu_img("compare", "-q", "-f", "qcow2", "-F", "raw", "out.qcow2", "want.raw")
    folder.good("convert", *["small.qcow2"] * 100, "out.raw")
    check_equal(size_of("out.raw"), 100 * 1023 * 1024, "a hundred inputs")


def test_what_several_inputs_do_not_go_with():
    several_inputs()
    for options, words in (
            (("-l", "first"), "-l takes a snapshot of one input"),
            (("-B", "base.qcow2", "-F", "qcow2"), "cannot have a backing file"),
            (("--bitmaps",), "--bitmaps copies the bitmaps of one input"),
            (("-o", "backing_file=base.qcow2,backing_fmt=qcow2"), "cannot have a backing file")):
        arguments = ("convert", "-O", "qcow2", *options, "top.qcow2", "empty.qcow2", "never.qcow2")
        for program in ("qemu-img", tool.METALCOW):
            status, out, err = folder.run(program, *arguments)
            check_equal((status, out), (1, ""), f"{program} {options}: {err}")
        check(err.startswith("metalcow: ") and words in err, f"{options}: {err}")
        check(not (folder.path / "never.qcow2").exists(), f"{options}: a file is left behind")
    for options, words in ((("-l", "snapshot.name=first"), "snapshot"),
                           (("--snapshot", "first"), "snapshot"),
                           (("--data-file", "x"), "--data-file"),
                           (("--backing-file", "base.qcow2"), "--backing-file")):
        status, out, err = folder.ours("convert", *options, "top.qcow2", "empty.qcow2", "never")
        check((status, out) == (1, "") and words in err, f"{options}: {status} {err}")
    for names in (("top.qcow2", "gone.qcow2"), ("gone.qcow2", "top.qcow2")):
        status, out, err = folder.ours("convert", *names, "never.qcow2")
        check((status, out) == (1, "") and "gone.qcow2" in err, err)
    for option in ("raw", "qcow2"):
        before = (folder.path / "empty.qcow2").read_bytes()
        status, _, err = folder.ours("convert", "-O", option, "top.qcow2", "empty.qcow2",
                                     "empty.qcow2")
        check(status == 1 and "one of the image's own files" in err, err)
        check((folder.path / "empty.qcow2").read_bytes() == before, "an input was changed")
    check(not (folder.path / "never.qcow2").exists(), "a file is left behind")


def test_input_is_never_the_output():
    make_source()
    os.link(folder.path / "base.qcow2", folder.path / "link.qcow2")
    before = (folder.path / "base.qcow2").read_bytes()
    for options in (("top.qcow2", "link.qcow2"), ("-o", "data_file=link.qcow2", "top.qcow2",
                                                  "new.qcow2")):
        status, _, err = folder.ours("convert", "-O", "qcow2", *options)
        check(status == 1 and "one of the image's own files" in err, err)
    for options in (("-O", "qcow2"), ("-O", "raw")):
        status, _, err = folder.ours("convert", "-n", *options, "top.qcow2", "link.qcow2")
        check(status == 1 and "one of the image's own files" in err, err)
    check(before == (folder.path / "base.qcow2").read_bytes(), "the input was changed")


def test_zeros_take_no_room_in_an_output_that_is_full():
    """Beside qemu-img: where the output has data, and how long its file is on the disk."""
    folder.qemu_img("create", "-q", "-f", "qcow2", "sparse.qcow2", "4M")
    folder.qemu_io("qcow2", "sparse.qcow2", "write -P 1 0 1M", "write -z 2M 1M")
    for options in ((), ("-o", "extended_l2=on"), ("-o", "compat=0.10"),
                    ("-o", "data_file=full.raw")):
        runs, blocks = [], []
        for program in (tool.METALCOW, "qemu-img"):
            folder.qemu_img("create", "-q", "-f", "qcow2", *options, "full.qcow2", "8M")
            folder.qemu_io("qcow2", "full.qcow2", "write -P 8 0 8M")
            done = folder.run(program, "convert", "-n", "-O", "qcow2", "sparse.qcow2",
                              "full.qcow2")
            check_equal(done, (0, "", ""), f"{program} {options}")
            runs.append(folder.qemu_img("map", "--output=json", "full.qcow2"))
            blocks.append((folder.path / "full.qcow2").stat().st_blocks * 512)
            folder.qemu_img("check", "-q", "full.qcow2")
        check_equal(runs[0], runs[1], f"{options}")
        check(abs(blocks[0] - blocks[1]) < 1 << 20, f"{options}: {blocks} bytes of the disk")


def test_compressing_into_a_longer_output_keeps_its_rest():
    """The input ends inside a cluster of the output."""
    folder.qemu_img("create", "-q", "-f", "qcow2", "short.qcow2", "100k")
    folder.qemu_io("qcow2", "short.qcow2", "write -P 1 0 100k")
    folder.qemu_img("create", "-q", "-f", "qcow2", "below.qcow2", "1M")
    folder.qemu_io("qcow2", "below.qcow2", "write -P 8 0 1M")
    for options in (("-b", "below.qcow2", "-F", "qcow2"), ("-o", "cluster_size=2M"), ()):
        folder.qemu_img("create", "-q", "-f", "qcow2", *options, "long.qcow2", "1M")
        if "-b" not in options:
            folder.qemu_io("qcow2", "long.qcow2", "write -P 8 0 1M")
        folder.good("convert", "-n", "-c", "-O", "qcow2", "short.qcow2", "long.qcow2")
        folder.qemu_img("check", "-q", "long.qcow2")
        folder.qemu_io("qcow2", "long.qcow2", "read -P 1 0 100k", "read -P 8 100k 924k")
    (folder.path / "unaligned.raw").write_bytes(b"1" * 1000)
    for name in ("short.qcow2", "unaligned.raw"):
        folder.good("convert", "-c", "-O", "qcow2", name, "long.qcow2")
        check("100.00% compressed" in folder.qemu_img("check", "long.qcow2"), f"{name}, new output")


def test_failure_removes_the_image():
    """The file may grow to 400000 bytes only; and a source that cannot be read to its end."""
    make_source()
    for options in ((), ("-c",)):
        remove("out.qcow2")
        done = subprocess.run(
            [str(tool.METALCOW), "convert", "-O", "qcow2", *options, "top.qcow2", "out.qcow2"],
            cwd=folder.path, capture_output=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400000, 400000)))
        check_equal(done.returncode, 1, f"{options}: {done.stderr}")
        check(b"metalcow: " in done.stderr, f"{done.stderr}")
        check(not (folder.path / "out.qcow2").exists(), f"{options}: an image is left behind")
    data = (folder.path / "base.raw").read_bytes()
    folder.qemu_img("convert", "-f", "raw", "-O", "qcow2", "base.raw", "cut.qcow2")
    os.truncate(folder.path / "cut.qcow2", len(data) // 4)
    for options in ((), ("-c",)):
        remove("out.qcow2")
        status, _, err = folder.ours("convert", "-O", "qcow2", *options, "cut.qcow2", "out.qcow2")
        check(status == 1 and "cut.qcow2" in err, err)
        check(not (folder.path / "out.qcow2").exists(), f"{options}: an image is left behind")


def test_killed_conversion_leaves_nothing_that_opens():
    raw = folder.path / "long.raw"
    raw.write_bytes(random.Random(SEED).randbytes(1 << 20) * 48)
    for options in (("-c",), ()):
        remove("out.qcow2")
        done = subprocess.Popen([str(tool.METALCOW), "convert", "-O", "qcow2", *options, "-f",
                                 "raw", "long.raw", "out.qcow2"], cwd=folder.path)
        while done.poll() is None and not (
                (folder.path / "out.qcow2").exists() and size_of("out.qcow2") > 2 << 20):
            time.sleep(0.001)
        done.kill()
        check_equal(done.wait(), -signal.SIGKILL, "exit status; the conversion was too quick")
        for program in ("qemu-img", tool.METALCOW):
            status, _, _ = folder.run(program, "check", "-f", "qcow2", "out.qcow2")
            check(status == 1, f"{program} opens what is left of {options}: {status}")


def test_progress():
    make_source()
    status, out, err = folder.ours("convert", "-p", "-c", "-W", "-O", "qcow2", "top.qcow2", "p")
    check((status, err) == (0, "") and out.startswith("    (0.00/100%)\r") and
          out.endswith("(100.00/100%)\r\n"), f"{status} {out!r} {err}")


if __name__ == "__main__":
    with folder:
        main(globals())

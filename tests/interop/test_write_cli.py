#!/usr/bin/python3
"""The host command's verbs that write: what they do to an image, judged by qemu-img 7.2, what they
refuse, and whose locks they respect."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tools import speed  # noqa: E402

BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
METALCOW = pathlib.Path(os.environ.get("METALCOW", BUILD / "san/metalcow")).resolve()
FOLDER = BUILD / f"tests/interop/write-cli-{os.getpid()}"
KIB = 1024
MIB = 1024 * KIB


def run(program, *arguments, data=b""):
    """Run a program in FOLDER with data as its input; return (status, output, errors)."""
    done = subprocess.run([str(program), *map(str, arguments)], cwd=FOLDER, check=False,
                          input=data, capture_output=True, timeout=speed.stretch(60))
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(
        errors="replace")


def good(*arguments, data=b""):
    """Run metalcow, which must succeed and say nothing on stderr; return what it printed."""
    status, out, err = run(METALCOW, *arguments, data=data)
    check_equal((status, err), (0, ""), f"metalcow {' '.join(map(str, arguments))}")
    return out


def refused(arguments, *words, data=b""):
    """metalcow must fail with status 1 and say each of the words on stderr."""
    status, _, err = run(METALCOW, *arguments, data=data)
    check_equal(status, 1, f"exit status of {arguments}: {err}")
    check(err.startswith("metalcow: "), f"{arguments}: {err!r} does not start with our name")
    for word in words:
        check(word in err, f"{arguments}: {err!r} does not say {word!r}")


def qemu(program, *arguments):
    status, out, err = run(program, *arguments)
    check(status == 0 and "failed" not in out, f"{program} {arguments}: {out}{err}")
    return out


def make(name, *options, size="1M"):
    qemu("qemu-img", "create", "-q", "-f", "qcow2", *options, name, size)
    return name


def sound(name):
    """qemu-img finds neither errors nor leaks."""
    status, out, err = run("qemu-img", "check", "-f", "qcow2", name)
    check_equal((status, err), (0, ""), f"qemu-img check {name}: {out}")


def content(name, image_format="qcow2"):
    """The disk's bytes as qemu-img reads them."""
    if image_format == "raw":
        return (FOLDER / name).read_bytes()
    qemu("qemu-img", "convert", "-f", image_format, "-O", "raw", name, "content.raw")
    return (FOLDER / "content.raw").read_bytes()


@contextlib.contextmanager
def held_by_qemu(name):
    """name is open for writing in qemu-io while the block runs."""
    with subprocess.Popen(["qemu-io", "-f", "qcow2", name], cwd=FOLDER, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        process.stdout.read(len("qemu-io>"))  # the prompt: the image is open
        try:
            yield
        finally:
            process.communicate(b"quit\n")


@contextlib.contextmanager
def held_by_us(name):
    """name is open for writing in metalcow, which waits for its input."""
    with subprocess.Popen([str(METALCOW), "write", "0", name], cwd=FOLDER,
                          stdin=subprocess.PIPE) as process:
        process.stdin.write(b"x" * (MIB - 1))
        process.stdin.flush()
        descriptors = pathlib.Path(f"/proc/{process.pid}/fd")
        inode = (FOLDER / name).stat().st_ino
        while not any(path.exists() and path.stat().st_ino == inode
                      for path in descriptors.iterdir()):
            time.sleep(0.01)
        try:
            yield
        finally:
            process.communicate(b"x")
            check_equal(process.returncode, 0, "the writer")


# --- write, zero, discard, flush -----------------------------------------------------------------

def test_write_takes_standard_input_and_files():
    make("in.qcow2")
    want = bytearray(MIB)
    want[1000:1000 + 70000] = b"\x17" * 70000
    good("write", "1000", "in.qcow2", data=bytes(want[1000:71000]))
    (FOLDER / "input").write_bytes(b"from a file")
    want[512 * KIB:512 * KIB + 11] = b"from a file"
    good("write", "512k", "in.qcow2", "input")
    check(content("in.qcow2") == want, "content")
    sound("in.qcow2")


def test_write_of_nothing_changes_nothing():
    make("nothing.qcow2")
    before = (FOLDER / "nothing.qcow2").read_bytes()
    good("write", "1M", "nothing.qcow2")
    good("flush", "nothing.qcow2")
    good("zero", "1M", "0", "nothing.qcow2")
    check((FOLDER / "nothing.qcow2").read_bytes() == before, "the image changed")


def extents(name):
    """What each layer answers for, as qemu-img sees it; not where it is stored."""
    keys = ("start", "length", "depth", "zero", "data")
    return [[extent[key] for key in keys]
            for extent in json.loads(qemu("qemu-img", "map", "--output=json", name))]


def test_write_takes_the_subclusters_that_qemu_takes():
    (FOLDER / "base.raw").write_bytes(bytes(range(1, 256)) * (MIB // 255 + 1))
    for name in ("ours.qcow2", "theirs.qcow2"):
        make(name, "-o", "extended_l2=on", "-b", "base.raw", "-F", "raw")
    writes = [(2 * KIB + 100, 600), (70 * KIB, 200 * KIB + 1), (5 * KIB, 10), (3 * KIB, 3 * KIB),
              (400 * KIB, 64 * KIB), (640 * KIB - 1, 2), (MIB - 512, 512)]
    for offset, length in writes:
        good("io", "-c", f"write -q -P 0x5a {offset} {length}", "ours.qcow2")
        qemu("qemu-io", "-c", f"write -q -P 0x5a {offset} {length}", "theirs.qcow2")
        check_equal(extents("ours.qcow2"), extents("theirs.qcow2"), f"after {offset} {length}")
    zeros = [(2 * KIB, 2 * KIB), (80 * KIB, 6 * KIB), (5 * KIB, 2 * KIB), (500 * KIB, 4 * KIB),
             (126 * KIB, 4 * KIB)]
    for offset, length in zeros:
        good("io", "-c", f"write -q -z {offset} {length}", "ours.qcow2")
        qemu("qemu-io", "-c", f"write -q -z {offset} {length}", "theirs.qcow2")
        check_equal(extents("ours.qcow2"), extents("theirs.qcow2"), f"zeros {offset} {length}")
    sound("ours.qcow2")
    check(content("ours.qcow2") == content("theirs.qcow2"), "the content differs")


def test_zero_and_discard():
    make("zero.qcow2")
    want = bytearray(b"\x42" * MIB)
    good("write", "0", "zero.qcow2", data=bytes(want))
    good("zero", "100", "200", "zero.qcow2")
    want[100:300] = bytes(200)
    good("discard", "128k", "128k", "zero.qcow2")
    want[128 * KIB:256 * KIB] = bytes(128 * KIB)
    check(content("zero.qcow2") == want, "content")
    sound("zero.qcow2")


def test_zeros_of_version_2_take_no_clusters():
    """Without a backing file an unallocated cluster reads as zeros. With one it does not."""
    make("old.qcow2", "-o", "compat=0.10", size="64M")
    good("write", "0", "old.qcow2", data=b"x" * 3 * MIB)
    good("zero", "100000", 64 * MIB - 100000, "old.qcow2")
    check(allocated("old.qcow2") <= 2, f"{allocated('old.qcow2')} clusters are left")
    check(content("old.qcow2")[:MIB] == b"x" * 100000 + bytes(MIB - 100000), "content")
    make("above.qcow2", "-o", "compat=0.10", "-b", "old.qcow2", "-F", "qcow2", size="64M")
    good("zero", "0", "128k", "above.qcow2")
    check(content("above.qcow2")[:MIB] == bytes(MIB), "content above a backing file")
    make("empty.qcow2", "-o", "compat=0.10", size="64M")
    make("source.qcow2", size="64M")
    good("convert", "-n", "-O", "qcow2", "source.qcow2", "empty.qcow2")
    check_equal(allocated("empty.qcow2"), 0, "clusters of convert -n")
    for name in ("old.qcow2", "above.qcow2", "empty.qcow2"):
        sound(name)


def allocated(name):
    return json.loads(qemu("qemu-img", "check", "--output=json", name)).get("allocated-clusters", 0)


def test_raw_and_data_files():
    qemu("qemu-img", "create", "-q", "-f", "raw", "plain.raw", "64k")
    good("write", "-f", "raw", "65530", "plain.raw", data=b"ending")
    check((FOLDER / "plain.raw").read_bytes()[-6:] == b"ending", "raw content")
    make("ext.qcow2", "-o", "data_file=ext.data")
    good("write", "4096", "ext.qcow2", data=b"data file")
    check((FOLDER / "ext.data").read_bytes()[4096:4105] == b"data file", "data file content")
    sound("ext.qcow2")


def test_range_is_checked_before_anything_is_written():
    make("range.qcow2")
    before = (FOLDER / "range.qcow2").read_bytes()
    (FOLDER / "long").write_bytes(b"x" * 100)
    refused(("write", "1048500", "range.qcow2", "long"), "range.qcow2", "guest offset is 0xfffb4",
            "limit 0x100000")
    refused(("zero", "1M", "1", "range.qcow2"), "guest offset")
    refused(("discard", "0", "2M", "range.qcow2"), "guest offset")
    refused(("write", "2M", "range.qcow2"), "guest offset")
    check((FOLDER / "range.qcow2").read_bytes() == before, "the image changed")


def test_failed_flush_is_told():
    make("flush.qcow2", "-o", "data_file=flush.data")
    preload = {"LD_PRELOAD": str(BUILD / "san/tests/interop/fail_flush.so"),
               "ASAN_OPTIONS": "verify_asan_link_order=0"}
    for victim in ("flush.data", "flush.qcow2"):
        for arguments in (("write", "0", "flush.qcow2"), ("zero", "0", "64k", "flush.qcow2"),
                          ("discard", "0", "64k", "flush.qcow2"), ("flush", "flush.qcow2")):
            done = subprocess.run([str(METALCOW), *arguments], cwd=FOLDER, check=False, input=b"x",
                                  capture_output=True, timeout=speed.stretch(60),
                                  env={**os.environ, **preload, "FAIL_FLUSH": victim})
            check_equal(done.returncode, 1, f"{arguments} where {victim} cannot be flushed")
            check(f"{victim}: a flush failed".encode() in done.stderr, done.stderr)
    status, out, _ = run("qemu-img", "check", "-f", "qcow2", "flush.qcow2")
    check(status in (0, 3), f"more than leaks: {out}")


def test_refusals_name_the_file_and_the_reason():
    make("here.qcow2")
    (FOLDER / "folder").mkdir()
    refused(("write", "x", "here.qcow2"), "'x' is not a size")
    refused(("write", "0", "gone.qcow2"), "gone.qcow2: the file does not exist")
    refused(("write", "0", "here.qcow2", "gone"), "gone: No such file or directory")
    refused(("write", "0", "here.qcow2", "folder"), "folder: Is a directory")
    refused(("zero", "0", "1", "--backing-file=x", "here.qcow2"), "here.qcow2",
            "a backing file was given, but the image has none")


# --- create --------------------------------------------------------------------------------------

CREATE_ROWS = [
    ("64M",), ("1000",), ("0",), ("1.5M",), ("1P",), ("-o", "size=5M"),
    ("-o", "compat=0.10", "1M"), ("-o", "compat=v2,cluster_size=512", "1M"),
    ("-o", "cluster_size=2M,refcount_bits=64,compat=v3", "3M"),
    ("-o", "cluster_size=4k", "-o", "refcount_bits=1,lazy_refcounts=on", "1M"),
    ("-o", "extended_l2,compression_type=zstd", "1M"),
    ("-o", "data_file=NAME,,data", "64M"), ("-o", "cluster_size=64K,data_file=NAME.data", "1000"),
    ("-b", "base.qcow2", "-F", "qcow2"), ("-b", "base.qcow2", "-F", "qcow2", "5M"),
    ("-b", "base.raw", "-F", "raw"), ("-o", "backing_file=base.qcow2,backing_fmt=qcow2"),
    ("-b", "base.qcow2", "-F", "qcow2", "-o", "backing_file=gone"),
    ("-u", "-b", "gone", "-F", "qcow2", "1M"),
]


def create_row(program, verb, row, name, image_format="qcow2"):
    """Make an image by a row of the table; return (status, what was printed)."""
    options = [word.replace("NAME", name) for word in row]
    size = [options.pop()] if row[-1][0].isdigit() else []
    status, out, err = run(program, verb, "-f", image_format, *options, name, *size)
    check_equal(err, "", f"{program} {row}")
    return status, out


def facts(name):
    """What qemu-img sees in an image; names and what the file system does are left out."""
    text = qemu("qemu-img", "info", "-U", "--output=json", "-f", "qcow2", name)
    info = json.loads(text.replace(name, "NAME"))
    return {key: value for key, value in info.items() if key != "actual-size"}


def test_create_makes_what_qemu_img_makes():
    make("base.qcow2", size="3M")
    qemu("qemu-img", "create", "-q", "-f", "raw", "base.raw", "1000k")
    for number, row in enumerate(CREATE_ROWS):
        theirs, ours = f"theirs{number}.img", f"ours{number}.img"
        want = create_row("qemu-img", "create", row, theirs)
        got = create_row(METALCOW, "create", row, ours)
        check_equal((got[0], got[1].replace(ours, theirs)), want, f"create {row}")
        check_equal(facts(ours), facts(theirs), f"info after create {row}")
        if "gone" not in row:
            sound(ours)
        for data in FOLDER.glob(f"{theirs}[.,]data"):
            same = FOLDER / data.name.replace(theirs, ours)
            check_equal(same.stat().st_size, data.stat().st_size, f"data file of {row}")


def test_create_takes_the_suffixes_that_qemu_img_takes():
    for size in ("1g", "1G", "3m", "1t", "512B", "512b", "10K", "1.5m", "+1M", " 1M", " +0x400",
                 "0x1e00", "1e3", "1kb", "++1M", "1Q", "-1M", "1M ", "1.5B", ""):
        rows = []
        for program, name in (("qemu-img", "theirs.img"), (METALCOW, "ours.img")):
            (FOLDER / name).unlink(missing_ok=True)
            status = run(program, "create", "-q", "-f", "raw", "--", name, size)[0]
            rows.append((status, (FOLDER / name).stat().st_size if status == 0 else None))
        check_equal(rows[1], rows[0], f"create '{size}'")
    for options in ("size=1m", "cluster_size=4K,size=2m"):
        want = create_row("qemu-img", "create", ("-o", options), "theirs.img")
        got = create_row(METALCOW, "create", ("-o", options), "ours.img")
        check_equal((got[0], got[1].replace("ours", "theirs")), want, options)


def test_create_raw():
    for number, row in enumerate((("1000",), ("1M",), ("-o", "preallocation=full", "64k"),
                                  ("-o", "preallocation=falloc", "64k"), ("-o", "size=3k"))):
        theirs, ours = f"theirs{number}.raw", f"ours{number}.raw"
        want = create_row("qemu-img", "create", row, theirs, "raw")
        got = create_row(METALCOW, "create", row, ours, "raw")
        check_equal((got[0], got[1].replace(ours, theirs)), want, f"create {row}")
        sizes = [(FOLDER / name).stat() for name in (ours, theirs)]
        check_equal(sizes[0].st_size, sizes[1].st_size, f"size of {row}")
        if "preallocation" in row[1:2]:
            check_equal(sizes[0].st_blocks, sizes[1].st_blocks, f"blocks of {row}")


def test_create_preallocates_as_qemu_img_does():
    for mode in ("metadata", "falloc", "full"):
        for number, more in enumerate(("", ",data_file=NAME.data", ",extended_l2=on",
                                       ",data_file=NAME.data,data_file_raw=on", ",compat=0.10")):
            theirs, ours = f"their-{mode}-{number}", f"our-{mode}-{number}"
            row = ("-o", f"preallocation={mode}{more}", "5M")
            want = create_row("qemu-img", "create", row, theirs)
            got = create_row(METALCOW, "create", row, ours)
            check_equal((got[0], got[1].replace(ours, theirs)), want, f"create {row}")
            sound(ours)
            maps = [json.loads(qemu("qemu-img", "map", "--output=json", "-f", "qcow2", name))
                    for name in (ours, theirs)]
            for run_of_map in (*maps[0], *maps[1]):
                del run_of_map["zero"]  # what the file system knows of holes
            check_equal(maps[0], maps[1], f"map after {row}")
            for name in (ours, theirs):
                check(content(name) == bytes(5 * MIB), f"content of {name}")
            if "data_file" in more:
                sizes = [(FOLDER / f"{name}.data").stat() for name in (ours, theirs)]
                check_equal(sizes[0].st_size, sizes[1].st_size, f"data file of {row}")
                check(sizes[0].st_blocks <= sizes[1].st_blocks, f"blocks of {row}")
            elif mode != "metadata":
                check((FOLDER / ours).stat().st_blocks * 512 >= 5 * MIB, f"blocks of {row}")
    make("under.qcow2")
    refused(("create", "-f", "qcow2", "-o", "preallocation=full", "-b", "under.qcow2", "-F",
             "qcow2", "new.qcow2"), "would hide the backing file")


def test_create_of_data_file_below_a_folder():
    (FOLDER / "sub").mkdir()
    good("create", "-q", "-f", "qcow2", "-o", "data_file=disk.data", "sub/disk.qcow2", "1M")
    check((FOLDER / "sub/disk.data").stat().st_size == MIB, "the data file is beside the image")
    good("write", "0", "sub/disk.qcow2", data=b"x")


def test_create_refuses_without_touching_anything():
    good("create", "-q", "-f", "qcow2", "keep.qcow2", "1M")
    good("write", "0", "keep.qcow2", data=b"precious")
    make("over.qcow2", "-b", "keep.qcow2", "-F", "qcow2")
    before = (FOLDER / "keep.qcow2").read_bytes()
    rows = [
        (("-o", "cluster_size=100"), "cluster_size must be a power of two"),
        (("-o", "bogus=1"), "there is no option 'bogus'"),
        (("-o", "data_file_raw=on"), "data_file_raw"),
        (("-o", "compat=0.10,data_file=x"), "data_file"),
        (("-o", "extended_l2=on,cluster_size=8k"), "extended_l2"),
        (("-o", "size=2M"), "the size is given twice"),
        (("-o", "encryption=on"), "encrypt"),
        (("-b", "over.qcow2", "-F", "qcow2"), "one of the image's own files"),
        (("-b", "keep.qcow2", "-F", "qcow2"), "one of the image's own files"),
        (("-b", "gone", "-F", "qcow2"), "its backing file cannot be opened"),
        (("-b", "over.qcow2"), "the format of the backing file is not given"),
        (("-b", "over.qcow2", "-F", "vmdk"), "backing format is not supported"),
        (("-o", "data_file=keep.qcow2"), "in use"),
        (("-o", "data_file=gone/x"), "the folder does not exist"),
    ]
    for options, words in rows:
        refused(("create", "-f", "qcow2", *options, "keep.qcow2", "1M"), words)
        check((FOLDER / "keep.qcow2").read_bytes() == before, f"{options} changed the image")
    refused(("create", "-f", "qcow2", "new.qcow2"), "the new disk has no size")
    refused(("create", "-f", "qcow2", "new.qcow2", "8E"), "the size is too large")
    refused(("create", "-f", "qcow2", "new.qcow2", "4E"), "L1 table")
    refused(("create", "-f", "qcow2", "-o", "data_file=gone/x", "new.qcow2", "1M"), "folder")
    refused(("create", "-f", "raw", "-b", "keep.qcow2", "new.qcow2", "1M"), "has no backing file")
    check(not (FOLDER / "new.qcow2").exists(), "a refused image was left behind")
    with held_by_qemu("keep.qcow2"):
        refused(("create", "-f", "qcow2", "keep.qcow2", "1M"), "keep.qcow2: the file is in use")
    check((FOLDER / "keep.qcow2").read_bytes() == before, "an image in use was changed")


def test_create_help_lists_the_options():
    text = good("create", "-f", "qcow2", "-o", "help")
    for option in ("backing_file=<str>", "cluster_size=<size>", "data_file_raw=<bool (on/off)>"):
        check(f"  {option}" in text, f"-o help does not list {option}")
    check("cluster_size" not in good("create", "-f", "raw", "-o", "help"), "raw has no clusters")
    for words in (("create", "-f", "qcow2", "-o", "?"), ("convert", "-O", "qcow2", "-o", "help"),
                  ("measure", "-O", "qcow2", "-o", "help", "keep.qcow2")):
        check_equal(good(*words), text, words)


def test_amend_help_lists_what_amend_changes():
    def names(text):
        return [line.split("=")[0].strip() for line in text.splitlines()[1:]]

    text = good("amend", "-o", "help")
    theirs = run("qemu-img", "amend", "-f", "qcow2", "-o", "help")[1]
    check_equal(text.splitlines()[0], theirs.splitlines()[0], "first line")
    check_equal(names(text), [name for name in names(theirs)
                              if name not in ("backing_file", "backing_fmt")], "options")


# --- amend, rebase -------------------------------------------------------------------------------

def test_amend_changes_the_data_file():
    make("amend.qcow2", "-o", "data_file=first.data")
    good("write", "0", "amend.qcow2", data=b"data")
    good("amend", "-o", "data_file=", "amend.qcow2")
    refused(("read", "0", "4", "amend.qcow2"), "has an external data file but does not say which")
    (FOLDER / "first.data").rename(FOLDER / "second.data")
    good("amend", "-o", "data_file=second.data", "amend.qcow2")
    check_equal(good("read", "0", "4", "amend.qcow2"), "data", "content")
    check(content("amend.qcow2")[:4] == b"data", "content as qemu-img reads it")
    make("plain.qcow2")
    refused(("amend", "-o", "data_file=x", "plain.qcow2"), "plain.qcow2")
    refused(("amend", "plain.qcow2"), "nothing to change")
    refused(("amend", "-o", "cluster_size=4k", "plain.qcow2"), "size and encrypt.state only")
    for options in ("encryption=off", "encryption=on", "encryption", "encryption=off,compat=0.10"):
        check_equal(run("qemu-img", "amend", "-o", options, "plain.qcow2")[0], 1, options)
        refused(("amend", "-o", options, "plain.qcow2"), "there is no option 'encryption'")
    refused(("amend", "-o", "size=0", "plain.qcow2"), "the new size would be 0 bytes")
    refused(("amend", "-o", "backing_file=x", "plain.qcow2"), "use 'metalcow rebase -u' instead")
    sound("plain.qcow2")


def test_amend_changes_lazy_refcounts():
    make("lazy.qcow2")
    for word, want in (("on", True), ("off", False), ("on", True), ("on", True)):
        good("amend", "-o", f"lazy_refcounts={word}", "lazy.qcow2")
        said = json.loads(qemu("qemu-img", "info", "--output=json", "lazy.qcow2"))
        check_equal(said["format-specific"]["data"]["lazy-refcounts"], want, word)
        sound("lazy.qcow2")
    before = (FOLDER / "lazy.qcow2").read_bytes()
    refused(("amend", "-o", "lazy_refcounts=off,data_file=x", "lazy.qcow2"), "external data file")
    check((FOLDER / "lazy.qcow2").read_bytes() == before, "a refused amend changed the image")
    make("v2.qcow2", "-o", "compat=0.10")
    before = (FOLDER / "v2.qcow2").read_bytes()
    refused(("amend", "-o", "lazy_refcounts=on", "v2.qcow2"), "have no lazy refcounts")
    check((FOLDER / "v2.qcow2").read_bytes() == before, "a refused amend changed the image")


def told(name):
    """What qemu-img says of an image: version, width of refcounts, lazy refcounts."""
    said = json.loads(qemu("qemu-img", "info", "--output=json", name))["format-specific"]["data"]
    return said["compat"], said["refcount-bits"], said.get("lazy-refcounts", False)


def make_of_all_kinds(name, *options):
    """Data, zero clusters of both kinds, and a snapshot that shares some of them."""
    make(name, *options)
    qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 256k", "-c", "write -z 64k 100k",
         "-c", "write -z 512k 128k", name)
    qemu("qemu-img", "snapshot", "-c", "first", name)
    qemu("qemu-io", "-f", "qcow2", "-c", "write -P 2 128k 8k", "-c", "write -z 200k 200k", name)


def states(name):
    qemu("qemu-img", "convert", "-f", "qcow2", "-l", "first", "-O", "raw", name, "first.raw")
    return content(name), (FOLDER / "first.raw").read_bytes()


def test_amend_changes_version_and_refcounts():
    make("formats.base", size="768k")
    qemu("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 768k", "formats.base")
    for options in ((), ("-o", "cluster_size=4k"), ("-b", "formats.base", "-F", "qcow2")):
        make_of_all_kinds("formats.qcow2", *options)
        before = states("formats.qcow2")
        for wish, want in (("compat=0.10", ("0.10", 16, False)),
                           ("compat=1.1,lazy_refcounts=on", ("1.1", 16, True)),
                           ("refcount_bits=64", ("1.1", 64, True)),
                           ("refcount_bits=2,compat=v3", ("1.1", 2, True)),
                           ("compat=0.10,refcount_bits=16", ("0.10", 16, False)),
                           ("compat=0.10,lazy_refcounts=off", ("0.10", 16, False)),
                           ("compat=1.1,refcount_bits=8", ("1.1", 8, False))):
            good("amend", "-o", wish, "formats.qcow2")
            check_equal(told("formats.qcow2"), want, f"{options} {wish}")
            sound("formats.qcow2")
            check(states("formats.qcow2") == before, f"{options} {wish}: content")
        qemu("qemu-io", "-f", "qcow2", "-c", "write -P 9 300k 300k", "formats.qcow2")
        sound("formats.qcow2")


def test_amend_refuses_before_anything_changes():
    make_of_all_kinds("refused.qcow2")
    before = (FOLDER / "refused.qcow2").read_bytes()
    for wish, words in (("refcount_bits=1,lazy_refcounts=on", "more references than refcounts"),
                        ("compat=0.10,refcount_bits=32", "refcounts of version 2 have 16 bits"),
                        ("compat=0.10,lazy_refcounts=on", "have no lazy refcounts"),
                        ("compat=0.10,data_file=x", "external data file"),
                        ("refcount_bits=3", "refcount_bits must be"),
                        ("compat=0.42", "compat cannot be '0.42'"),
                        ("encrypt.format=luks", "'metalcow amend -o help' lists them"),
                        ("nonsense=1", "'metalcow amend -o help' lists them")):
        refused(("amend", "-o", wish, "refused.qcow2"), words)
    make("wide.qcow2", "-o", "refcount_bits=64")
    refused(("amend", "-o", "compat=0.10", "wide.qcow2"), "add refcount_bits=16")
    make("long.qcow2", "-o", "extended_l2=on")
    refused(("amend", "-o", "compat=0.10", "long.qcow2"), "no extended L2 entries")
    check((FOLDER / "refused.qcow2").read_bytes() == before, "a refused amend changed the image")


def amended(program, wish, name, *options):
    """Make an image, amend it, and tell what it is then."""
    make(f"{name}.qcow2", *(option.replace("NAME", name) for option in options))
    qemu("qemu-io", "-f", "qcow2", "-c", "write -q -P 5 0 1M", f"{name}.qcow2")
    if "compat=0.10" in options:
        qemu("qemu-img", "snapshot", "-c", "first", f"{name}.qcow2")
    code = run(program, "amend", "-f", "qcow2", "-o", wish, f"{name}.qcow2")[0]
    sound(f"{name}.qcow2")
    data = FOLDER / f"{name}.data"
    return (code, told(f"{name}.qcow2"), content(f"{name}.qcow2"),
            data.stat().st_size if data.exists() else None)


def test_amend_changes_the_size_as_qemu_img_does():
    make("size.base", size="4M")
    qemu("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 4M", "size.base")
    data = ("-o", "data_file=NAME.data,data_file_raw=on")
    for options, wishes in (((), ("size=3M", "size=3m", "size=1000", "size=4M,lazy_refcounts=on")),
                            (data, ("size=512k", "size=2M")),
                            (("-o", "compat=0.10"), ("size=1M", "size=2M", "compat=1.1,size=2M")),
                            (("-b", "size.base", "-F", "qcow2"), ("size=3M,compat=0.10",))):
        for wish in wishes:
            check(amended(METALCOW, wish, "size", *options) ==
                  amended("qemu-img", wish, "sized", *options), f"{options} {wish}")


def test_amend_shows_its_progress():
    make("progress.qcow2")
    check_equal(good("amend", "-p", "-o", "refcount_bits=32", "progress.qcow2"),
                "    (0.00/100%)\r    (100.00/100%)\r\n", "one step")
    check_equal(good("amend", "-p", "-o", "refcount_bits=64,size=2M", "progress.qcow2"),
                "    (0.00/100%)\r    (50.00/100%)\r    (100.00/100%)\r\n", "two steps")
    check_equal(good("amend", "-p", "-q", "-o", "size=3M", "progress.qcow2"), "", "quiet")


def test_amend_judges_version_2_by_the_new_size():
    make_of_all_kinds("shot.qcow2")
    before = (FOLDER / "shot.qcow2").read_bytes()
    refused(("amend", "-o", "size=2M,compat=0.10", "shot.qcow2"), "a snapshot has the disk's size")
    check((FOLDER / "shot.qcow2").read_bytes() == before, "a refused amend changed the image")
    good("amend", "-o", "size=2M", "shot.qcow2")
    refused(("amend", "-o", "compat=0.10", "shot.qcow2"), "a snapshot has the disk's size")
    good("amend", "-o", "size=1M,compat=0.10", "shot.qcow2")
    sound("shot.qcow2")
    refused(("amend", "-o", "size=2M", "shot.qcow2"), "has one size for all")
    good("amend", "-o", "size=2M,compat=1.1", "shot.qcow2")
    sound("shot.qcow2")


def test_rebase_changes_the_backing_file():
    for name, byte in (("one.qcow2", b"1"), ("two.qcow2", b"2")):
        make(name)
        good("write", "0", name, data=byte)
    make("re.qcow2", "-b", "one.qcow2", "-F", "qcow2")
    good("rebase", "-u", "-b", "two.qcow2", "-F", "qcow2", "re.qcow2")
    check(content("re.qcow2")[:1] == b"2", "content above the other file")
    good("rebase", "-u", "-b", "gone.raw", "-F", "raw", "re.qcow2")
    refused(("read", "0", "1", "re.qcow2"), "gone.raw: the file does not exist")
    good("rebase", "-u", "-b", "", "re.qcow2")
    check(content("re.qcow2")[:1] == b"\0", "content above nothing")
    before = (FOLDER / "re.qcow2").read_bytes()
    refused(("rebase", "-u", "-b", "one.qcow2", "re.qcow2"), "backing file is not given")
    refused(("rebase", "-u", "-b", "one.qcow2", "-F", "vmdk", "re.qcow2"), "not supported")
    with held_by_qemu("re.qcow2"):
        refused(("rebase", "-u", "-b", "", "re.qcow2"), "in use")
    check((FOLDER / "re.qcow2").read_bytes() == before, "a refused change")
    sound("re.qcow2")


# --- resize --------------------------------------------------------------------------------------

RESIZE_ROWS = [
    ("", "1M", ("3M", "+64k", "--shrink 600k", "--shrink -512", "9M")),
    ("cluster_size=512", "100k", ("+1M", "--shrink 10k", "5M")),
    ("compat=0.10", "1M", ("2M", "--shrink 100k", "1M")),
    ("extended_l2=on", "1M", ("--shrink 100k", "1M", "--preallocation=metadata 3M")),
    ("data_file=NAME.data", "1M", ("2M", "--shrink 64k", "1M")),
    ("data_file=NAME.data,data_file_raw=on", "1M", ("2M", "--shrink 64k", "1M")),
    ("cluster_size=4k", "1M", ("--preallocation=falloc 2M", "--preallocation=full +1M")),
    ("raw", "1M", ("2M", "--shrink 1000", "2000", "--preallocation=full 1M")),
    ("raw", "1M", ("+1000", "--shrink -1000", "--shrink 1000", "+512", "--shrink 1000",
                   "--shrink -512", "+0", "2m", "++1k", "+0x200", "+1b")),
]


def test_resize_does_what_qemu_img_does():
    """But for one thing: after a shrink and a growth qemu-img shows what was past the end."""
    for number, (options, size, steps) in enumerate(RESIZE_ROWS):
        image_format = "raw" if options == "raw" else "qcow2"
        names = [f"resize{number}-{who}" for who in ("theirs", "ours")]
        for name in names:
            words = ["-o", options.replace("NAME", name)] if options not in ("", "raw") else []
            qemu("qemu-img", "create", "-q", "-f", image_format, *words, name, size)
            qemu("qemu-io", "-f", image_format, "-c", f"write -P 3 0 {size}", name)
        want_content = content(names[0], image_format)
        for step in steps:
            *flags, new_size = step.split()
            want = run("qemu-img", "resize", "-f", image_format, *flags, names[0], new_size)
            got = run(METALCOW, "resize", "-f", image_format, *flags, names[1], new_size)
            check_equal(got, want, f"resize {options} {step}")
            size = len(content(names[0], image_format))
            want_content = want_content[:size].ljust(size, b"\0")
            check(content(names[1], image_format) == want_content,
                  f"content after {options} {step}")
            if image_format == "qcow2":
                sound(names[1])
        for data in FOLDER.glob(f"{names[0]}.data"):
            ours = FOLDER / f"{names[1]}.data"
            check_equal(ours.stat().st_size, data.stat().st_size, f"data file of {options}")


def test_resize_refuses():
    make("size.qcow2")
    before = (FOLDER / "size.qcow2").read_bytes()
    for arguments, words in ((("size.qcow2", "-1k"), "add --shrink"),
                             (("size.qcow2", "512k"), "lose the data past its new end"),
                             (("size.qcow2", "-2M"), "the new size would be 0 bytes"),
                             (("size.qcow2", "0"), "the new size would be 0 bytes"),
                             (("size.qcow2", "+8E"), "too large"),
                             (("size.qcow2", "big"), "'big' is not a size"),
                             (("size.qcow2", "1048577"), "must be a multiple of 512"),
                             (("size.qcow2", "+1000"), "must be a multiple of 512"),
                             (("--shrink", "size.qcow2", "-1000"), "must be a multiple of 512"),
                             (("--preallocation=full", "--shrink", "size.qcow2", "1k"),
                              "the disk becomes smaller"),
                             (("--preallocation=some", "size.qcow2", "1k"), "'some' is not"),
                             (("size.qcow2",), "expects FILE [+|-]SIZE"),
                             (("size.qcow2", "4E"), "L1")):
        refused(("resize", *arguments), words)
        check((FOLDER / "size.qcow2").read_bytes() == before, f"{arguments} changed the image")
    with held_by_qemu("size.qcow2"):
        refused(("resize", "size.qcow2", "2M"), "in use")


# --- locks ---------------------------------------------------------------------------------------

def test_image_open_in_qemu_is_not_written():
    make("busy.qcow2")
    make("above.qcow2", "-b", "busy.qcow2", "-F", "qcow2")
    for holder in ("busy.qcow2", "above.qcow2"):  # as the image, and as its backing file
        with held_by_qemu(holder):
            refused(("write", "0", "busy.qcow2"), "busy.qcow2: the file is in use", data=b"x")
            good("read", "-U", "0", "1", "busy.qcow2")
    good("write", "0", "busy.qcow2", data=b"x")


def test_data_file_open_in_qemu_is_not_written():
    make("shared.qcow2", "-o", "data_file=shared.data")
    make("other.qcow2", "-o", "data_file=other.data")
    with held_by_qemu("other.qcow2"):
        refused(("write", "0", "--data-file=other.data", "shared.qcow2"),
                "other.data: the file is in use", data=b"x")


def test_image_open_here_is_written_by_nobody_else():
    make("ours.qcow2")
    with held_by_us("ours.qcow2"):
        refused(("zero", "0", "1", "ours.qcow2"), "ours.qcow2: the file is in use")
        status, _, err = run("qemu-io", "-f", "qcow2", "-c", "write 0 1", "ours.qcow2")
        check(status == 1 and 'Failed to get "write" lock' in err, f"qemu-io: {status} {err}")
    sound("ours.qcow2")


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        main(globals())
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)

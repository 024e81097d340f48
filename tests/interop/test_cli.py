#!/usr/bin/python3
"""How the host command behaves at a shell: messages, exit statuses, help, output formats.

What qemu-img 7.2 has too is compared with it; METALCOW names another program to test.
"""

import contextlib
import itertools
import json
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tools import fs  # noqa: E402

BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
METALCOW = pathlib.Path(os.environ.get("METALCOW", BUILD / "san/metalcow")).resolve()
FOLDER = BUILD / f"tests/interop/cli-{os.getpid()}"
VERBS = ("amend", "check", "commit", "compare", "convert", "create", "discard", "flush", "info",
         "io", "map", "measure", "read", "rebase", "resize", "snapshot", "write", "zero")
INCOMPATIBLE_OFFSET = 72
DATA_FILE_BIT = 4


def run(program, *arguments):
    done = subprocess.run([str(program), *map(str, arguments)], cwd=FOLDER, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(
        errors="replace")


def ours(*arguments):
    return run(METALCOW, *arguments)


def qemu(*arguments):
    return run("qemu-img", *arguments)


def good(*arguments):
    """Run metalcow; return what it printed."""
    status, out, err = ours(*arguments)
    check_equal((status, err), (0, ""), f"metalcow {' '.join(map(str, arguments))}")
    return out


def make(*arguments):
    status, out, err = qemu(*arguments)
    check_equal(status, 0, f"qemu-img {arguments}: {out}{err}")


def qemu_io(name, *commands):
    arguments = [word for command in commands for word in ("-c", command)]
    status, out, err = run("qemu-io", "-f", "qcow2", *arguments, name)
    check(status == 0 and "failed" not in out, f"qemu-io {commands}: {out}{err}")


def create(name, *options, size="1M", content=True):
    make("create", "-q", "-f", "qcow2", *options, name, size)
    if content:
        qemu_io(name, "write -P 17 1000 70000", "write -z 512k 64k")
    return name


def refused(arguments, *words, status=1):
    """metalcow must fail, say so on stderr in one sentence of ours, and print nothing else."""
    got, out, err = ours(*arguments)
    check_equal(got, status, f"exit status of {arguments}: {err}")
    check(err.startswith("metalcow: "), f"{arguments}: {err!r} does not start with our name")
    for word in words:
        check(word in err, f"{arguments}: {err!r} does not say {word!r}")
    return out


@contextlib.contextmanager
def patched(name, copy):
    """A copy of an image as a bytearray, written when the block ends."""
    data = bytearray((FOLDER / name).read_bytes())
    yield data
    (FOLDER / copy).write_bytes(data)


# --- the command line ----------------------------------------------------------------------------

def test_version_and_help():
    check(re.fullmatch(r"metalcow version \d+\.\d+\n", good("--version")), "version")
    text = good("--help")
    for verb in VERBS:
        check(f"\n  {verb} " in text, f"--help does not list {verb}")


def test_help_of_each_verb_lists_its_flags():
    for verb in VERBS:
        text = good(verb, "--help")
        check(text.startswith(f"usage: metalcow {verb} [options] "), text)
        for flag in ("-h, --help", "-f, --format=FMT"):
            check(flag in text, f"{verb} --help does not list {flag}")
        check_equal(good(verb, "-h"), text, f"{verb} -h")
        for line in text.splitlines()[3:]:
            check(len(line) <= 80 and line == line.rstrip(), f"{verb} --help: {line!r}")
    check("--data-file=FILE" in good("convert", "--help"), "convert has --data-file")


def test_usage_errors_give_a_hint():
    create("usage.qcow2")
    for arguments, word in ((("frob",), "frob"), (("help", "frob"), "frob")):
        refused(arguments, word, "'metalcow help' lists the verbs")
    for arguments, word in ((("info",), "FILE"), (("info", "a", "b"), "FILE"),
                            (("info", "--bogus", "a"), "--bogus"), (("info", "-Z", "a"), "-Z"),
                            (("info", "-f", "vmdk", "a"), "vmdk"), (("info", "-f"), "-f"),
                            (("info", "--output=xml", "a"), "xml"),
                            (("map", "-s", "1Q", "a"), "1Q"), (("read", "0", "a"), "OFFSET"),
                            (("convert", "-O", "raw", "a"), "OUTPUT"),
                            (("convert", "--names=some", "a", "b"), "some")):
        refused(arguments, word, f"'metalcow help {arguments[0]}' lists its options")
    refused(("compare", "usage.qcow2"), "FILE1 FILE2", status=2)
    refused(("read", "x", "1", "usage.qcow2"), "x")


def test_terminal_escapes_in_arguments_are_not_echoed():
    for arguments in (("\x1b[2J",), ("info", "\x1b[2J"), ("info", "--\x1b[2J", "a")):
        _, out, err = ours(*arguments)
        check("\x1b" not in out + err and "\\x1b" in err, f"{arguments}: {err!r}")


def test_full_standard_output_is_an_error():
    create("full.qcow2")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([str(METALCOW), "info", "full.qcow2"], cwd=FOLDER, stdout=full,
                              stderr=subprocess.PIPE, check=False)
    check_equal(done.returncode, 1, "exit status")
    check(b"standard output" in done.stderr, done.stderr)


# --- files that cannot be opened -----------------------------------------------------------------

def test_missing_file_is_named():
    for arguments in (("info", "gone.qcow2"), ("map", "gone.qcow2"), ("check", "gone.qcow2"),
                      ("read", "0", "1", "gone.qcow2"), ("snapshot", "-l", "gone.qcow2"),
                      ("convert", "-O", "raw", "gone.qcow2", "out.raw")):
        refused(arguments, "gone.qcow2", "does not exist")
    create("here.qcow2")
    refused(("compare", "here.qcow2", "gone.qcow2"), "gone.qcow2", status=2)
    check(not (FOLDER / "out.raw").exists(), "an output was made for a missing input")


def test_format_that_is_said_is_taken():
    (FOLDER / "plain.raw").write_bytes(b"x" * 4096)
    refused(("info", "-f", "qcow2", "plain.raw"), "plain.raw", "not a qcow2 image")
    check_equal(good("read", "-f", "raw", "4090", "6", "plain.raw"), "xxxxxx", "read of a raw file")
    create("probe.qcow2")
    answer = json.loads(good("info", "-f", "raw", "--output=json", "probe.qcow2"))
    check_equal(answer["format"], "raw", "format")
    check_equal(answer["virtual-size"], (FOLDER / "probe.qcow2").stat().st_size, "size")
    refused(("info", "."), ".: not a file")


def test_data_file_is_required():
    create("nameless.qcow2", "-o", "data_file=nameless.data")
    with patched("nameless.qcow2", "nameless.qcow2") as data:
        at = data.index(b"nameless.data")
        struct.pack_into(">I", data, at - 8, 0x12345678)  # an unknown extension: to be passed over
    refused(("map", "nameless.qcow2"), "nameless.qcow2",
            "external data file but does not say which")
    check("17" not in good("info", "nameless.qcow2"), "info needs no data file")
    good("map", "--data-file", "nameless.data", "nameless.qcow2")
    refused(("map", "--data-file", "inexistent", "nameless.qcow2"), "inexistent", "does not exist")


def test_data_file_only_for_images_with_one():
    create("internal.qcow2")
    (FOLDER / "some.data").write_bytes(b"")
    refused(("map", "--data-file=some.data", "internal.qcow2"), "internal.qcow2",
            "the image has no external data file")


def test_missing_data_file_is_named():
    create("lost.qcow2", "-o", "data_file=lost.data")
    (FOLDER / "lost.data").unlink()
    refused(("map", "lost.qcow2"), "lost.data", "does not exist")
    check_equal(json.loads(good("info", "--output=json", "lost.qcow2"))["format-specific"]["data"]
                ["data-file"], "lost.data", "info opens nothing but the image")


def test_image_as_its_own_data_file_is_refused():
    create("self.qcow2", "-o", "data_file=self.data")
    (FOLDER / "self.data").unlink()
    os.link(FOLDER / "self.qcow2", FOLDER / "self.data")
    refused(("map", "self.qcow2"), "self.data", "occurs twice")


def test_unknown_feature_is_named():
    create("feature.qcow2")
    with patched("feature.qcow2", "feature.qcow2") as data:
        features = struct.unpack_from(">Q", data, INCOMPATIBLE_OFFSET)[0]
        struct.pack_into(">Q", data, INCOMPATIBLE_OFFSET, features | 1 << 60)
        at = data.index(b"lazy refcounts") - 2
        data[at:at + 48] = struct.pack(">BB46s", 0, 60, b"time \x1btravel")
    refused(("info", "feature.qcow2"), "feature.qcow2", "time \\x1btravel")
    refused(("convert", "feature.qcow2", "out.raw"), "time \\x1btravel")


def test_names_out_of_images_pass_the_gate():
    (FOLDER / "sub").mkdir(exist_ok=True)
    create("below.qcow2")
    create("sub/top.qcow2", "-b", "../below.qcow2", "-F", "qcow2")
    refused(("map", "--names=below", "sub/top.qcow2"),
            "sub/top.qcow2: the image names a file that must not be opened: '../below.qcow2'",
            "'backing-file'")
    for option in ([], ["--names=any"]):
        check_equal(good("map", *option, "sub/top.qcow2").splitlines()[1].split()[3],
                    "sub/top.qcow2", "map with any name")
    good("map", "--names=none", "--backing-file", "below.qcow2", "sub/top.qcow2")
    create("same.qcow2", "-b", "below.qcow2", "-F", "qcow2")
    good("map", "same.qcow2")
    refused(("map", "--names=none", "same.qcow2"), "below.qcow2", "must not be opened")


def test_backing_file_without_a_format_is_not_probed():
    (FOLDER / "unnamed.raw").write_bytes(b"q" * 65536)
    create("unnamed.qcow2", "-b", "unnamed.raw", "-F", "raw", size="64k", content=False)
    with patched("unnamed.qcow2", "unnamed.qcow2") as data:
        at = data.index(struct.pack(">II", 0xe2792aca, 3))
        struct.pack_into(">I", data, at, 0x12345678)
    refused(("read", "0", "1", "unnamed.qcow2"), "unnamed.qcow2", "no format")
    check_equal(good("read", "--backing-format=raw", "0", "2", "unnamed.qcow2"), "qq", "content")


def test_truncated_file_is_an_error_where_data_is_gone():
    create("cut.qcow2", content=False)
    qemu_io("cut.qcow2", "write -P 1 0 64k", "write -P 2 64k 64k")
    os.truncate(FOLDER / "cut.qcow2", (FOLDER / "cut.qcow2").stat().st_size - 65536)
    check_equal(good("read", "0", "64k", "cut.qcow2"), "\x01" * 65536, "what is there")
    refused(("read", "64k", "1", "cut.qcow2"), "cut.qcow2", "ends before")
    refused(("convert", "cut.qcow2", "cut.raw"), "cut.qcow2", "ends before", "cut.raw: incomplete")


# --- info, map, check, snapshot ------------------------------------------------------------------

INFO_IMAGES = {
    "v2": ["-o", "compat=0.10"],
    "v3": ["-o", "lazy_refcounts=on,refcount_bits=64,cluster_size=4k"],
    "extended": ["-o", "extended_l2=on,compression_type=zstd"],
    "data": ["-o", "data_file=info-data.data"],
    "raw-data": ["-o", "data_file=info-raw-data.data,data_file_raw=on"],
    "backed": ["-b", "info-v3.qcow2", "-F", "qcow2"],
}


def info_images():
    for name, options in INFO_IMAGES.items():
        yield create(f"info-{name}.qcow2", *options)
    name = create("info-full.qcow2")
    for snapshot in ("first", "with \"quotes\"", "a-name-that-is-longer-than-its-column"):
        make("snapshot", "-c", snapshot, name)
    for bitmap in ("one", "two"):
        make("bitmap", "--add", "-f", "qcow2", name, bitmap)
    make("bitmap", "--disable", "-f", "qcow2", name, "one")
    yield name
    with patched("info-v3.qcow2", "info-dirty.qcow2") as data:
        data[INCOMPATIBLE_OFFSET + 7] |= 3  # dirty and corrupt
    yield "info-dirty.qcow2"


def test_info_is_qemu_imgs():
    for name in info_images():
        status, out, _ = qemu("info", "--output=json", name)
        check_equal(status, 0, name)
        check_equal(json.loads(good("info", "--output=json", name)), json.loads(out), name)
        check_equal(good("info", name), qemu("info", name)[1], name)
        check_equal(good("info", "-U", name), good("info", name), name)
        check_equal(good("snapshot", "-l", name), qemu("snapshot", "-l", name)[1], name)


def test_map_of_an_empty_range_is_qemu_imgs():
    create("map-full.qcow2")
    make("create", "-q", "-f", "qcow2", "map-empty.qcow2", "0")
    (FOLDER / "map-empty.raw").write_bytes(b"")
    for name in ("map-empty.qcow2", "map-empty.raw", "map-full.qcow2"):
        for flags in ((), ("-s", "0", "-l", "0"), ("-s", "100", "-l", "0"), ("-s", "1M"),
                      ("-s", "2M")):
            for form in ("human", "json"):
                arguments = ("map", "-f", name.split(".")[1], f"--output={form}", *flags, name)
                check_equal(good(*arguments), qemu(*arguments)[1], arguments)


def test_info_of_a_raw_file_is_qemu_imgs():
    (FOLDER / "info.raw").write_bytes(b"x" * 12288)
    for form in ([], ["--output=json"]):
        arguments = ("info", "-f", "raw", *form, "info.raw")
        want, got = qemu(*arguments)[1], good(*arguments)
        check_equal(json.loads(got) if form else got, json.loads(want) if form else want, form)


def test_info_backing_chain_is_qemu_imgs():
    create("chain-0.qcow2")
    create("chain-1.qcow2", "-b", "chain-0.qcow2", "-F", "qcow2", size="2M")
    (FOLDER / "chains").mkdir(exist_ok=True)
    create("chains/2.qcow2", "-b", "../chain-1.qcow2", "-F", "qcow2")
    for name, flags in (("chain-1.qcow2", []), ("chains/2.qcow2", ["--names=any"])):
        theirs = qemu("info", "--backing-chain", "--output=json", name)[1]
        mine = good("info", "--backing-chain", "--output=json", *flags, name)
        check_equal(json.loads(mine), json.loads(theirs), name)
        check_equal(good("info", "--backing-chain", *flags, name),
                    qemu("info", "--backing-chain", name)[1], name)


def test_info_escapes_names():
    create("escape.qcow2", "-o", "data_file=escape.data")
    with patched("escape.qcow2", "escape.qcow2") as data:
        at = data.index(b"escape.data")
        data[at:at + 11] = b"\x1b[31m\xff\n\"\\xy"
    text = good("info", "escape.qcow2")
    check("data file: \\x1b[31m\\xff\\x0a\"\\x5cxy\n" in text, text)
    answer = json.loads(good("info", "--output=json", "escape.qcow2"))
    check_equal(answer["format-specific"]["data"]["data-file"], "\x1b[31m\ufffd\n\"\\xy", "JSON")


def test_map_of_a_part_is_qemu_imgs():
    name = create("part.qcow2", "-o", "cluster_size=4k", size="3M")
    for flags in (["-s", "3k", "-l", "64k"], ["--start-offset=512k"], ["--max-length=1.5k"],
                  ["-s", "70000"], ["-s", "3M"], ["-s", "4M"]):
        for form in ([], ["--output=json"]):
            arguments = ("map", *flags, *form, name)
            want, got = qemu(*arguments), ours(*arguments)
            check_equal(got, want, arguments)


def test_map_in_human_form_stops_at_compressed_clusters():
    create("small.qcow2")
    make("convert", "-c", "-O", "qcow2", "small.qcow2", "compressed.qcow2")
    status, out, err = ours("map", "compressed.qcow2")
    want = qemu("map", "compressed.qcow2")
    check_equal((status, out), want[:2], "map of a compressed image")
    check("compressed or encrypted data has no place" in err, err)


def test_check_is_qemu_imgs():
    create("check.qcow2", size="4M")
    with patched("check.qcow2", "leak.qcow2") as data:
        table = struct.unpack_from(">Q", data, 48)[0]
        block = struct.unpack_from(">Q", data, table)[0]
        data += bytes(-len(data) % 65536 + 65536)
        struct.pack_into(">H", data, block + 2 * (len(data) // 65536 - 1), 1)
    with patched("leak.qcow2", "corrupt.qcow2") as data:
        struct.pack_into(">H", data, block + 2 * 5, 0)
    for name, status in (("check.qcow2", 0), ("leak.qcow2", 3), ("corrupt.qcow2", 2)):
        want, got = qemu("check", name), ours("check", name)
        check_equal(want[0], status, f"qemu-img check {name}")
        check_equal(got[:2], want[:2], name)
        # qemu-img prints the whole entry where COPIED is wrong; counts and clusters are the same.
        for line in want[2].splitlines():
            check("OFLAG_COPIED" in line or line in got[2].splitlines(),
                  f"{line!r} not in {got[2]}")
        want, got = qemu("check", "--output=json", name), ours("check", "--output=json", name)
        check_equal(json.loads(got[1]), json.loads(want[1]), name)
        check_equal(got[0], status, name)
        for words in (("-q",), ("-q", "--output=json")):
            check_equal(qemu("check", *words, name)[:2], (status, ""), f"qemu-img {words} {name}")
            check_equal(ours("check", *words, name)[:2], (status, ""), f"{words} {name}")
    (FOLDER / "check.raw").write_bytes(b"x" * 512)
    refused(("check", "-f", "raw", "check.raw"), "check.raw: only a qcow2 image", status=63)


def test_snapshot_does_one_thing_as_qemu_img_does():
    create("once.qcow2", content=False)
    for first, second in itertools.product((("-l",), ("-c", "a"), ("-a", "a"), ("-d", "a")),
                                           repeat=2):
        words = ("snapshot", *first, *second, "once.qcow2")
        check_equal(qemu(*words)[0], 1, f"qemu-img {words}")
        refused(words, "one thing at a time")
    check_equal(good("snapshot", "-l", "once.qcow2"), "", "a snapshot was taken")


def test_snapshot_with_a_time_and_a_hostile_name():
    create("hostile.qcow2")
    make("snapshot", "-c", "friendly-name", "hostile.qcow2")
    with patched("hostile.qcow2", "hostile.qcow2") as data:
        at = data.rindex(b"friendly-name")
        data[at:at + 4] = b"\x1b[2J"
    row = good("snapshot", "-l", "hostile.qcow2").splitlines()[2]
    check("\\x1b[2Jndly-name" in row, row)


# --- encrypted images ----------------------------------------------------------------------------

def create_encrypted(name, form):
    (FOLDER / "key").write_bytes(b"open sesame")
    secret = ["--object", "secret,id=key,file=key,format=raw"]
    options = f"encrypt.format={form},encrypt.key-secret=key"
    (FOLDER / "secret.raw").write_bytes(b"secret" * 20000 + bytes(80000))
    fs.calibrated(make, "convert", "-q", *secret, "-f", "raw", "-O", "qcow2", "-o",
                  options + (",encrypt.iter-time=10" if form == "luks" else ""), "secret.raw", name)
    return f"driver=qcow2,file.filename={name},encrypt.key-secret=key", secret


def test_encrypted_images_need_the_passphrase():
    for form in ("luks", "aes"):
        opts, secret = create_encrypted(f"{form}.qcow2", form)
        name = f"{form}.qcow2"
        check_equal(json.loads(good("info", "--output=json", name))["encrypted"], True, name)
        refused(("convert", name, "out.raw"), name, "no passphrase was given")
        good("convert", "--passphrase-file=key", name, "clear.raw")
        want = (FOLDER / "secret.raw").read_bytes()
        check_equal((FOLDER / "clear.raw").read_bytes()[:len(want)] == want, True, "content")
        theirs = qemu("map", "--output=json", *secret, "--image-opts", opts)[1]
        mine = good("map", "--output=json", "--passphrase-file", "key", name)
        check_equal(json.loads(mine), json.loads(theirs), "map")
        refused(("map", "--passphrase-file=key", name), "compressed or encrypted data")
    (FOLDER / "wrong").write_bytes(b"open wheat")
    refused(("map", "--passphrase-file=wrong", "luks.qcow2"), "luks.qcow2", "fits no key slot")
    refused(("map", "--passphrase-file=no-key", "luks.qcow2"), "no-key", "No such file")


# --- read, convert, compare ----------------------------------------------------------------------

def test_read_takes_sizes_and_checks_the_range():
    create("read.qcow2", content=False)
    qemu_io("read.qcow2", "write -P 0x41 1k 1k", "write -P 0x42 2k 1k")
    check_equal(good("read", "1k", "4", "read.qcow2"), "AAAA", "one pattern")
    check_equal(good("read", "2046", "0x4", "read.qcow2"), "AABB", "across two")
    check_equal(good("read", "1M", "0", "read.qcow2"), "", "nothing, at the end")
    for offset, length in (("1M", "1"), ("1048575", "2"), ("0", "1048577"),
                           ("0xffffffffffffffff", "2"), ("2M", "0")):
        check_equal(refused(("read", offset, length, "read.qcow2"), "read.qcow2", "is not inside"),
                    "", "bytes before the refusal")


def test_read_and_convert_a_snapshot():
    create("past.qcow2", content=False)
    for letter in ("A", "B"):
        qemu_io("past.qcow2", f"write -P {ord(letter)} 0 64k")
        make("snapshot", "-c", f"is {letter}", "past.qcow2")
    qemu_io("past.qcow2", f"write -P {ord('C')} 0 64k")
    for snapshot, letter in (("1", "A"), ("2", "B"), ("is A", "A"), ("is B", "B")):
        check_equal(good("read", "--snapshot", snapshot, "0", "1", "past.qcow2"), letter, snapshot)
    check_equal(good("read", "0", "1", "past.qcow2"), "C", "active state")
    for parameter, letter in (("is B", "B"), ("snapshot.id=1", "A"), ("snapshot.name=is B", "B"),
                              ("snapshot.id=2,snapshot.name=is B", "B")):
        good("convert", "-l", parameter, "-O", "raw", "past.qcow2", "past.raw")
        check_equal((FOLDER / "past.raw").read_bytes()[:1].decode(), letter, parameter)
    for parameter in ("3", "snapshot.id=is A", "snapshot.name=1", "snapshot.frob=1",
                      "snapshot.id=1,snapshot.name=is B"):
        refused(("convert", "-l", parameter, "past.qcow2", "past.raw"), "past.qcow2", "no snapshot")
    refused(("read", "--snapshot", "is C", "0", "1", "past.qcow2"), "no snapshot")


def test_convert_keeps_its_output_sparse():
    create("sparse.qcow2", size="16M", content=False)
    qemu_io("sparse.qcow2", "write -P 1 1M 64k", "write -P 0 2M 1M", "write -P 2 4M 4k")
    for flags, least, most in (([], 68 << 10, 256 << 10), (["-S", "0"], 16 << 20, 17 << 20),
                               (["-S", "1M"], 68 << 10, 8 << 20)):
        target = FOLDER / "sparse.raw"
        target.write_bytes(b"old" * 1000)
        good("convert", *flags, "-O", "raw", "sparse.qcow2", target)
        check_equal(target.stat().st_size, 16 << 20, "size")
        actual = target.stat().st_blocks * 512
        check(least <= actual <= most, f"{flags}: {actual} bytes are allocated")
        check_equal(qemu("compare", "-f", "raw", "sparse.raw", "sparse.qcow2")[0], 0, flags)


def test_convert_into_an_existing_output():
    create("into.qcow2")
    target = FOLDER / "into.raw"
    target.write_bytes(b"\xee" * (1 << 20) + b"rest")
    good("convert", "-n", "into.qcow2", "into.raw")
    make("convert", "-O", "raw", "into.qcow2", "want.raw")
    check_equal(target.read_bytes(), (FOLDER / "want.raw").read_bytes() + b"rest", "content")
    target.write_bytes(b"short")
    refused(("convert", "-n", "into.qcow2", "into.raw"), "into.raw", "smaller than the disk")
    check_equal(target.read_bytes(), b"short", "a refused output")
    refused(("convert", "-n", "into.qcow2", "nowhere.raw"), "nowhere.raw", "does not exist")


def test_convert_never_writes_onto_its_input():
    create("base.qcow2")
    create("onto.qcow2", "-b", "base.qcow2", "-F", "qcow2")
    create("with-data.qcow2", "-o", "data_file=with-data.data")
    os.symlink("base.qcow2", FOLDER / "link")
    before = {name: (FOLDER / name).read_bytes()
              for name in ("base.qcow2", "onto.qcow2", "with-data.data")}
    for source, target in (("onto.qcow2", "onto.qcow2"), ("onto.qcow2", "base.qcow2"),
                           ("onto.qcow2", "link"), ("with-data.qcow2", "with-data.data")):
        refused(("convert", source, target), target, "one of the image's own files")
    for name, data in before.items():
        check((FOLDER / name).read_bytes() == data, f"{name} was changed")


def test_convert_refuses_other_formats_and_bad_outputs():
    create("other.qcow2")
    refused(("convert", "-O", "vmdk", "other.qcow2", "other.out"), "vmdk", "not supported")
    refused(("convert", "other.qcow2", "no-folder/out.raw"), "no-folder/out.raw", "does not exist")
    refused(("convert", "other.qcow2", "."), ".: not a file")
    check(not (FOLDER / "other.out").exists(), "an output was made")


def test_a_link_to_nothing_is_where_a_file_is_made():
    create("linked.qcow2")
    for words in (("create", "-q", "-f", "qcow2", "%s", "1M"),
                  ("create", "-q", "-f", "raw", "%s", "1M"),
                  ("convert", "-O", "qcow2", "linked.qcow2", "%s"),
                  ("convert", "-O", "raw", "linked.qcow2", "%s")):
        for program, name in ((METALCOW, "ours"), ("qemu-img", "theirs")):
            (FOLDER / name).unlink(missing_ok=True)
            (FOLDER / "link").unlink(missing_ok=True)
            (FOLDER / "link").symlink_to(name)
            check_equal(run(program, *(word.replace("%s", "link") for word in words)),
                        (0, "", ""), f"{program} {words}")
            check((FOLDER / "link").is_symlink(), f"{program} {words}: the link is gone")
        same = run("qemu-img", "compare", "ours", "theirs")
        check_equal(same[0], 0, f"{words}: {same}")
    (FOLDER / "ours").unlink()
    os.symlink("ours", FOLDER / "failing")
    refused(("create", "-f", "qcow2", "-o", "preallocation=full", "failing", "1E"), "failing")
    check((FOLDER / "failing").is_symlink() and not (FOLDER / "ours").exists(), "after a failure")


def test_nobody_else_may_write_a_new_file():
    for words in (("create", "-q", "-f", "qcow2", "mode", "1M"), ("create", "-q", "mode", "1M")):
        modes = []
        for program in (METALCOW, "qemu-img"):
            (FOLDER / "mode").unlink(missing_ok=True)
            before = os.umask(0)
            try:
                check_equal(run(program, *words), (0, "", ""), f"{program} {words}")
            finally:
                os.umask(before)
            modes.append(oct((FOLDER / "mode").stat().st_mode))
        check_equal(modes[0], modes[1], f"{words}")


def test_convert_to_a_full_disk_says_so():
    create("large.qcow2", content=False, size="4M")
    qemu_io("large.qcow2", "write -P 1 0 4M")
    script = 'ulimit -f 2048; exec "$0" convert large.qcow2 large.raw'
    done = subprocess.run(["sh", "-c", script, str(METALCOW)], cwd=FOLDER, capture_output=True,
                          check=False)
    err = done.stderr.decode()
    check_equal(done.returncode, 1, err)
    check("large.raw: no space left" in err, err)


def test_work_goes_on_when_nobody_reads_what_is_printed():
    create("unread.qcow2", size="8M")
    for name in ("unread.raw", "unread-copy.qcow2"):
        output_format = name.rpartition(".")[2]
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([str(METALCOW), "convert", "-p", "-O", output_format, "unread.qcow2",
                               name], cwd=FOLDER, check=False, stdout=writer,
                              stderr=subprocess.PIPE)
        os.close(writer)
        check_equal((done.returncode, done.stderr.decode()),
                    (1, "metalcow: cannot write to standard output\n"), name)
        check_equal(good("compare", "unread.qcow2", name), "Images are identical.\n", name)


def test_progress_is_qemu_imgs():
    create("progress.qcow2", size="8M")
    text = good("convert", "-p", "progress.qcow2", "progress.raw")
    check(text.startswith("    (0.00/100%)\r") and text.endswith("    (100.00/100%)\r\n"),
          repr(text))
    check_equal(good("convert", "-p", "-q", "progress.qcow2", "progress.raw"), "", "quiet")
    check_equal(good("convert", "progress.qcow2", "progress.raw"), "", "no terminal, no bar")


def test_quick_work_at_a_terminal_shows_no_bar():
    create("terminal.qcow2")
    master, slave = pty.openpty()
    done = subprocess.run([str(METALCOW), "convert", "terminal.qcow2", "terminal.raw"], cwd=FOLDER,
                          stderr=slave, check=False)
    os.write(slave, b"end")
    text = os.read(master, 4096)
    os.close(master)
    os.close(slave)
    check_equal((done.returncode, text), (0, b"end"), "what a terminal shows")


def compare_cases():
    """Pairs of images with flags; qemu-img says what is to be said."""
    create("one.qcow2", content=False)
    qemu_io("one.qcow2", "write -P 1 64k 128k", "write -P 2 900k 100")
    make("convert", "-O", "qcow2", "-o", "cluster_size=4k", "one.qcow2", "same.qcow2")
    shutil.copy(FOLDER / "one.qcow2", FOLDER / "changed.qcow2")
    qemu_io("changed.qcow2", "write -P 9 921650 1")
    shutil.copy(FOLDER / "one.qcow2", FOLDER / "longer.qcow2")
    make("resize", "-q", "-f", "qcow2", "longer.qcow2", "2M")
    shutil.copy(FOLDER / "longer.qcow2", FOLDER / "tail.qcow2")
    qemu_io("tail.qcow2", "write -P 7 1500k 10")
    make("convert", "-O", "raw", "one.qcow2", "one.raw")
    yield [], "one.qcow2", "one.qcow2", 0
    yield [], "one.qcow2", "same.qcow2", 0
    yield ["-s"], "one.qcow2", "one.qcow2", 0
    yield ["-s"], "one.qcow2", "longer.qcow2", 1
    yield ["-F", "raw"], "one.qcow2", "one.raw", 0
    yield ["-f", "raw"], "one.raw", "same.qcow2", 0
    yield ["-f", "raw"], "one.raw", "changed.qcow2", 1
    yield [], "one.qcow2", "changed.qcow2", 1
    yield [], "one.qcow2", "longer.qcow2", 0
    yield [], "longer.qcow2", "one.qcow2", 0
    yield [], "tail.qcow2", "one.qcow2", 1
    yield [], "changed.qcow2", "tail.qcow2", 1
    yield ["-s", "-F", "raw"], "one.qcow2", "one.raw", 1


def test_compare_is_qemu_imgs():
    for flags, first, second, status in compare_cases():
        want = qemu("compare", *flags, first, second)
        check_equal(want[0], status, f"qemu-img compare {flags} {first} {second}")
        check_equal(ours("compare", *flags, first, second), want, f"{flags} {first} {second}")
        check_equal(ours("compare", "-q", *flags, first, second), (status, "", ""), "quiet")


def test_compare_says_what_failed_by_its_status():
    create("fine.qcow2", content=False)
    qemu_io("fine.qcow2", "write -P 1 0 64k")
    shutil.copy(FOLDER / "fine.qcow2", FOLDER / "short.qcow2")
    os.truncate(FOLDER / "short.qcow2", (FOLDER / "short.qcow2").stat().st_size - 65536)
    with patched("fine.qcow2", "bad-l2.qcow2") as data:
        l1_table = struct.unpack_from(">Q", data, 40)[0]
        l2_table = struct.unpack_from(">Q", data, l1_table)[0] & ((1 << 56) - 1)
        data[l2_table + 6] |= 1  # a host offset that is no multiple of the cluster
    refused(("compare", "fine.qcow2", "gone.qcow2"), "gone.qcow2", status=2)
    refused(("compare", "fine.qcow2", "bad-l2.qcow2"), "bad-l2.qcow2", "at offset 0x", status=3)
    refused(("compare", "fine.qcow2", "short.qcow2"), "short.qcow2", status=4)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True)
    try:
        main(globals())
    finally:
        shutil.rmtree(FOLDER)

#!/usr/bin/python3
"""`metalcow io` beside qemu-io 7.2: the same command lines, the same standard output (times and
rates aside), the same exit status, and the same disk in the end."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tools import speed  # noqa: E402

BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
METALCOW = pathlib.Path(os.environ.get("METALCOW", BUILD / "san/metalcow")).resolve()
FOLDER = BUILD / f"tests/interop/io-{os.getpid()}"

# A row: the flags, the commands, the file. One image serves all rows in turn.
TRANSFER_ROWS = [
    ("-f qcow2", ["write -P 0x11 0 64k", "read -P 1 0 1k"], "t.qcow2"),
    ("-f qcow2", ["read -P 0x11 0 1k", "read -P 0x22 -s 10 -l 5 0 1k", "read -v 0 40"], "t.qcow2"),
    ("-f qcow2", ["w -s pattern 1000 10", "r -v 1000 12", "w 0 1.5k", "read -P 0xcd 0 1536"],
     "t.qcow2"),
    ("-f qcow2", ["write -q -P 5 64k 3", "read -qv 0 3", "read -C 0 64k", "write -C 9 9"],
     "t.qcow2"),
    ("-f qcow2", ["discard 5 6", "discard -q 0 64k", "d 0 1M", "discard -C 0 64k"], "t.qcow2"),
    ("-f qcow2", ["write -z 5 6", "write -zu 64k 64k", "write -P 7 0 1M", "write -z 0 65537"],
     "t.qcow2"),
    ("-f qcow2", ["write -zu 0 1M"], "t.qcow2"),
    ("-f qcow2", ["write -c -P 5 256k 128k", "read -P 5 256k 128k", "write -P 6 300k 1k"],
     "t.qcow2"),
    ("-f qcow2", ["write -c -P 5 0 200k", "write -c -s pattern 204800 512", "read 0 205312"],
     "z.qcow2"),
    ("-f qcow2", ["write 0 0", "read 0 0", "write -f -P 9 0 512", "flush", "f"], "t.qcow2"),
    ("-d ignore -f qcow2", ["w -P 3 0 64k", "discard 0 64k", "read -P 3 0 64k"], "t.qcow2"),
    ("-f qcow2", ["writev -P 5 1k 1k \t3k 64k", "readv -P 5 1k 68k", "readv -v -P 5 1k 16",
                  "readv -C -P 5 1k 1k 1k", "writev 100k 512", "readv -P 0xcd 100k 256 256"],
     "t.qcow2"),
    ("-f qcow2", ["aio_write -P 7 64k 64k 1k", "aio_flush", "aio_read -P 7 64k 65k",
                  "aio_write -z 64k 64k", "aio_flush", "aio_read -P 0 64k 64k", "aio_flush",
                  "aio_write -zu 128k 1k", "aio_flush"], "t.qcow2"),
    ("-f qcow2", ["write -P 3 0 64k", "flush", "sigraise 0", "sigraise 9"], "t.qcow2"),
    ("--aio threads --cache writeback -f qcow2", ["w 0 1k", "r 0 1k"], "t.qcow2"),
    ("-r -f qcow2", ["write 0 1", "flush", "discard 0 64k", "write -z 0 1", "read 0 1"], "t.qcow2"),
    ("-f qcow2", ["write -P 0x42 3k 70k", "read -P 0x42 3k 70k"], "d.qcow2"),
    ("-f raw", ["write -P 0x42 100 200", "read -P 0x42 100 200", "w -z 150 9"], "t.raw"),
]
LOOK_ROWS = [
    ("-f qcow2", ["write 64k 64k", "write -z 256k 64k", "map", "alloc 0 1M", "alloc 64k", "a 2M",
                  "alloc 1023k 1M", "length", "l"], "t.qcow2"),
    ("-f qcow2", ["map", "length"], "above.qcow2"),
    ("-f raw", ["length", "map"], "t.raw"),
    ("-f qcow2", ["truncate 16E", "truncate 8e", "truncate 18446744073709551616", "truncate 1Q",
                  "truncate 99999999999999999999Q", "truncate 0xffffffffffffffffff", "read 1b 1B",
                  "read +1k +0x200", "truncate 2m", "length"], "t.qcow2"),
    ("-f raw", ["write -P 9 0 64k", "truncate 100k", "length", "read -P 0 64k 36k", "write 90k 10k",
                "t -m full 200k", "truncate 1536", "length", "read -P 9 0 1536", "truncate 4k",
                "read -P 0 1536 2560", "map"], "t.raw"),
    ("-f qcow2", ["truncate 2M", "length", "t -m metadata 3M", "map", "truncate 1M", "length"],
     "t.qcow2"),
    ("", ["open -o driver=qcow2 t.qcow2", "length", "close", "o -r t.qcow2", "w 0 1", "c", "close"],
     None),
    ("", ["open -odata-file.filename=d.data d.qcow2", "read -P 0x42 3k 70k"], None),
    ("-s -f qcow2", ["write -P 9 0 1M", "read -P 9 0 1M", "discard 0 64k", "flush", "read 0 64k"],
     "t.qcow2"),
    ("-s -f raw", ["write -P 9 100 200", "read -P 9 100 200", "read -P 0 300 1k"], "t.raw"),
    ("-s -f qcow2", ["write -P 9 0 1M", "read -P 9 0 1M"], "d.qcow2"),
    ("-s -f qcow2", ["write -P 9 0 64k", "read -P 9 0 64k", "read 64k 1k"], "above.qcow2"),
    ("", ["open -s -o driver=qcow2 t.qcow2", "write -P 8 0 1k", "read -P 8 0 1k", "close",
          "open -s -d ignore -t none -i threads -n -o driver=qcow2 t.qcow2", "write -P 7 0 64k",
          "discard 0 64k", "read -P 7 0 64k", "close", "open -U -r -o driver=qcow2 t.qcow2",
          "read 0 64k"], None),
    ("--image-opts", ["length", "sleep 1"], "driver=raw,file.filename=t.raw"),
    ("--image-opts", ["length"], "driver=qcow2,file.driver=file,file.filename=t.qcow2"),
]
ERROR_ROWS = [
    ("-f qcow2", ["write 2M 1k", "write 0 1k"], "t.qcow2"),
    ("-f qcow2", ["read 1M 1k", "read 1M", "foo 1M", ""], "t.qcow2"),
    ("-f qcow2", ["writev 1M 1k", "readv 1M 512 512", "readv 0", "readv 0 x", "writev x 1"],
     "t.qcow2"),
    ("-f qcow2", ["read x 1", "read 0 x", "read 0 3G", "write 0 3G", "read -P 300 0 1",
                  "read -P 0x 0 1", "discard 0 3G", "discard 0 2M"], "t.qcow2"),
    ("-f qcow2", ["write -zP 3 0 1", "write -u 0 1", "read -P 0 -s 2k 0 1k", "length 1",
                  "read -P 0 -l 2k 0 1k", "read -P 0 -s 1k 0 1k", "alloc", "alloc 1 2 3"],
     "t.qcow2"),
    ("-f qcow2", ["write -s empty 0 10", "write -s gone 0 10", "write -fc 0 64k"], "t.qcow2"),
    ("-f qcow2", ["write -c 0 64k"], "d.qcow2"),
    ("-f raw", ["write -c 0 512"], "t.raw"),
    ("-f qcow2", ["write -c 1k 64k", "write -c 0 1k", "write -c 1 1", "write -c 0 1",
                  "write -c 1M 64k"], "t.qcow2"),
    ("-f qcow2", ["truncate 1 2 3 4", "truncate x", "truncate -m full 512k", "length"], "t.qcow2"),
    ("-f raw", ["truncate -m metadata 1M", "truncate -m full 1k", "length"], "t.raw"),
    ("", ["read 0 1", "open gone", "read 0 1"], None),
    ("", ["open t.qcow2", "open t.qcow2", "close", "length", "quit", "foo"], None),
    ("", ["open -odata-file.filename=inexistent d.qcow2", "read 0 1"], None),
    ("", ["open -odata-file.filename=d.data t.qcow2", "read 0 1"], None),
    ("-f qcow2", [], "gone"),
]


def run(program, flags, commands, file, data=b""):
    """Return (status, output, errors), with what differs by design or by time evened out."""
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run([*program, *flags.split(), *words, *([file] if file else [])],
                          cwd=FOLDER, input=data, capture_output=True, check=False,
                          timeout=speed.stretch(60))
    out = re.sub(r" ops; .*", " ops; TIMES", done.stdout.decode(errors="replace"))
    out = re.sub(r",1,\d+:.*", ",1,TIMES", out)
    out = re.sub(r"(qemu-io|metalcow)> ", "> ", out)
    return done.returncode, out, done.stderr.decode(errors="replace").replace("qemu-io", "metalcow")


def reset():
    """Fresh images, the same for both programs."""
    for name in ("t.qcow2", "d.qcow2", "d.data", "t.raw", "above.qcow2", "z.qcow2"):
        (FOLDER / name).unlink(missing_ok=True)
    for words in (["-f", "qcow2", "t.qcow2", "1M"],
                  ["-f", "qcow2", "-o", "data_file=d.data", "d.qcow2", "1M"],
                  ["-f", "qcow2", "-o", "compression_type=zstd,cluster_size=4k", "z.qcow2",
                   "205312"],
                  ["-f", "raw", "t.raw", "64k"],
                  ["-f", "qcow2", "-b", "t.qcow2", "-F", "qcow2", "above.qcow2"]):
        subprocess.run(["qemu-img", "create", "-q", *words], cwd=FOLDER, check=True)
    (FOLDER / "pattern").write_bytes(b"abc")
    (FOLDER / "empty").write_bytes(b"")


def disks():
    """The content of all disks, as qemu-img reads it."""
    content = []
    for name, image_format in (("t.qcow2", "qcow2"), ("d.qcow2", "qcow2"),
                               ("z.qcow2", "qcow2"), ("t.raw", "raw")):
        subprocess.run(["qemu-img", "convert", "-f", image_format, "-O", "raw", name, "content"],
                       cwd=FOLDER, check=True)
        content.append((FOLDER / "content").read_bytes())
        if image_format == "qcow2":
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", name], cwd=FOLDER, check=True)
    return content


def compare(rows):
    """Run the rows by both programs; statuses, outputs and disks must be equal."""
    results = []
    for program in (["qemu-io"], [str(METALCOW), "io"]):
        reset()
        answers = [run(program, *row) for row in rows]
        results.append((answers, disks()))
    for row, want, got in zip(rows, results[0][0], results[1][0]):
        check_equal(got[:2], want[:2], f"{row}, stderr {got[2]!r}")
        check(bool(got[2]) >= bool(want[2]), f"{row}: silent where qemu-io says {want[2]!r}")
    check(results[0][1] == results[1][1], "the disks differ")
    return [(want[2], got[2]) for want, got in zip(results[0][0], results[1][0])]


def test_transfers():
    for want, got in compare(TRANSFER_ROWS):
        check_equal(bool(got), bool(want), f"an error is said: {got!r}, {want!r}")


def test_looks_and_opens():
    for want, got in compare(LOOK_ROWS):
        check_equal(bool(got), bool(want), f"an error is said: {got!r}, {want!r}")


def test_truncate_cuts_the_data_file():
    row = ("-f qcow2", ["write -P 5 0 1M", "truncate 64k", "length", "truncate 128k",
                        "write -P 6 64k 64k", "read -P 5 0 64k", "read -P 6 64k 64k",
                        "truncate 64k"], "d.qcow2")
    for program in (["qemu-io"], [str(METALCOW), "io"]):
        reset()
        status, out, errors = run(program, *row)
        check_equal((status, errors), (0, ""), out)
        data = (FOLDER / "d.data").read_bytes()
        check_equal((len(data), data == b"\5" * 65536), (65536, True), program[-1])


def test_a_snapshot_overlay_leaves_every_file_as_it_was():
    """What is written vanishes; an image that another program writes is taken with -U."""
    reset()
    names = ("t.qcow2", "d.qcow2", "d.data", "t.raw", "above.qcow2")
    before = [(FOLDER / name).read_bytes() for name in names]
    temporary = FOLDER / "temporary"
    temporary.mkdir()
    command = [str(METALCOW), "io", "-s"]
    for file in ("t.qcow2", "d.qcow2", "above.qcow2", "t.raw"):
        done = subprocess.run([*command, "-c", "write -P 9 0 64k", "-c", "read -P 9 0 64k", file],
                              cwd=FOLDER, capture_output=True, check=False,
                              timeout=speed.stretch(60),
                              env={**os.environ, "TMPDIR": str(temporary)})
        check_equal((done.returncode, done.stderr), (0, b""), file)
        check_equal(list(temporary.iterdir()), [], f"{file}: left in the temporary folder")
    check([(FOLDER / name).read_bytes() for name in names] == before, "a file was changed")
    os.chmod(FOLDER / "t.qcow2", 0o444)
    done = subprocess.run([*command, "-c", "write 0 1k", "t.qcow2"], cwd=FOLDER, check=False,
                          capture_output=True, timeout=speed.stretch(60),
                          env={**os.environ, "TMPDIR": str(FOLDER / "gone")})
    check(done.returncode == 1 and b"gone/metalcow" in done.stderr, str(done))
    temporary.rmdir()


def test_errors():
    messages = compare(ERROR_ROWS)
    errors = "".join(got for _, got in messages)
    for words in ("t.qcow2: the range is not inside the disk (guest offset is 0x200000, limit "
                  "0x100000)", "readv was given 1 argument(s), but takes 2 or more",
                  "alloc was given 3 argument(s), but takes 1 to 2",
                  "gone: the file does not exist"):
        check(words in errors, f"{words!r} is missing in {errors!r}")


def test_lines_of_standard_input():
    reset()
    lines = b"length\nread -P 0 0 1\n\nfoo\nquit\nlength\n"
    want = run(["qemu-io"], "-f qcow2", [], "t.qcow2", lines)
    check_equal(run([str(METALCOW), "io"], "-f qcow2", [], "t.qcow2", lines), want, "a session")


def test_a_long_line_is_one_line():
    reset()
    status, out, err = run([str(METALCOW), "io"], "-f qcow2", [], "t.qcow2",
                           b"read" + b" " * 1019 + b"write 0 1\n")
    check_equal((status, "wrote" in out, "failed" in out, err), (1, False, False, ""), out)


def test_help():
    status, out, _ = run([str(METALCOW), "io"], "", ["help", "help read", "?  write"], None)
    check_equal(status, 0, "status")
    for name in ("alloc", "close", "discard", "flush", "help", "length", "map", "open", "quit",
                 "read", "sleep", "truncate", "write"):
        check(re.search(rf"^{name} .*-- ", out, re.M), f"{name} is not listed")
    check("-P  compare what was read" in out and "-P  write this byte" in out, out)


def test_a_word_too_many_and_control_characters():
    reset()
    status, out, err = run([str(METALCOW), "io"], "-f qcow2",
                           ["read \x1b[2J 1", "\x1b[2J", "length " + "x " * 50], "t.qcow2")
    check_equal(status, 1, "status")
    check("\x1b" not in out + err and "\\x1b" in out and "\\x1b" in err, out + err)
    check("argument(s), but takes" in err, err)


def test_a_line_of_more_than_64_words_changes_nothing():
    reset()
    before = (FOLDER / "t.qcow2").read_bytes()
    line = "writev 0 " + "512 " * 100
    status, out, err = run([str(METALCOW), "io"], "-f qcow2", [line], "t.qcow2")
    check_equal((status, out), (1, ""), err)
    check("more than 64 words" in err, err)
    check((FOLDER / "t.qcow2").read_bytes() == before, "the image was changed")


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        main(globals())
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)

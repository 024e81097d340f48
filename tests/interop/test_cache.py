#!/usr/bin/python3
"""What -t, -T and -C do: the page cache, when writes are durable, and copies by the file system.

Run after `make`; the C program under test is build/san/metalcow.
"""

import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402
from tests.interop.tool import Folder  # noqa: E402

SEED = 20261128
SIZE = 12 << 20  # more than what may be in the page cache with -t none
O_DSYNC = 0o10000
MODES = ("writeback", "none", "writethrough", "directsync", "unsafe")

folder = Folder("cache")


def remove(*names):
    for name in names:
        (folder.path / name).unlink(missing_ok=True)


def make_source():
    """disk.raw, no byte of it zero by chance, and disk.qcow2 with the same content."""
    if not (folder.path / "disk.raw").exists():
        (folder.path / "disk.raw").write_bytes(random.Random(SEED).randbytes(SIZE))
        folder.good("convert", "-f", "raw", "-O", "qcow2", "disk.raw", "disk.qcow2")
        os.sync()


def nb_cached(name):
    """Bytes of a file that are in the page cache."""
    done = subprocess.run(["fincore", "-b", "-n", "-o", "RES", str(folder.path / name)],
                          capture_output=True, text=True, check=True)
    return int(done.stdout)


def leave_cache(name):
    fd = os.open(folder.path / name, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def content(name):
    return (folder.path / name).read_bytes()


def test_none_leaves_nothing_of_the_output_in_the_page_cache():
    make_source()
    for mode, kept in (("none", False), ("directsync", False), ("writeback", True)):
        for output in ("raw", "qcow2"):
            remove("out")
            folder.good("convert", "-t", mode, "-O", output, "disk.qcow2", "out")
            cached = nb_cached("out")
            check((cached > 0) == kept, f"-t {mode} -O {output}: {cached} bytes are cached")
            folder.good("compare", "disk.qcow2", "out")


def test_none_leaves_nothing_of_the_input_in_the_page_cache():
    make_source()
    for command in (("convert", "-O", "raw", "disk.qcow2", "out"), ("check", "disk.qcow2"),
                    ("compare", "disk.qcow2", "disk.qcow2")):
        for mode, kept in (("none", False), ("writeback", True)):
            remove("out")
            leave_cache("disk.qcow2")
            folder.good(command[0], "-T", mode, *command[1:])
            cached = nb_cached("disk.qcow2")
            check((cached > 0) == kept, f"{command} -T {mode}: {cached} bytes are cached")


def test_backing_files_have_the_mode_of_what_is_read():
    make_source()
    remove("top.qcow2", "other.qcow2", "out")
    folder.good("create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", "top.qcow2")
    leave_cache("disk.qcow2")
    folder.good("convert", "-T", "none", "-O", "raw", "top.qcow2", "out")
    check_equal(nb_cached("disk.qcow2"), 0, "cached bytes of the backing file, convert")
    folder.good("create", "-q", "-f", "qcow2", "other.qcow2", str(SIZE))
    folder.good("rebase", "-T", "none", "-b", "other.qcow2", "-F", "qcow2", "top.qcow2")
    check_equal(nb_cached("disk.qcow2"), 0, "cached bytes of the old backing file, rebase")
    check_equal(nb_cached("other.qcow2"), 0, "cached bytes of the new backing file, rebase")
    check(nb_cached("top.qcow2") > 0, "rebase -T is about the image too")


def with_failing_flush(name, *command):
    environment = {**os.environ, "ASAN_OPTIONS": "verify_asan_link_order=0",
                   "LD_PRELOAD": str(tool.BUILD / "san/tests/interop/fail_flush.so"),
                   "FAIL_FLUSH": str(folder.path / name)}
    return subprocess.run([str(tool.METALCOW), *command], cwd=folder.path, env=environment,
                          capture_output=True, text=True, check=False)


def test_unsafe_never_flushes_and_the_others_do():
    make_source()
    for output in ("raw", "qcow2"):
        for mode in MODES:
            remove("out")
            (folder.path / "out").touch()
            done = with_failing_flush("out", "convert", "-t", mode, "-O", output, "disk.qcow2",
                                      "out")
            check((done.returncode == 0) == (mode == "unsafe"),
                  f"-t {mode} -O {output}: {done.returncode} {done.stderr}")
    folder.good("create", "-q", "-f", "qcow2", "t.qcow2", "1M")
    for mode in MODES:
        done = with_failing_flush("t.qcow2", "io", "-t", mode, "-c", "write 0 64k", "-c", "flush",
                                  "t.qcow2")
        check((done.returncode == 0) == (mode == "unsafe"),
              f"io -t {mode}: {done.returncode} {done.stdout}")


def test_writethrough_makes_each_write_durable():
    folder.good("create", "-q", "-f", "qcow2", "through.qcow2", "1M")
    for mode in MODES:
        with subprocess.Popen([str(tool.METALCOW), "io", "-t", mode, "through.qcow2"],
                              cwd=folder.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as process:
            process.stdin.write("length\n")
            process.stdin.flush()
            process.stdout.readline()  # it has opened the file
            flags = tool.flags_of(process, folder.path / "through.qcow2")
            process.stdin.close()
        check(bool(flags & O_DSYNC) == (mode in ("writethrough", "directsync")),
              f"{mode}: flags {flags:o}")


def test_words_that_mean_nothing_are_refused():
    make_source()
    for words in (("convert", "-t", "fast"), ("convert", "-T", "fast"), ("check", "-T", ""),
                  ("io", "-t", "fast", "-c", "length"), ("io", "-i", "native", "-c", "length"),
                  ("io", "-k", "-c", "length"), ("rebase", "-t", "no")):
        remove("out")
        status, _, err = folder.ours(*words, "disk.qcow2",
                                     *(["out"] if words[0] == "convert" else []))
        check(status == 1 and "metalcow: " in err, f"{words}: {status} {err}")
        check(not (folder.path / "out").exists(), f"{words} made the output")
    folder.good("io", "-n", "-i", "threads", "-c", "read 0 64k", "disk.qcow2")
    check_equal(nb_cached("disk.qcow2"), 0, "cached bytes after io -n")


def test_the_file_system_copies_what_is_stored_as_it_is():
    make_source()
    with open(folder.path / "zeros.raw", "wb") as file:
        file.write(bytes(1 << 20) + b"x" * 65536)
    for source, form in (("disk.raw", "raw"), ("disk.qcow2", "qcow2"), ("zeros.raw", "raw")):
        remove("out")
        folder.good("convert", "-C", "-f", form, "-O", "raw", source, "out")
        folder.good("compare", "-f", form, "-F", "raw", source, "out")
    check(os.stat(folder.path / "out").st_blocks * 512 >= 1 << 20,
          "zeros that are stored were looked for")
    remove("out")
    folder.good("convert", "-f", "raw", "-O", "raw", "zeros.raw", "out")
    check(os.stat(folder.path / "out").st_blocks * 512 < 1 << 20, "without -C they become holes")
    folder.good("convert", "-c", "-O", "qcow2", "disk.qcow2", "packed.qcow2")
    folder.good("convert", "-C", "-O", "raw", "packed.qcow2", "out")
    folder.good("compare", "packed.qcow2", "out")
    for options in (("-c", "-O", "qcow2"), ("-S", "64k", "-O", "raw")):
        remove("out")
        status, _, err = folder.ours("convert", "-C", *options, "disk.qcow2", "out")
        check(status == 1 and "-C" in err and not (folder.path / "out").exists(),
              f"{options}: {status} {err}")


if __name__ == "__main__":
    with folder:
        main(globals())

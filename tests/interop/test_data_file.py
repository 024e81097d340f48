#!/usr/bin/python3
"""External data files: the facts that QEMU's test 244 (of QEMU 7.2) holds its own tools to.

The table of each case is ours: what is done, which bytes read back, how the disk is mapped, and
what is refused. Each case runs with metalcow alone and, where qemu-img can do the same step on this
machine, with QEMU's tools as well, so that a wrong fact shows.
"""

import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import BUILD, METALCOW, Folder  # noqa: E402

KIB, MIB = 1024, 1024 * 1024
EMPTY_SIZE = 196616  # bytes of an image of 64 MiB whose clusters lie elsewhere
FILLED_SIZE = 327680


class Tools:
    """One maker's programs; `img` and `io` give exit status and everything printed."""

    def __init__(self, folder, ours):
        self.folder, self.ours = folder, ours

    def img(self, *arguments):
        words = [METALCOW] if self.ours else ["qemu-img"]
        status, out, err = self.folder.run(*words, *arguments)
        return status, out + err

    def io(self, image_format, name, *commands):
        words = [METALCOW, "io"] if self.ours else ["qemu-io"]
        lines = [word for command in commands for word in ("-c", command)]
        status, out, err = self.folder.run(*words, "-f", image_format, *lines,
                                           *([name] if name else []))
        return status, out + err

    def good(self, *arguments):
        status, text = self.img(*arguments)
        check_equal(status, 0, f"{arguments}: {text}")
        return text

    def holds(self, name, image_format, *rows):
        """Rows (pattern, offset, length): what a file or disk reads as."""
        commands = [f"read -P {pattern} {offset} {length}" for pattern, offset, length in rows]
        status, text = self.io(image_format, name, *commands)
        check_equal((status, "Pattern verification failed" in text), (0, False), f"{name}: {text}")

    def map(self, name):
        return [(run["start"] // MIB, run["length"] // MIB, run["present"], run["zero"],
                 run["data"], run.get("offset"))
                for run in json.loads(self.good("map", "--output=json", name))]


def both(name):
    """A folder for each maker's tools, ours last."""
    for ours in (False, True):
        with Folder(f"{name}-{'ours' if ours else 'qemu'}") as folder:
            yield Tools(folder, ours)


def opening(tools, option, name="t.qcow2"):
    """What opening with an option and reading 64 KiB says."""
    status, text = tools.io("qcow2", None, " ".join(["open", *option, name]), "read -P 0 0 64k")
    return status, text


def test_where_the_data_file_is_named():
    given, missing = ["-o", "data-file.filename=t.data"], ["-o", "data-file.filename=nowhere"]
    facts = (  # (how the image is made, (option, our words of the refusal or None)...)
        (["-o", "data_file=t.data"],
         (([], None), (given, None), (missing, "the file does not exist"))),
        (None,  # the same image, its name taken away
         (([], "has an external data file but does not say which"), (given, None),
          (missing, "the file does not exist"))),
        ([], ((given, "the image has no external data file"),)),
    )
    for tools in both("named"):
        for options, rows in facts:
            if options is None:
                tools.good("amend", "-o", "data_file=", "t.qcow2")
            else:
                tools.good("create", "-q", "-f", "qcow2", *options, "t.qcow2", "64M")
                tools.good("check", "t.qcow2")
            for option, refusal in rows:
                status, text = opening(tools, option)
                if refusal:
                    check(status == 1 and "no file open" in text, f"{options} {option}: {text}")
                    check(refusal in text or not tools.ours,
                          f"{options} {option}: {text}")
                else:
                    check_equal(status, 0, f"{options} {option}: {text}")


def test_what_a_data_file_excludes():
    for tools in both("excluded"):
        tools.good("create", "-q", "-f", "qcow2", "t.src", "64M")
        tools.io("qcow2", "t.src", "write -P 0x11 0 1M")
        status, text = tools.img("convert", "-O", "qcow2", "-c", "-o", "data_file=t.data", "t.src",
                                 "t.qcow2")
        check(status == 1 and text, f"compressed clusters with a data file: {text}")
        tools.good("convert", "-O", "qcow2", "-o", "data_file=t.data", "t.src", "t.qcow2")
        tools.good("compare", "t.src", "t.qcow2")
        status, text = tools.io("qcow2", "t.qcow2", "write -c -P 0x22 0 1M")
        check(status == 1 and "not supported" in text, text)
        tools.good("check", "t.qcow2")
        status, text = tools.img("snapshot", "-c", "test", "t.qcow2")
        check(status == 1 and text, "an internal snapshot")
        tools.good("check", "t.qcow2")
        tools.holds("t.qcow2", "qcow2", (0x11, 0, MIB))


# What a disk of 64 MiB looks like after 4 MiB from 1 MiB on were written, 2 MiB from 2 MiB on were
# discarded and 3 MiB from 3 MiB on were made zeros:
# (start and length in MiB, present, zero, data, place in the file)
PLACED = 4 * MIB
STATES = [
    (0, 1, False, True, False, None),
    (1, 1, True, False, True, MIB),
    (2, 2, True, True, False, None),
    (4, 1, True, True, False, PLACED),
    (5, 1, True, True, False, None),
    (6, 58, False, True, False, None),
]


def change(tools, options):
    tools.good("create", "-q", "-f", "qcow2", "-o", options, "t.qcow2", "64M")
    before = (tools.folder.path / "t.qcow2").stat().st_size
    status, text = tools.io("qcow2", "t.qcow2", "write -P 0x11 1M 4M", "discard 2M 2M",
                            "write -z 3M 3M")
    check_equal(status, 0, text)
    tools.good("check", "t.qcow2")
    tools.holds("t.qcow2", "qcow2", (0, 0, MIB), (0x11, MIB, MIB), (0, 2 * MIB, 4 * MIB))
    return before


def test_zeros_are_noted_in_the_image_alone():
    """Without data_file_raw the data file keeps what was there."""
    for tools in both("efficient"):
        check_equal(change(tools, "data_file=t.data"), EMPTY_SIZE, "size of the empty image")
        check_equal(tools.map("t.qcow2"), STATES, "map")
        tools.holds("t.data", "raw", (0, 0, MIB), (0x11, MIB, MIB), (0x11, 4 * MIB, MIB),
                    (0, 5 * MIB, MIB))
        check_equal((tools.folder.path / "t.qcow2").stat().st_size, FILLED_SIZE, "size")


def test_zeros_reach_a_raw_data_file():
    for tools in both("raw"):
        change(tools, "data_file=t.data,data_file_raw=on")
        tools.holds("t.data", "raw", (0, 0, MIB), (0x11, MIB, MIB), (0, 3 * MIB, 3 * MIB))


def test_data_at_the_data_files_first_byte():
    for tools in both("first"):
        tools.good("create", "-q", "-f", "qcow2", "-o", "data_file=t.data", "t.qcow2", "64M")
        tools.io("qcow2", "t.qcow2", "write -P 0x11 0 1M")
        tools.holds("t.qcow2", "qcow2", (0x11, 0, MIB))
        check_equal(tools.map("t.qcow2"), [(0, 1, True, False, True, 0),
                                           (1, 63, False, True, False, None)], "map")
        lines = tools.good("map", "t.qcow2").splitlines()
        check_equal([line.split() for line in lines],
                    [["Offset", "Length", "Mapped", "to", "File"],
                     ["0", "0x100000", "0", "t.data"]], "map for people")


def test_copying_into_an_image_with_a_data_file():
    for tools in both("copy"):
        tools.good("create", "-q", "-f", "qcow2", "t.src", "64M")
        tools.io("qcow2", "t.src", "write -P 0x11 0 1M")
        for _ in range(2):
            tools.good("create", "-q", "-f", "qcow2", "-o", "data_file=t.data", "t.qcow2", "64M")
            tools.good("convert", "-f", "qcow2", "-O", "qcow2", "-n", "-C", "t.src", "t.qcow2")
            tools.good("compare", "-f", "qcow2", "-F", "qcow2", "t.src", "t.qcow2")


def test_flush_reaches_the_data_file():
    """A flush of the data file that fails is a failed flush. QEMU needs a layer for that."""
    with Folder("flush") as folder:
        folder.good("create", "-q", "-f", "qcow2", "-o", "data_file=t.data", "t.qcow2", "1M")
        done = subprocess.run(
            [str(METALCOW), "io", "-f", "qcow2", "-c", "write 0 512", "-c", "flush", "t.qcow2"],
            cwd=folder.path, check=False, capture_output=True,
            env={**os.environ, "LD_PRELOAD": str(BUILD / "san/tests/interop/fail_flush.so"),
                 "FAIL_FLUSH": str(folder.path / "t.data"),
                 "ASAN_OPTIONS": "verify_asan_link_order=0"})
        check_equal(done.returncode, 1, done.stderr)
        check(b"t.data: a flush failed" in done.stderr, done.stderr)


def fill(path, pattern, offset, length):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes([pattern]) * length)


def test_a_raw_data_file_that_is_filled_by_others():
    """With data_file_raw the file is the disk: what is put into it is seen, without a mapping."""
    for tools in both("filled"):
        tools.good("create", "-q", "-f", "qcow2", "-o", "data_file=t.data,data_file_raw=on",
                   "t.qcow2", "1M")
        fill(tools.folder.path / "t.data", 42, 0, MIB)
        tools.holds("t.data", "raw", (42, 0, MIB))
        tools.holds("t.qcow2", "qcow2", (42, 0, MIB))
        tools.good("compare", "-f", "raw", "-F", "qcow2", "t.data", "t.qcow2")


def test_growing_a_disk_over_data_that_is_there():
    """Bytes after the old end of a raw data file stay, and the larger disk shows them."""
    for tools in both("grown"):
        tools.good("create", "-q", "-f", "qcow2", "-o", "data_file=t.data,data_file_raw=on",
                   "t.qcow2", "1M")
        data = tools.folder.path / "t.data"
        fill(data, 42, 0, MIB)
        os.truncate(data, 2 * MIB)
        fill(data, 84, MIB, MIB)
        tools.good("resize", "t.qcow2", "2M")
        for name, image_format in (("t.data", "raw"), ("t.qcow2", "qcow2")):
            tools.holds(name, image_format, (42, 0, MIB), (84, MIB, MIB))
        tools.good("compare", "-f", "raw", "-F", "qcow2", "t.data", "t.qcow2")


def test_a_data_file_that_stays_raw_no_more():
    for tools in both("no-more"):
        for name, raw in (("t.qcow2", "on"), ("other.qcow2", "off")):
            tools.good("create", "-q", "-f", "qcow2", "-o",
                       f"data_file={name}.data,data_file_raw={raw}", name, "1M")
        fill(tools.folder.path / "t.qcow2.data", 42, 0, MIB)
        tools.good("amend", "-o", "data_file_raw=on", "t.qcow2")  # so it is
        status, text = tools.img("amend", "-o", "data_file_raw=on", "other.qcow2")
        check(status == 1 and text, "an image became raw")
        tools.good("amend", "-o", "data_file_raw=off", "t.qcow2")
        for name in ("t.qcow2", "other.qcow2"):
            info = json.loads(tools.good("info", "--output=json", name))
            check_equal(info["format-specific"]["data"]["data-file-raw"], False, name)
        tools.holds("t.qcow2", "qcow2", (42, 0, MIB))
        tools.good("check", "t.qcow2")


def test_a_backing_file_below_a_raw_data_file():
    """The header cannot name one, and one that is given must not show through."""
    for tools in both("below"):
        status, text = tools.img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "-o",
                                 "data_file=t.data,data_file_raw=on", "t.qcow2", "1M")
        check(status == 1 and text, "a backing file in the header")
        tools.good("create", "-q", "-f", "qcow2", "-o", "data_file=t.data,data_file_raw=on",
                   "t.qcow2", "1M")
        tools.good("create", "-q", "-f", "qcow2", "t.base", "1M")
        tools.io("qcow2", "t.base", "write -P 42 0 1M")
        if tools.ours:
            status, text = tools.img("read", "--backing-file=t.base", "0", "1M", "t.qcow2")
            check(status == 1 and "backing file" in text, f"given to metalcow: {text}")
        tools.holds("t.qcow2", "qcow2", (0, 0, MIB))
        tools.good("compare", "-f", "raw", "-F", "qcow2", "t.data", "t.qcow2")


if __name__ == "__main__":
    cases.main(globals())

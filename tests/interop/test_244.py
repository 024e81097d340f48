#!/usr/bin/python3
"""The scenario of QEMU's test 244, external data files, on our tools.

qemu-iotests-244.out beside this file is the output that QEMU's repository expects (as of QEMU 5.0).
The same steps are run here by `metalcow` in the place of qemu-img and qemu-io, what they print is
filtered as QEMU's test suite filters, and every line must be the expected one, but for those that
the table DIFFERENCES gives, each with its reason.
"""

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
FAIL_FLUSH = BUILD / "san/tests/interop/fail_flush.so"
EXPECTED = pathlib.Path(__file__).with_name("qemu-iotests-244.out")
FOLDER = BUILD / f"tests/interop/244-{os.getpid()}"
IMAGE = FOLDER / "t.qcow2"
DATA = FOLDER / "t.qcow2.data"
SOURCE = FOLDER / "t.qcow2.src"

NO_FILE = "no file open, try 'help open'"
MISSING = ("qemu-io: can't open device TEST_DIR/t.qcow2: Could not open 'inexistent': "
           "No such file or directory")
ONLY_EXTERNAL = ("qemu-io: can't open device TEST_DIR/t.qcow2: 'data-file' can only be set for "
                 "images with an external data file")
PRESENT = "qemu-img 7.2 tells `present` too, and runs end where it changes"
# (section, expected lines, our lines, why). Sections are the expected output's own headings.
DIFFERENCES = [
    ("Create and open image with external data file",
     [ONLY_EXTERNAL, NO_FILE, MISSING, NO_FILE],
     [ONLY_EXTERNAL, NO_FILE, ONLY_EXTERNAL, NO_FILE],
     "the image has no data file, so none is looked for"),
]
DIFFERENCES += [
    ("Conflicting features",
     ["qemu-img: Could not create snapshot 'test': -95 (Operation not supported)"],
     ["metalcow: TEST_DIR/t.qcow2: refused"],
     "our sentence names the image and says why"),
]
for _name in ("efficient", "valid raw"):
    DIFFERENCES += [
        (f"Standalone image with external data file ({_name})",
         ['[{ "start": 0, "length": 1048576, "depth": 0, "zero": true, "data": false},',
          '{ "start": 1048576, "length": 1048576, "depth": 0, "zero": false, "data": true, '
          '"offset": 1048576},',
          '{ "start": 2097152, "length": 2097152, "depth": 0, "zero": true, "data": false},',
          '{ "start": 4194304, "length": 1048576, "depth": 0, "zero": true, "data": false, '
          '"offset": 4194304},',
          '{ "start": 5242880, "length": 61865984, "depth": 0, "zero": true, "data": false}]'],
         ['[{ "start": 0, "length": 1048576, "depth": 0, "present": false, "zero": true, '
          '"data": false},',
          '{ "start": 1048576, "length": 1048576, "depth": 0, "present": true, "zero": false, '
          '"data": true, "offset": 1048576},',
          '{ "start": 2097152, "length": 2097152, "depth": 0, "present": true, "zero": true, '
          '"data": false},',
          '{ "start": 4194304, "length": 1048576, "depth": 0, "present": true, "zero": true, '
          '"data": false, "offset": 4194304},',
          '{ "start": 5242880, "length": 1048576, "depth": 0, "present": true, "zero": true, '
          '"data": false},',
          '{ "start": 6291456, "length": 60817408, "depth": 0, "present": false, "zero": true, '
          '"data": false}]'],
         PRESENT)]
DIFFERENCES += [
    ("bdrv_co_block_status test for file and offset=0",
     ['[{ "start": 0, "length": 1048576, "depth": 0, "zero": false, "data": true, "offset": 0},',
      '{ "start": 1048576, "length": 66060288, "depth": 0, "zero": true, "data": false}]'],
     ['[{ "start": 0, "length": 1048576, "depth": 0, "present": true, "zero": false, '
      '"data": true, "offset": 0},',
      '{ "start": 1048576, "length": 66060288, "depth": 0, "present": false, "zero": true, '
      '"data": false}]'],
     PRESENT),
    ("Flushing should flush the data file",
     ["512 bytes, X ops; XX:XX:XX.X (XXX YYY/sec and XXX ops/sec)", ""],
     ["512 bytes, X ops; XX:XX:XX.X (XXX YYY/sec and XXX ops/sec)",
      "metalcow: TEST_DIR/t.qcow2.data: a flush failed; the disk is read-only until reopened", ""],
     "what failed is said, where qemu-io ends without a word"),
]


# --- the tools, filtered -------------------------------------------------------------------------

class Log:
    """What QEMU's script would have printed."""

    def __init__(self):
        self.lines = []
        self.maps = []  # (image, output) of each map --output=json

    def say(self, *lines):
        self.lines += lines

    def run(self, stands_for, *arguments, environment=None):
        """Run metalcow in the place of a QEMU program; return its exit status."""
        done = subprocess.run([str(METALCOW), *map(str, arguments)], cwd=FOLDER, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=speed.stretch(120),
                              env={**os.environ, **(environment or {})})
        text = done.stdout.decode(errors="replace")
        self.lines += filtered(text, stands_for).splitlines()
        return done.returncode

    def create(self, name, *options):
        self.run("qemu-img", "create", "-f", "qcow2", *options, name, "64M")

    def check(self):
        self.run("qemu-img", "check", "-f", "qcow2", IMAGE)

    def io(self, *commands, file=None, image_format="qcow2"):
        """qemu-io with commands; a name inside the image is absolute, as in QEMU's script."""
        words = [word for command in commands for word in ("-c", command)]
        return self.run("qemu-io", "io", "-f", image_format, *(ANY if image_format != "raw" else
                        ()), *words, *([file] if file else []))

    def map(self):
        before = len(self.lines)
        self.run("qemu-img", "map", "--output=json", *ANY, IMAGE)
        self.maps.append((IMAGE, "\n".join(self.lines[before:])))


# Names in images are claims: absolute ones are opened only where the user says so. QEMU's script
# works with absolute names throughout.
ANY = ["--names=any"]


def filtered(text, stands_for):
    """As QEMU's common.filter: our program's name, folders, times, and options with defaults."""
    text = text.replace(str(FOLDER), "TEST_DIR")
    text = re.sub(r"\d+ ops; .*", "X ops; XX:XX:XX.X (XXX YYY/sec and XXX ops/sec)", text)
    text = re.sub(r"^(\d+/\d+ = .* allocated|Image end offset: ).*\n", "", text, flags=re.M)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("Formatting "):
            for option in ("cluster_size", "extended_l2", "compression_type", "lazy_refcounts",
                           "refcount_bits"):
                line = re.sub(rf" {option}=\S+", "", line)
            line = line.replace("qcow2", "IMGFMT")
        elif line.startswith(("metalcow: can't open device", "metalcow: error while writing",
                              "metalcow: Could not create snapshot")):
            line = line.replace("metalcow", stands_for, 1)
        lines[number] = line
    return "\n".join(lines)


# --- the steps -----------------------------------------------------------------------------------

def open_and_read(log, *options):
    log.io(" ".join(["open", *options, str(IMAGE)]), "read -P 0 0 64k")


def create_and_open(log):
    log.say("With data file name in the image:")
    log.create(IMAGE, "-o", f"data_file={DATA}")
    log.check()
    open_and_read(log)
    open_and_read(log, f"-odata-file.filename={DATA}")
    open_and_read(log, "-odata-file.filename=inexistent")
    log.say("", "Data file required, but without data file name in the image:")
    log.run("qemu-img", "amend", "-odata_file=", IMAGE)
    open_and_read(log)
    open_and_read(log, f"-odata-file.filename={DATA}")
    open_and_read(log, "-odata-file.filename=inexistent")
    log.say("", "Setting data-file for an image with internal data:")
    log.create(IMAGE)
    open_and_read(log, f"-odata-file.filename={DATA}")
    open_and_read(log, "-odata-file.filename=inexistent")


def conflicting_features(log):
    log.say("Convert to compressed target with data file:")
    log.create(SOURCE)
    log.io("write -P 0x11 0 1M", file=SOURCE)
    data_file = f"-odata_file={DATA}"
    log.run("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-c", data_file, SOURCE, IMAGE)
    log.say("", "Convert uncompressed, then write compressed data manually:")
    log.run("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", data_file, SOURCE, IMAGE)
    log.run("qemu-img", "compare", *ANY, SOURCE, IMAGE)
    log.io("write -c -P 0x22 0 1M", file=IMAGE)
    log.check()
    log.say("", "Take an internal snapshot:")
    log.run("qemu-img", "snapshot", "-c", "test", IMAGE)
    log.lines[-1] = re.sub(r"(?<=t\.qcow2: )(an image with an external data file cannot have "
                           r"snapshots).*", "refused", log.lines[-1])
    log.check()


def standalone(log, options, raw_reads):
    log.create(IMAGE, "-o", options)
    log.say(f"qcow2 file size before I/O: {IMAGE.stat().st_size}", "")
    log.io("write -P 0x11 1M 4M", "discard 2M 2M", "write -z 3M 3M", file=IMAGE)
    log.check()
    log.say("")
    log.map()
    log.say("")
    log.io("read -P 0 0 1M", "read -P 0x11 1M 1M", "read -P 0 2M 4M", file=IMAGE)
    log.say("")
    log.io("read -P 0 0 1M", "read -P 0x11 1M 1M", *raw_reads, file=DATA, image_format="raw")
    log.say(f"qcow2 file size after I/O: {IMAGE.stat().st_size}")


def standalone_efficient(log):
    # Zero clusters are noted in the image only: the data file keeps what was there.
    standalone(log, f"data_file={DATA}", ["read -P 0x11 4M 1M", "read -P 0 5M 1M"])


def standalone_raw(log):
    # Zero clusters are zeros in the data file too.
    standalone(log, f"data_file={DATA},data_file_raw=on", ["read -P 0 3M 3M"])


def block_status(log):
    log.create(IMAGE, "-o", f"data_file={DATA}")
    log.io("write -P 0x11 0 1M", file=IMAGE)
    log.io("read -P 0x11 0 1M", file=IMAGE)
    log.run("qemu-img", "map", "--output=human", *ANY, IMAGE)
    log.map()


def copy_offloading(log):
    log.create(IMAGE, "-o", f"data_file={DATA}")
    log.run("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-n", "-C", SOURCE, IMAGE)
    log.run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", *ANY, SOURCE, IMAGE)
    # QEMU's second round puts a layer for debugging below, which cannot offload; ours names the
    # data file by option.
    log.run("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-n", "-C", SOURCE, IMAGE)
    log.run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", *ANY, SOURCE, IMAGE)


def flushing(log):
    status = log.run("qemu-io", "io", "-f", "qcow2", *ANY, "-t", "writeback", "-c", "write 0 512",
                     "-c", "flush", IMAGE,
                     environment={"LD_PRELOAD": str(FAIL_FLUSH), "FAIL_FLUSH": str(DATA),
                                  "ASAN_OPTIONS": "verify_asan_link_order=0"})
    log.say("", {0: "ERROR: qemu-io succeeded, so the data file was not flushed",
                 1: "Success: qemu-io failed, so the data file was flushed"}.get(
                     status, f"ERROR: qemu-io returned unknown exit code {status}"))


SECTIONS = {
    "Create and open image with external data file": create_and_open,
    "Conflicting features": conflicting_features,
    "Standalone image with external data file (efficient)": standalone_efficient,
    "Standalone image with external data file (valid raw)": standalone_raw,
    "bdrv_co_block_status test for file and offset=0": block_status,
    "Copy offloading": copy_offloading,
    "Flushing should flush the data file": flushing,
}


# --- the comparison ------------------------------------------------------------------------------

def read_expected():
    """The expected output, section by section, without the blank lines around the headings."""
    found, lines = {}, None
    for line in EXPECTED.read_text().splitlines():
        heading = re.fullmatch(r"=== (.*) ===", line)
        if heading:
            lines = found.setdefault(heading.group(1), [])
        elif line == "*** done":
            return found
        elif lines is not None:
            lines.append(line)
    raise AssertionError("the expected output has no end")


def find(lines, wanted):
    places = [at for at in range(len(lines)) if lines[at:at + len(wanted)] == wanted]
    check_equal(len(places), 1, f"places of {wanted}")
    return places[0]


def adapted(section, lines):
    """The expected lines with our differences put in; each must be there."""
    lines = lines + [""]
    for where, theirs, ours, why in DIFFERENCES:
        if where == section:
            check(why, "a difference needs a reason")
            at = find(lines, theirs)
            lines[at:at + len(theirs)] = ours
    return lines


def strip_blank(lines):
    while lines and lines[0] == "":
        lines = lines[1:]
    while lines and lines[-1] == "":
        lines = lines[:-1]
    return lines


def compare(section, log):
    got = strip_blank(log.lines)
    want = strip_blank(adapted(section, read_expected()[section]))
    for number, pair in enumerate(zip(got, want), 1):
        check_equal(*pair, f"{section}, line {number}")
    check_equal(len(got), len(want), f"{section}, lines {got[len(want):]} {want[len(got):]}")


def run_section(name):
    log = Log()
    SECTIONS[name](log)
    compare(name, log)


def test_expected_output_is_the_whole_of_qemus():
    sections = read_expected()
    check_equal(list(sections), list(SECTIONS), "sections")
    check_equal(sum(map(len, sections.values())), 131, "lines")
    for where, *_ in DIFFERENCES:
        check(where in sections, f"{where} is no section")


def test_create_and_open():
    run_section("Create and open image with external data file")


def test_conflicting_features():
    run_section("Conflicting features")


def test_standalone_efficient():
    run_section("Standalone image with external data file (efficient)")


def test_standalone_raw():
    run_section("Standalone image with external data file (valid raw)")


def test_block_status():
    run_section("bdrv_co_block_status test for file and offset=0")


def test_maps_are_qemu_imgs():
    """The lines that the table changes for `present` are those of qemu-img 7.2."""
    for section in (standalone_efficient, standalone_raw, block_status):
        log = Log()
        section(log)
        for image, text in log.maps:
            done = subprocess.run(["qemu-img", "map", "--output=json", "-f", "qcow2", image],
                                  cwd=FOLDER, capture_output=True, check=True)
            check_equal(text, done.stdout.decode().rstrip("\n"), f"map in {section.__name__}")


def test_copy_offloading():
    run_section("Copy offloading")


def test_flush_reaches_the_data_file():
    run_section("Flushing should flush the data file")


def test_absolute_names_can_be_refused():
    """An image that is not trusted names an absolute data file."""
    Log().create(IMAGE, "-o", f"data_file={DATA}")
    done = subprocess.run([str(METALCOW), "map", "--names=below", IMAGE], capture_output=True, check=False)
    check_equal(done.returncode, 1, "exit status")
    check(b"t.qcow2: the image names a file that must not be opened: '/" in done.stderr,
          done.stderr)


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        main(globals())
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)

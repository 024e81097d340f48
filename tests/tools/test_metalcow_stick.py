#!/usr/bin/python3
"""metalcow-stick without a boot: what it makes, what it refuses, and what an interruption leaves.

Devices are played by plain files: the code that fills a device works on any file, and only the
question whether a path is a device is answered here.
"""

import contextlib
import errno
import io
import os
import pathlib
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tools import fs  # noqa: E402
from tools.stick import delivery, devices, images, limits, make_stick  # noqa: E402
from tools.stick import references, stick_command, volumes  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
METALCOW = ROOT / os.environ.get("BUILD", "build") / "host/metalcow"
PROGRAM = ROOT / "tools/stick/metalcow-stick"


def metalcow(*words, **options):
    return subprocess.run([METALCOW, *map(str, words)], check=True, capture_output=True, **options)


def program_file(path, machine=0x8664):
    """A file that begins as a UEFI program does."""
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", machine)
    path.write_bytes(head.ljust(5000, b"p"))
    return path


class Case:
    """A folder with an image: top.qcow2 above sub/base.qcow2, whose data is in sub/data.raw."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "sub").mkdir()
        self.base, self.top = self.folder / "sub/base.qcow2", self.folder / "top.qcow2"
        self.target = self.folder / "stick.img"
        metalcow("create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", self.base, "4M")
        metalcow("write", "64k", self.base, input=bytes(range(256)) * 4096)
        metalcow("create", "-q", "-f", "qcow2", "-b", "sub/base.qcow2", "-F", "qcow2", self.top)
        self.application = program_file(self.folder / "metalcow.efi")

    def run(self, verb, *words, target=None):
        """(exit code, what was printed) of the command, in this process."""
        said = io.StringIO()
        arguments = [verb, "--application", self.application, "--metalcow", METALCOW,
                     target or self.target, *words]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = stick_command.main([str(word) for word in arguments])
            except SystemExit as error:
                code = error.code
        return code, said.getvalue()

    def check_run(self, want, verb, *words, says="", **options):
        code, said = self.run(verb, *words, **options)
        cases.check(code == want and says in said, f"{verb} {words}: {code}, not {want} with "
                                                   f"'{says}':\n{said}")
        return said


@contextlib.contextmanager
def case():
    with tempfile.TemporaryDirectory() as folder:
        yield Case(folder)


def content(path, name, offset=fs.MIB):
    """The bytes of a file on a stick, None: it is not there."""
    volume = volumes.FatVolume(path, offset)
    return b"".join(volume.read(name)) if volume.has(name) else None


def check_same(path, name, source, offset=fs.MIB):
    want = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    cases.check(content(path, name, offset) == want, f"{name} on {path} is not {source!r:.60}")


def no_partial(folder):
    return not list(pathlib.Path(folder).rglob("*.partial"))


# ---- make ----


def test_stick_make_copies_a_chain_with_its_data_file():
    with case() as here:
        said = here.check_run(0, "make", "--yes", here.top, "--mode", "overlay", "--title", "A B",
                              says="every file was read back and compared")
        cases.check("everything" not in said.lower(), said)
        for name in ("top.qcow2", "sub/base.qcow2", "sub/data.raw"):
            check_same(here.target, f"/img/top/{name}", here.folder / name)
        check_same(here.target, "/EFI/BOOT/BOOTX64.EFI", here.application)
        check_same(here.target, "/metalcow/metalcow.conf", b"default top\n")
        check_same(here.target, "/metalcow/entries/top.conf",
                   b"title A B\nimage /img/top/top.qcow2\nmode overlay\n")
        fs.run("sgdisk", "-v", here.target)
        check_fat(here.target)
        cases.check(no_partial(here.folder), "a .partial file is left")


def check_fat(path):
    """fsck.fat on the volume of a stick."""
    with tempfile.TemporaryDirectory() as folder:
        volume = pathlib.Path(folder) / "volume"
        size = os.path.getsize(path) // fs.MIB - 2
        fs.run("dd", f"if={path}", f"of={volume}", "bs=1M", "skip=1", f"count={size}",
               "conv=sparse")
        fs.run("fsck.fat", "-n", volume)


def test_stick_make_replaces_names_that_lead_elsewhere():
    """An absolute name, one with "..", and two images above one base, which is stored once."""
    with case() as here:
        away = here.folder / "away"
        away.mkdir()
        one, two = away / "one.qcow2", away / "two [x].qcow2"
        metalcow("create", "-q", "-f", "qcow2", "-b", here.base, "-F", "qcow2", one)
        metalcow("create", "-q", "-f", "qcow2", "-b", "../top.qcow2", "-F", "qcow2", two)
        # A backing file whose data file is named relative to it keeps that name.
        here.check_run(0, "make", "--yes", here.top, one, two)
        check_same(here.target, "/metalcow/entries/one.conf",
                   b"title one\nimage /img/one/one.qcow2\n"
                   b"backing-file /img/top/sub/base.qcow2\n")
        check_same(here.target, "/metalcow/entries/two__x_.conf",
                   b"title two [x]\nimage /img/two__x_/two _x_.qcow2\n"
                   b"backing-file /img/top/top.qcow2\n")
        check_same(here.target, "/img/two__x_/two _x_.qcow2", two)
        cases.check(content(here.target, "/img/one/base.qcow2") is None, "base is stored twice")


def test_stick_make_names_formats_and_given_files():
    with case() as here:
        raw, other = here.folder / "disk.raw", here.folder / "other.raw"
        raw.write_bytes(b"disk" * 1024)
        shutil.copy(here.folder / "sub/data.raw", other)
        here.check_run(0, "make", "--yes", "--format", "raw", raw)
        check_same(here.target, "/metalcow/entries/disk.conf",
                   b"title disk\nimage /img/disk/disk.raw\nformat raw\n")
        here.check_run(0, "make", "--yes", "--force", here.base, "--data-file", other)
        check_same(here.target, "/metalcow/entries/base.conf",
                   b"title base\nimage /img/base/base.qcow2\ndata-file /img/base/other.raw\n")
        check_same(here.target, "/img/base/other.raw", other)


def test_stick_names_of_devices_and_other_letters():
    """FAT has no file con, aux.qcow2 and so on. A title has all letters."""
    with case() as here:
        (here.folder / "LPT1").mkdir()
        shutil.copy(small_disk(here), here.folder / "LPT1/aux.raw")
        disk = here.folder / "con.qcow2"
        metalcow("create", "-q", "-f", "qcow2", "-b", "LPT1/aux.raw", "-F", "raw", disk)
        letters = here.folder / "Mü 日本.raw"
        shutil.copy(here.folder / "disk.raw", letters)
        same = here.folder / "sub/Mü 日本.raw"
        shutil.copy(here.folder / "disk.raw", same)
        here.check_run(0, "make", "--yes", disk, letters, same)
        check_same(here.target, "/metalcow/entries/_con.conf",
                   b"title con\nimage /img/_con/_con.qcow2\nbacking-file /img/_con/_aux.raw\n")
        check_same(here.target, "/img/_con/_con.qcow2", disk)
        check_same(here.target, "/metalcow/metalcow.conf", b"default _con\n")
        for number in ("", "-2"):
            check_same(here.target, f"/metalcow/entries/M____{number}.conf",
                       f"title Mü 日本{number}\nimage /img/M____{number}/M_ __.raw\n"
                       f"format raw\n".encode())


def test_stick_title_of_any_name():
    rows = (("a b", "a b"), ("日" * 90, "日" * 85), ("x\ny\udcff", "x_y_"), (" ", ""),
            ("ä" * 128, "ä" * 127))
    for name, want in rows:
        cases.check_equal(images.title_of(name), want, repr(name))
    names = stick_command.identities([" .raw", "CON.raw", "con.qcow2", "com0", "nul.x.y"])
    cases.check_equal(names, [("_", "_"), ("_CON", "CON"), ("_con-2", "con-2"), ("com0", "com0"),
                              ("_nul.x", "nul.x")], "identities")


def test_stick_application_gets_the_name_of_its_architecture():
    with case() as here:
        arm = program_file(here.folder / "arm.efi", 0xAA64)
        here.check_run(0, "make", "--yes", "--application", arm, here.top)
        check_same(here.target, "/EFI/BOOT/BOOTX64.EFI", here.application)
        check_same(here.target, "/EFI/BOOT/BOOTAA64.EFI", arm)
        odd = program_file(here.folder / "odd.efi", 0x1C0)
        here.check_run(3, "make", "--force", "--application", odd, here.top, says="0x1c0")
        text = here.folder / "text.efi"
        text.write_bytes(b"text")
        here.check_run(3, "make", "--force", "--application", text, here.top,
                       says="is no UEFI program")


# ---- what is refused, before anything is written ----


def test_stick_refusals_change_nothing():
    with case() as here:
        before = sorted(path.name for path in here.folder.rglob("*"))
        gone = here.folder / "gone.qcow2"
        metalcow("create", "-q", "-f", "qcow2", "-u", "-b", "nowhere.qcow2", "-F", "qcow2", gone,
                 "1M")
        big = here.folder / "big.raw"
        fs.make_sparse(big, 1 << 32)
        rows = (("make", (here.top,), "say --yes"),  # no terminal
                ("make", ("--yes", gone), "nowhere.qcow2"),
                ("make", ("--yes", "--format", "raw", big), "metalcow convert -O qcow2 -c"),
                ("make", ("--yes", "--size", "64M", here.top), "a stick of this size"),
                ("make", ("--yes", here.folder / "none.qcow2"), "none.qcow2"),
                ("add", ("--yes", here.top), "does not exist"))
        for verb, words, says in rows:
            here.check_run(3, verb, *words, says=says)
        for name in ("gone.qcow2", "big.raw"):
            (here.folder / name).unlink()
        cases.check_equal(sorted(path.name for path in here.folder.rglob("*")), before, "files")


def test_stick_device_that_is_not_there_becomes_no_file():
    """A file in /dev would be in memory, and nobody would miss the stick before the next start."""
    with case() as here:
        here.check_run(3, "make", "--dry-run", "--yes", here.top, target="/dev/metalcow-none",
                       says="there is no device /dev/metalcow-none")


def test_stick_missing_data_file_is_named():
    with case() as here:
        (here.folder / "sub/data.raw").unlink()
        here.check_run(3, "make", "--yes", here.base, says="data.raw is not there")


def test_stick_backing_file_with_a_data_file_elsewhere_is_refused():
    """No key of an entry replaces that name, so the stick could not be booted."""
    with case() as here:
        metalcow("amend", "-q", "-o", f"data_file={here.folder}/sub/data.raw", here.base)
        here.check_run(3, "make", "--yes", here.top, says="metalcow amend -o data_file=NAME")


def test_stick_usage_errors():
    with case() as here:
        for words in (("make", here.target), ("make", "--title", "x", here.target, here.top,
                                               here.base),
                      ("make", "--partition", "1", here.target, here.top),
                      ("add", "--size", "1G", here.target, here.top),
                      ("make", "--size", "1T", here.target, here.top),
                      ("make", "--dry-run", "--size", "0", here.target, here.top),
                      ("make", "--dry-run", "--size", "0G", here.target, here.top),
                      ("add", "--dry-run", "--partition", "0", here.folder, here.top),
                      ("add", "--dry-run", "--partition", "x", here.folder, here.top),
                      ("make", "--title", "x\nmode rw", here.target, here.top),
                      *(("make", "--dry-run", "--application-path", path, here.target, here.top)
                        for path in ("/EFI/BOOT/../../x.efi", "", "/", "/EFI/", "/EFI//x.efi",
                                     "/./x.efi", "\\EFI\\con\\x.efi", "/EFI/ü.efi"))):
            with contextlib.redirect_stderr(io.StringIO()):
                try:
                    stick_command.main([str(word) for word in words])
                except SystemExit as error:
                    cases.check_equal(error.code, 2, str(words))
                else:
                    raise cases.Failure(f"{words} were taken")


def test_stick_application_path_that_another_file_has():
    with case() as here:
        for path in ("/img/disk/DISK.raw", "img\\disk", "/metalcow/metalcow.conf", "/metalcow",
                     "/metalcow/entries/disk.conf", "/img/disk/disk.raw/x.efi"):
            here.check_run(3, "make", "--yes", "--application-path", path, small_disk(here),
                           says="the stick cannot have both")
        cases.check(not here.target.exists(), "a stick was begun")


def test_stick_image_that_is_named_twice():
    with case() as here:
        (here.folder / "link.qcow2").symlink_to(here.top)
        for again in (here.top, here.folder / "sub/../top.qcow2", here.folder / "link.qcow2"):
            here.check_run(3, "make", "--dry-run", here.top, again, says="is named twice")


def test_stick_other_program_in_place_of_the_host_command():
    with case() as here:
        for program in ("/bin/true", "/bin/echo"):
            here.check_run(3, "make", "--yes", "--metalcow", program, here.top,
                           says=f"{program}: `info` did not describe {here.top}; is this")


def test_stick_link_to_an_image_file_stays():
    """One that leads nowhere, one to a file, and one into a folder that is not there."""
    with case() as here:
        link, disk, real = here.folder / "link.img", small_disk(here), here.folder / "real.img"
        link.symlink_to("real.img")
        here.check_run(0, "make", "--yes", disk, target=link)
        here.check_run(3, "make", "--yes", disk, target=link, says="Say --force")
        here.check_run(0, "make", "--yes", "--force", disk, here.top, target=link)
        cases.check(link.is_symlink() and not real.is_symlink(), "the link was replaced")
        check_same(real, "/img/top/top.qcow2", here.top)
        link.unlink()
        link.symlink_to("gone/real.img")
        here.check_run(3, "make", "--yes", "--force", disk, target=link, says="there is no folder")
        cases.check(link.is_symlink(), "the link was replaced")


def test_stick_tool_that_fails_without_a_word():
    try:
        fs.run("false")
    except fs.ToolError as error:
        cases.check_equal(str(error), "`false` failed with 1, and said nothing", "the sentence")


def test_stick_longest_file():
    """FAT takes 2^32 - 1 bytes; a last cluster that ends at 4 GiB is left out."""
    with case() as here:
        path = here.folder / "long"
        for cluster in (4096, 32768):
            fs.make_sparse(path, (1 << 32) - cluster)
            stick_command.check_lengths([("/long", path)], cluster)
            fs.make_sparse(path, (1 << 32) - cluster + 1)
            try:
                stick_command.check_lengths([("/long", path)], cluster)
            except images.Refusal as error:
                cases.check("at most" in str(error), str(error))
            else:
                raise cases.Failure("a file that is too long was taken")


def test_stick_existing_file_needs_force():
    with case() as here:
        here.target.write_bytes(b"precious")
        here.check_run(3, "make", "--yes", here.top, says="--force")
        cases.check_equal(here.target.read_bytes(), b"precious", "the file")
        here.check_run(0, "make", "--yes", "--force", here.top)
        check_same(here.target, "/img/top/top.qcow2", here.top)


def test_stick_target_that_is_its_own_source_is_refused():
    with case() as here:
        here.check_run(3, "make", "--yes", "--force", here.top, target=here.top,
                       says="one of the files that it is to hold")


def test_stick_room_on_the_host_is_checked():
    with case() as here, mock.patch.object(volumes.os, "statvfs") as statvfs:
        statvfs.return_value = mock.Mock(f_frsize=4096, f_bavail=10)
        here.check_run(3, "make", "--yes", here.top, says="Make room")
        cases.check(not here.target.exists(), "a stick was begun")


def test_stick_dry_run_writes_nothing():
    with case() as here:
        here.check_run(0, "make", "--dry-run", here.top, says="/img/top/sub/data.raw")
        cases.check(not here.target.exists(), "a dry run wrote")


# ---- devices ----

HELD = {"GPT": (512, b"EFI PART", "a GPT"), "ext4": (1080, b"\x53\xEF", "an ext file system"),
        "btrfs": (65600, b"_BHRfS_M", "a btrfs file system"), "FAT": (54, b"FAT16   ", "a FAT"),
        "first byte": (0, b"\1", "data"), "last of the first": (fs.MIB - 1, b"\1", "data"),
        "last byte": (8 * fs.MIB - 1, b"\1", "data")}


def test_stick_device_that_holds_data_is_known():
    with case() as here:
        for name, (offset, mark, want) in HELD.items():
            fs.make_sparse(here.target, 8 * fs.MIB)
            cases.check_equal(devices.what_it_holds(here.target), None, "an empty device")
            with open(here.target, "r+b") as file:
                file.seek(offset)
                file.write(mark)
            found = devices.what_it_holds(here.target) or ""
            cases.check(found.startswith(want), f"{name}: {found}")


def fake_sys(folder):
    """sysfs with sdx (8:16), its partition sdx1 that dm-0 is made of, sdy, and a loop device."""
    for name, number in (("sdx", "8:16"), ("sdx/sdx1", "8:17"), ("sdy", "8:32"), ("loop0", "7:0")):
        (folder / name / "holders").mkdir(parents=True)
        (folder / name / "dev").write_text(number + "\n", encoding="ascii")
    (folder / "sdx/sdx1/partition").write_text("1\n", encoding="ascii")
    (folder / "sdx1").symlink_to("sdx/sdx1")
    (folder / "sdx/sdx1/holders/dm-0").mkdir()
    (folder / "loop0/loop").mkdir()


def test_stick_users_of_a_device_are_found():
    with case() as here:
        sys_block = here.folder / "sys"
        fake_sys(sys_block)
        numbers = devices.kernel_names("8:16", sys_block)
        cases.check_equal(numbers, {"sdx": "8:16", "sdx1": "8:17"}, "sdx and its partition")
        table = here.folder / "mountinfo"
        table.write_text("30 1 8:17 / /boot/efi rw - vfat /dev/sdx1 rw\n"
                         "31 1 8:33 / /other rw - vfat /dev/sdy1 rw\n", encoding="ascii")
        swaps = here.folder / "swaps"
        swaps.write_text("Filename Type\n/dev/sdx1 partition\n", encoding="ascii")
        rows = (("8:16", ["/boot/efi is mounted from it", "dm-0 is made of sdx1",
                          "sdx1 is swap space"]), ("8:32", []))
        for number, want in rows:
            with mock.patch.object(devices, "is_device", return_value=True), \
                    mock.patch.object(devices, "device_number", return_value=number):
                found = devices.mounts("/dev/fake", table, swaps, sys_block)
            cases.check_equal(sorted(found), want, f"users of {number}")
        (sys_block / "loop0/loop/backing_file").write_text(f"{here.top}\n", encoding="utf-8")
        cases.check_equal(devices.loops(here.top, sys_block), ["/dev/loop0 shows it"], "loops")


def test_stick_partition_is_no_device_to_make_one_on():
    """A partition table inside a partition is found by no firmware."""
    with case() as here:
        sys_block = here.folder / "sys"
        fake_sys(sys_block)
        for number, want in (("8:16", False), ("8:17", True), ("8:32", False)):
            with mock.patch.object(devices, "device_number", return_value=number):
                cases.check_equal(devices.is_partition("/dev/fake", sys_block), want, number)
        fs.make_sparse(here.target, 300 * fs.MIB)
        with mock.patch.object(devices, "is_device", return_value=True), \
                mock.patch.object(devices, "is_partition", return_value=True):
            here.check_run(3, "make", "--yes", "--force", here.top, says="is a partition")
        cases.check_equal(devices.what_it_holds(here.target), None, "the device")


def test_stick_used_device_is_refused_also_with_force():
    with case() as here, mock.patch.object(devices, "mounts", return_value=["/x is mounted"]):
        fs.make_sparse(here.target, 300 * fs.MIB)
        here.check_run(3, "make", "--yes", "--force", here.top, says="is in use: /x is mounted")
        here.check_run(3, "add", "--yes", "--force", here.top, says="is in use: /x is mounted")
        cases.check_equal(devices.what_it_holds(here.target), None, "the device")


def test_stick_device_without_partitions_is_written():
    """A loop device that was made without partitions refuses to look for them; a device whose
    partitions are in use does so too, and is not written."""
    with case() as here, mock.patch.object(devices, "refuse_used"), \
            mock.patch.object(volumes, "drop_cache"), \
            mock.patch.object(stick_command.devices, "is_device",
                              side_effect=lambda path: os.path.samefile(path, here.target)):
        for number, code, says in ((errno.EINVAL, 0, "is ready"), (errno.EBUSY, 1, "busy")):
            fs.make_sparse(here.target, 300 * fs.MIB)
            with mock.patch.object(stick_command.fcntl, "ioctl",
                                   side_effect=OSError(number, os.strerror(number))):
                here.check_run(code, "make", "--yes", here.top, says=says)


class DeviceSteps:
    """The command on a plain file that plays a device; interrupted at its n-th step."""

    def __init__(self, here, limit):
        self.here, self.limit, self.count = here, limit, 0

    def step(self):
        self.count += 1
        if self.count == self.limit:
            os.kill(os.getpid(), signal.SIGINT)

    def run(self, verb, device, *words):
        """A step is a look at the target, a chunk, the end of a file, and a tool."""
        real_chunks, real_run, real_holds = (delivery.chunks_of, fs.run, devices.what_it_holds)

        def chunks(source):
            for chunk in real_chunks(source):
                self.step()
                yield chunk
            self.step()

        def tool(*command, **options):
            self.step()
            return real_run(*command, **options)

        def holds(path):
            self.step()
            return real_holds(path)

        with contextlib.ExitStack() as stack:
            # Waiting for the medium takes most of the time, and says nothing here.
            stack.enter_context(mock.patch.object(volumes, "drop_cache"))
            stack.enter_context(mock.patch.object(os, "fsync"))
            stack.enter_context(mock.patch.object(delivery, "chunks_of", chunks))
            stack.enter_context(mock.patch.object(fs, "run", tool))
            stack.enter_context(mock.patch.object(devices, "what_it_holds", holds))
            if device:
                stack.enter_context(mock.patch.object(stick_command.devices, "is_device",
                                                      side_effect=lambda path: os.path.samefile(
                                                          path, self.here.target)))
                stack.enter_context(mock.patch.object(devices, "refuse_used"))
                stack.enter_context(mock.patch.object(stick_command.fcntl, "ioctl"))
            return self.here.run(verb, "--yes", "--quiet", *words)


def small_disk(here):
    """An image of one file, to be copied often."""
    path = here.folder / "disk.raw"
    path.write_bytes(b"disk" * 5000)
    return path


def interruptions(here, verb, device, words, prepare):
    """Yield (code, output) with an interruption at each step, until none comes any more."""
    limit = 1
    while True:
        prepare()
        steps = DeviceSteps(here, limit)
        code, said = steps.run(verb, device, *words)
        if steps.count < limit:
            cases.check_equal(code, 0, f"the run without an interruption: {said}")
            cases.check(limit > 10, f"only {limit} steps")
            return
        yield code, said
        limit += 1


def old_stick(here):
    """A device that held a whole stick."""
    make_stick.make_stick(here.target, {"/old": b"old"}, size=300 * fs.MIB)


def test_stick_interrupted_device_has_no_partition_table():
    with case() as here:
        untouched, lost, disk = 0, 0, small_disk(here)
        for code, said in interruptions(here, "make", True, ("--force", disk),
                                        lambda: old_stick(here)):
            cases.check_equal(code, 130, said)
            table = devices.gpt_partitions(here.target)
            if table and content(here.target, "/old") == b"old":
                untouched += 1
                cases.check("touched" in said, said)
            elif table:
                # The table is there: then everything is.
                check_same(here.target, "/img/disk/disk.raw", disk)
                cases.check("run the command again" in said, said)
            else:
                lost += 1
                cases.check("run the command again" in said, said)
        cases.check(untouched > 0 and lost > 10, f"{untouched} untouched, {lost} lost")


def test_stick_second_interruption_does_not_end_the_first():
    """Who is impatient presses Ctrl-C again, while files are removed and the state is told."""
    def again(function):
        def call(*arguments):
            os.kill(os.getpid(), signal.SIGINT)
            return function(*arguments)
        return call

    with case() as here:
        disk = small_disk(here)
        esp(here)
        with mock.patch.object(stick_command, "say", again(stick_command.say)), \
                mock.patch.object(volumes.FatVolume, "remove", again(volumes.FatVolume.remove)):
            code, said = DeviceSteps(here, 20).run("add", False, disk)
        cases.check_equal(code, 130, said)
        cases.check("no file of" in said, said)
        cases.check_equal(content(here.target, "/img/disk/disk.raw.partial"), None, "a rest")


def test_stick_interrupted_image_file_is_not_there():
    with case() as here:
        def prepare():
            here.target.unlink(missing_ok=True)
        disk = small_disk(here)
        for code, said in interruptions(here, "make", False, (disk,), prepare):
            cases.check_equal((code, here.target.exists()), (130, False), said)
            cases.check(no_partial(here.folder) and "touched" in said, said)
        check_same(here.target, "/img/disk/disk.raw", disk)


def esp(here, files=None):
    """An image file with an ESP that is somebody's."""
    here.target.unlink(missing_ok=True)
    make_stick.make_stick(here.target, files or {"/EFI/debian/shimx64.efi": b"shim"}, bits=16,
                          cluster=2048, size=64 * fs.MIB)


def test_stick_interrupted_installation_has_no_entry_without_its_files():
    with case() as here:
        disk = small_disk(here)
        for code, said in interruptions(here, "add", False, (disk,), lambda: esp(here)):
            cases.check_equal(code, 130, said)
            check_same(here.target, "/EFI/debian/shimx64.efi", b"shim")
            entry = content(here.target, "/metalcow/entries/disk.conf")
            if entry is not None:
                check_same(here.target, "/img/disk/disk.raw", disk)
            cases.check(not fs.run("mdir", "-b", "-/", "-i", f"{here.target}@@1M", "::/")
                        .count(delivery.SUFFIX), "a .partial file is left")
            if "in place on" in said:
                here.check_run(0, "add", "--yes", disk)
                check_same(here.target, "/metalcow/entries/disk.conf",
                           b"title disk\nimage /img/disk/disk.raw\nformat raw\n")


# ---- add ----


def test_stick_add_twice_changes_nothing():
    with case() as here:
        esp(here)
        here.check_run(0, "add", "--yes", here.top)
        check_same(here.target, "/EFI/debian/shimx64.efi", b"shim")
        check_same(here.target, "/img/top/sub/data.raw", here.folder / "sub/data.raw")
        before = here.target.read_bytes()
        here.check_run(0, "add", "--yes", here.top, says="Everything is there already")
        cases.check(here.target.read_bytes() == before, "the second run wrote")


def test_stick_add_leaves_another_boot_loader_alone():
    loader = {"/EFI/BOOT/BOOTX64.EFI": b"another", "/metalcow/metalcow.conf": b"default mine\n"}
    with case() as here:
        esp(here, loader)
        before = here.target.read_bytes()
        here.check_run(3, "add", "--yes", here.top, says="--application-path")
        cases.check(here.target.read_bytes() == before, "a refusal wrote")
        here.check_run(0, "add", "--yes", here.top, "--application-path",
                       "\\EFI\\metalcow\\metalcow.efi")
        for path, want in loader.items():
            check_same(here.target, path, want)
        check_same(here.target, "/EFI/metalcow/metalcow.efi", here.application)
        here.check_run(0, "add", "--yes", "--force", here.top)
        check_same(here.target, "/EFI/BOOT/BOOTX64.EFI", here.application)
        check_same(here.target, "/metalcow/metalcow.conf", b"default top\n")


def test_stick_add_checks_free_space():
    with case() as here:
        make_stick.make_stick(here.target, {"/x": b"x"}, bits=12, cluster=512, size=3 * fs.MIB)
        before = here.target.read_bytes()
        here.check_run(3, "add", "--yes", here.top, says="Remove something")
        cases.check(here.target.read_bytes() == before, "a refusal wrote")


def test_stick_add_to_a_folder():
    with case() as here:
        mounted = here.folder / "efi"
        mounted.mkdir()
        here.check_run(3, "add", "--yes", here.top, target=mounted, says="Is the ESP mounted?")
        cases.check(not list(mounted.iterdir()), "a refusal wrote")
        here.check_run(0, "add", "--yes", "--force", here.top, target=mounted)
        for name, source in (("img/top/sub/data.raw", here.folder / "sub/data.raw"),
                             ("EFI/BOOT/BOOTX64.EFI", here.application)):
            cases.check((mounted / name).read_bytes() == source.read_bytes(), name)
        cases.check(no_partial(mounted), "a .partial file is left")
        here.check_run(0, "add", "--yes", "--force", here.top, target=mounted,
                       says="Everything is there already")


def test_stick_add_refuses_a_folder_in_place_of_a_file():
    """mcopy writes into such a folder, and finds its copy there when it is compared."""
    with case() as here:
        for number, (path, is_folder) in enumerate((("/img/top/top.qcow2", True),
                                                    ("/img/top/top.qcow2.partial", True),
                                                    ("/metalcow/entries/top.conf.partial", True),
                                                    ("/img", False), ("/metalcow", False))):
            esp(here)
            mounted = here.folder / f"efi{number}"
            if is_folder:
                fs.fat_mkdirs(here.target, fs.MIB, path.upper())
                (mounted / path[1:]).mkdir(parents=True)
            else:
                fs.fat_copy(here.target, fs.MIB, b"x", path.upper())
                mounted.mkdir()
                (mounted / path[1:]).write_bytes(b"x")
            before = here.target.read_bytes()
            for target in (here.target, mounted):
                here.check_run(3, "add", "--yes", "--force", here.top, target=target,
                               says=f"{path} is a {'folder' if is_folder else 'file'}")
            cases.check(here.target.read_bytes() == before, "a refusal wrote")


def test_stick_logical_partitions_are_followed_to_their_end():
    """Three of them, and a chain that comes back to its first table."""
    def table(*entries):
        data = b"".join(bytes([0, 0, 0, 0, kind, 0, 0, 0]) + struct.pack("<II", start, 8)
                        for kind, start in entries)
        return data.ljust(64, b"\0") + b"\x55\xaa"

    with case() as here:
        for back in (False, True):
            fs.make_sparse(here.target, fs.MIB)
            with open(here.target, "r+b") as file:
                for sector, entries in ((0, [(0x07, 900), (0x0F, 100)]),
                                        (100, [(0x0C, 1), (0x05, 200)]),
                                        (300, [(0x83, 2), (0x05, 400)]),
                                        (500, [(0xEF, 3)] + [(0x05, 0)] * back)):
                    file.seek(sector * 512 + 446)
                    file.write(table(*entries))
            found = devices.mbr_partitions(here.target)
            cases.check(found[:2] == [(5, 101 * 512, False), (7, 503 * 512, True)], found)
            cases.check(back or len(found) == 2, found)


def test_stick_add_finds_the_esp():
    """Whole volumes, MBR and GPT; several partitions need a choice."""
    with case() as here:
        for scheme in make_stick.SCHEMES:
            make_stick.make_stick(here.target, {"/x": b"x"}, scheme=scheme, bits=16, cluster=2048,
                                  size=64 * fs.MIB)
            here.check_run(0, "add", "--yes", here.top)
            check_same(here.target, "/img/top/top.qcow2", here.top,
                       0 if scheme == "superfloppy" else fs.MIB)
            if scheme == "mbr-logical":
                here.check_run(0, "add", "--yes", here.top, "--partition", 5)
                here.check_run(3, "add", "--yes", here.top, "--partition", 1, says="no partition 1")
        here.check_run(3, "add", "--yes", here.top, "--partition", 2, says="without partitions")
        two = [{"start": (1 + 20 * n) * fs.MIB, "size": 20 * fs.MIB, "type": fs.TYPE_ESP,
                "name": "esp",
                "guid": f"4d435753-0000-4000-8000-00000000001{n}"} for n in range(2)]
        fs.make_sparse(here.target, 64 * fs.MIB)
        fs.make_gpt(here.target, make_stick.DISK_GUID, two)
        for part in two:
            fs.make_fat(here.target, part["start"], part["size"], bits=16, cluster=2048)
        here.check_run(3, "add", "--yes", here.top, says="--partition NUMBER")
        here.check_run(3, "add", "--yes", here.top, "--partition", 5, says="no partition 5")
        here.check_run(0, "add", "--yes", here.top, "--partition", 2)
        check_same(here.target, "/img/top/top.qcow2", here.top, two[1]["start"])
        cases.check(content(here.target, "/img/top/top.qcow2") is None, "the first one has it too")


def odd_volume(here, offset, sector):
    """A FAT volume with large sectors on a disk of 64 MiB."""
    fs.run("mkfs.fat", "-S", sector, "-s", 2, "-F", "16", "--offset", offset // sector,
           here.target, 40000)


def test_stick_add_names_sectors_that_are_not_supported():
    """A whole volume, an ESP and a FAT partition of either table, and a GPT in larger sectors."""
    with case() as here:
        for sector in (1024, 4096):
            says = f"sectors of {sector} bytes; only 512 are supported"
            fs.make_sparse(here.target, 64 * fs.MIB)
            odd_volume(here, 0, sector)
            here.check_run(3, "add", "--yes", here.top, says=f"stick.img has {says}")
            for scheme in ("mbr", "gpt"):
                make_stick.make_stick(here.target, {"/x": b"x"}, scheme=scheme, bits=16,
                                      cluster=2048, size=64 * fs.MIB)
                odd_volume(here, fs.MIB, sector)
                for words in ((), ("--partition", 1)):
                    here.check_run(3, "add", "--yes", here.top, *words,
                                   says=f"partition 1 has {says}")
                here.check_run(3, "add", "--yes", here.top, "--partition", 5,
                               says="no partition 5")
            with open(here.target, "r+b") as file:
                file.write(bytes(510) + b"\x55\xAA")
                file.seek(446 + 4)
                file.write(b"\x0C")  # no ESP any more
                file.seek(446 + 8)
                file.write(struct.pack("<I", fs.MIB // 512))
                file.seek(512)
                file.write(bytes(512))  # nor a GPT
            here.check_run(3, "add", "--yes", here.top, says=f"partition 1 has {says}")
            fs.make_sparse(here.target, 64 * fs.MIB)
            with open(here.target, "r+b") as file:
                file.seek(sector)
                file.write(b"EFI PART")
            here.check_run(3, "add", "--yes", here.top, says=f"stick.img has {says}")


# ---- add: entries of other images that share a file ----


def overlay(path, below):
    """A new image above a backing file, which it names as it is said here."""
    path.parent.mkdir(exist_ok=True)
    metalcow("create", "-q", "-f", "qcow2", "-u", "-b", below, "-F", "qcow2", path, "4M")
    return path


def other_top(here):
    """Another image of the name top.qcow2, above another base."""
    other = here.folder / "other"
    (other / "sub").mkdir(parents=True)
    metalcow("create", "-q", "-f", "qcow2", other / "sub/base.qcow2", "4M")
    return overlay(other / "top.qcow2", "sub/base.qcow2")


def check_entry_protected(here, image, entry, path, target=None):
    """The image is refused, also with --force, because the entry needs the path."""
    for force in ((), ("--force",)):
        said = here.check_run(3, "add", "--yes", *force, image, target=target,
                              says=f"its entry /metalcow/entries/{entry} needs {path}, which")
        cases.check("nothing was touched" in said, said)


def test_stick_add_protects_files_that_another_entry_names():
    """An absolute name: the entry has a key backing-file."""
    with case() as here:
        other = other_top(here)
        user = overlay(here.folder / "user.qcow2", here.base)
        here.check_run(0, "make", "--yes", here.top, user)
        before = here.target.read_bytes()
        check_entry_protected(here, other, "user.conf", "/img/top/sub/base.qcow2")
        cases.check(here.target.read_bytes() == before, "a refusal wrote")
        # In one command both entries get what they need.
        new = overlay(here.folder / "other/user.qcow2", other.parent / "sub/base.qcow2")
        here.check_run(0, "add", "--yes", "--force", other, new)
        check_same(here.target, "/img/top/sub/base.qcow2", other.parent / "sub/base.qcow2")


def test_stick_add_protects_files_that_an_image_on_the_stick_names():
    """No key says them: the base two levels down, and its data file."""
    with case() as here:
        user = overlay(here.folder / "away/user.qcow2", here.top)
        here.check_run(0, "make", "--yes", here.top, user)
        other = here.folder / "other"
        for name in ("sub/base.qcow2", "sub/data.raw"):
            shutil.copytree(here.folder / "sub", other / "sub")
            shutil.copy(here.top, other / "top.qcow2")
            with open(other / name, "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"x")
            check_entry_protected(here, other / "top.qcow2", "user.conf", f"/img/top/{name}")
            shutil.rmtree(other)


def test_stick_add_protects_files_of_an_entry_written_by_hand():
    """Other spellings of the path, a name that mtools would expand, letters that are not ASCII."""
    rows = (("a[1].conf", "# x\r\n  image\timg\\\\TOP\\top.qcow2 \r\n", "/img/TOP/top.qcow2"),
            ("日本.CONF", "\ufeffimage /x\ndata-file img/./Top/top.qcow2", "/img/Top/top.qcow2"),
            ("b.conf", "key-file /img/top/top.qcow2\nimage /no/such\n", "/img/top/top.qcow2"))
    for name, text, path in rows:
        with case() as here:
            esp(here, {"/img/top/top.qcow2": b"mine", "/metalcow/entries/x.txt": b"x"})
            subprocess.run(["mcopy", "-i", f"{here.target}@@1M", "-",
                            f"::/metalcow/entries/{name}"], check=True, input=text.encode(),
                           env=volumes.environment())
            check_entry_protected(here, here.top, name, path)


def test_stick_add_to_a_folder_protects_other_entries():
    with case() as here:
        mounted = here.folder / "efi"
        mounted.mkdir()
        user = overlay(here.folder / "user.qcow2", here.base)
        here.check_run(0, "add", "--yes", "--force", here.top, user, target=mounted)
        here.check_run(3, "add", "--yes", "--force", other_top(here), target=mounted,
                       says="its entry /metalcow/entries/user.conf needs /img/top/sub/base.qcow2")


def test_stick_add_replaces_the_image_of_its_own_entry():
    """The entry stays as it is, and its image gets other content; an entry that uses nothing of it,
    and a file that is no entry, are in nobody's way."""
    with case() as here:
        here.check_run(0, "make", "--yes", here.top, small_disk(here))
        fs.fat_copy(here.target, fs.MIB, b"image /img/top/top.qcow2\n", "/metalcow/entries/old.txt")
        metalcow("write", "0", here.top, input=b"new" * 1000)
        here.check_run(3, "add", "--yes", here.top, says="has other files of these names")
        here.check_run(0, "add", "--yes", "--force", here.top)
        check_same(here.target, "/img/top/top.qcow2", here.top)


def test_stick_names_in_damaged_heads():
    """Heads of files on a stick are somebody's bytes."""
    good = struct.pack(">4sIQI", b"QFI\xfb", 3, 200, 4).ljust(100, b"\0") + struct.pack(">I", 104)
    data = good + struct.pack(">II", references.DATA_FILE, 3) + b"d.r".ljust(8, b"\0")
    rows = ((b"", ("", "")), (b"QFI\xfb", ("", "")), (bytes(4096), ("", "")),
            (good.ljust(200, b"\0") + b"base", ("base", "")), (good, ("", "")),
            (data.ljust(200, b"\0") + b"b\0\xffe", ("b\ufffde", "d.r")), (data[:-6], ("", "d.")),
            (good[:100] + b"\xff" * 100, ("", "")), (good[:100] + bytes(8), ("", "")),
            (struct.pack(">4sIQI", b"QFI\xfb", 2, 80, 4).ljust(80, b"\0") + b"base", ("base", "")),
            (good[:8] + b"\xff" * 12 + good[20:], ("", "")))
    for head, want in rows:
        cases.check_equal(references.names_in(head), want, repr(head[:130]))


# ---- limits of firmware ----


def numbered(here, count):
    """Small images 1.raw to COUNT.raw."""
    for number in range(1, count + 1):
        (here.folder / f"{number}.raw").write_bytes(bytes(512))
    return [here.folder / f"{number}.raw" for number in range(1, count + 1)]


def test_stick_make_takes_64_entries():
    with case() as here:
        disks = numbered(here, 65)
        here.check_run(3, "make", "--yes", *disks, says="/metalcow/entries would have 65 entries")
        cases.check(not here.target.exists(), "a stick was made")
        here.check_run(0, "make", "--dry-run", *disks[:64])


def test_stick_add_counts_the_entries_that_are_there():
    """Those of this command count once, files that are no entries not at all."""
    mine = b"title disk\nimage /img/disk/disk.raw\nformat raw\n"
    with case() as here:
        disk, another = small_disk(here), numbered(here, 1)[0]
        entries = {f"/metalcow/entries/{number}x.CONF": b"image /x\n" for number in range(63)}
        esp(here, {**entries, "/metalcow/entries/disk.conf": mine,
                   "/metalcow/entries/._disk.conf": mine,
                   "/metalcow/entries/disk.conf.partial": mine})
        before = here.target.read_bytes()
        here.check_run(3, "add", "--yes", "--force", another, says="would have 65 entries")
        cases.check(here.target.read_bytes() == before, "a refusal wrote")
        here.check_run(0, "add", "--yes", disk)
        fs.fat_copy(here.target, fs.MIB, b"notes", "/metalcow/entries/notes.txt")
        here.check_run(0, "add", "--yes", disk)


def test_stick_limits_are_those_of_firmware():
    headers = "".join((ROOT / name).read_text(encoding="utf-8") for name in
                      ("efi/image/entries.h", "core/spec/disk_spec.h", "include/q2_limits.h"))
    rows = (("MC_MAX_ENTRIES", limits.MAX_ENTRIES), ("MC_MAX_TEXT_LENGTH", limits.MAX_TEXT),
            ("MC_MAX_BACKING_FILES", limits.MAX_BACKING_FILES),
            ("Q2_MAX_LAYERS", references.MAX_LAYERS))
    for name, number in rows:
        cases.check(f"#define {name} {number}u\n" in headers, name)


def test_stick_files_beside_entries_are_not_counted():
    names = [f"{number}.conf" for number in range(63)]
    limits.check_entries([*names, "63.conf", "1.CONF", "._1.conf", "1.txt"], "x")


def test_stick_entry_of_an_image_that_begins_with_a_dot():
    """Firmware passes over files whose names begin with one."""
    with case() as here:
        disk = here.folder / ".disk.raw"
        shutil.copy(small_disk(here), disk)
        here.check_run(0, "make", "--yes", disk)
        check_same(here.target, "/metalcow/entries/_.disk.conf",
                   b"title .disk\nimage /img/_.disk/.disk.raw\nformat raw\n")


def test_stick_texts_that_firmware_would_leave_out():
    with case() as here:
        metalcow("snapshot", "-c", "s n ä", here.top)
        for option in ("--title", "--snapshot"):
            for text, says in (("x" * 256, "longer than 255 bytes"), ("ä" * 128, "255 bytes"),
                               ("", "is empty"), ("  ", "blank at an end"), ("x ", "blank"),
                               ("x\ty", "characters")):
                here.check_run(2, "make", "--yes", option, text, here.top, says=f"{option} {says}"
                               if says == "is empty" else says)
        here.check_run(0, "make", "--dry-run", "--title", "x" * 255, here.top)
        here.check_run(0, "make", "--dry-run", "--title", "ä" * 127 + "x", here.top)


def test_stick_snapshot_has_to_be_there():
    with case() as here:
        here.check_run(3, "make", "--yes", "--snapshot", "nope", here.top,
                       says="has no snapshot 'nope'; it has none")
        metalcow("snapshot", "-c", "s n ä", here.top)
        here.check_run(3, "make", "--yes", "--snapshot", "nope", here.top, says="it has s n ä")
        here.check_run(3, "make", "--yes", "--snapshot", "1", small_disk(here), says="has none")
        for name in ("1", "s n ä"):
            here.check_run(0, "make", "--dry-run", "--snapshot", name, here.top,
                           says=f"snapshot {name}")


def test_stick_snapshot_cannot_be_written():
    with case() as here:
        metalcow("snapshot", "-c", "s", here.top)
        words = ("make", "--dry-run", "--snapshot", "s", here.top, "--mode")
        here.check_run(2, *words, "rw", says="a snapshot cannot be written")
        here.check_run(0, *words, "overlay")
        here.check_run(0, *words, "ro")


def test_stick_entry_has_at_most_15_backing_files():
    layers = [{"snapshots": []}]
    limits.check_image("x", layers, [("image", "/x")] + [("backing-file", "/y")] * 15, None)
    try:
        limits.check_image("x", layers, [("backing-file", "/y")] * 16, None)
    except images.Refusal as error:
        cases.check("more than 15" in str(error), str(error))
    else:
        raise cases.Failure("16 backing files were taken")


# ---- verification, and what a person sees ----


def test_stick_bad_medium_is_noticed():
    real = volumes.FatVolume.read

    def flipped(self, path):
        for chunk in real(self, path):
            yield chunk[:-1] + bytes([chunk[-1] ^ 1]) if "data.raw" in path else chunk

    with case() as here, mock.patch.object(volumes.FatVolume, "read", flipped):
        here.check_run(1, "make", "--yes", here.top, says="data.raw: what was read back")
        cases.check(not here.target.exists() and no_partial(here.folder), "a stick is left")


def test_stick_comparison_table():
    rows = (([b"abc"], [b"abc"], True), ([b"a", b"bc"], [b"ab", b"c"], True), ([], [], True),
            ([b"abc"], [b"abd"], False), ([b"ab"], [b"abc"], False), ([b"abc"], [b"ab"], False),
            ([b"a"], [], False), ([], [b"a"], False))
    for one, other, want in rows:
        cases.check_equal(delivery.same(one, other), want, f"{one} and {other}")


def on_terminal(here, words, answer):
    """(exit code, output) of the program on a terminal, with an answer to its question."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(PROGRAM, [str(PROGRAM), *map(str, words)])
    text, answered = "", False
    while True:
        select.select([terminal], [], [], 60)
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        text += part.decode()
        if "[y/N]" in text and not answered:
            os.write(terminal, answer)
            answered = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), text


def test_stick_asks_on_a_terminal_and_shows_a_bar():
    with case() as here:
        words = ("make", "--application", here.application, "--metalcow", METALCOW, here.target,
                 here.top)
        code, text = on_terminal(here, words, b"\n")
        cases.check_equal((code, here.target.exists()), (3, False), text)
        code, text = on_terminal(here, words, b"y\n")
        cases.check(code == 0 and "[##############################] 100%" in text, text)
        cases.check("verifying [" in text and "/s" in text, text)
        check_same(here.target, "/img/top/top.qcow2", here.top)


def test_stick_large_image_divided_as_the_page_says():
    """The recipe of metalcow-stick(8), with small numbers: pieces in a chain are the same disk."""
    with case() as here:
        part1, part2 = here.folder / "part1.qcow2", here.folder / "part2.qcow2"
        metalcow("create", "-q", "-f", "qcow2", part1, "4M")
        piece = metalcow("read", "0", "1M", here.base).stdout
        metalcow("write", "0", part1, input=piece)
        metalcow("create", "-q", "-f", "qcow2", "-b", "part1.qcow2", "-F", "qcow2", part2)
        piece = metalcow("read", "1M", "3M", here.base).stdout
        metalcow("write", "1M", part2, input=piece)
        metalcow("compare", here.base, part2)
        here.check_run(0, "make", "--yes", part2)
        check_same(here.target, "/img/part2/part1.qcow2", part1)


if __name__ == "__main__":
    cases.main(globals())

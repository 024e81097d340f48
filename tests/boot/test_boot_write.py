#!/usr/bin/python3
"""Writing to disks of ours: mode overlay, mode rw, mode ro; through the firmware's FAT driver.

The shell writes to the guest's own ESP on the published disk. What the modes promise: in overlay it
reads back and is gone afterwards; in rw it is in the image; in ro it is refused.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools import fs  # noqa: E402

IMAGE = r"fs0:\img\debian.qcow2"
TEXT = b"written through the disk\r\n" * 300
LARGE = bytes(range(256)) * 8192


def check(output, pattern):
    cases.check(re.search(pattern, output), f"no '{pattern}' in:\n{output.strip()}")


def stick(variant="plain", **content):
    files = {"/probe.efi": harness.BUILD / "x64/tests/probe.efi", "/text.txt": TEXT,
             "/large.bin": LARGE, **content.pop("files", {})}
    return harness.stick(image=variant, application="/metalcow.efi", files=files, **content)


def attach(shell, words, number=0):
    """Attach and return the name of the guest's volume, such as fs1:."""
    check(shell.shell(f"metalcow.efi attach {words}"), f"disk {number}:")
    shell.shell("map -r")
    for volume in ("fs1", "fs2"):
        if "EFI" in shell.shell(f"ls {volume}:\\"):
            return volume
    raise cases.Failure("no volume on the disk")


def test_write_overlay_is_gone_afterwards_and_read_only_is_refused():
    with stick("data-file") as path, harness.shell(path) as shell:
        volume = attach(shell, f"{IMAGE} --mode overlay")
        shell.shell(f"cp fs0:\\text.txt {volume}:\\new.txt")
        check(shell.shell(f"comp fs0:\\text.txt {volume}:\\new.txt"), r"(?i)no difference")
        check(shell.shell("metalcow.efi list"), r"(?m)^0 +88 MiB +overlay +/img/.*room for 6[0-3]")
        shell.shell("metalcow.efi detach 0")
        volume = attach(shell, f"{IMAGE} --mode overlay --overlay-size 1M", 1)
        cases.check("new.txt" not in shell.shell(f"ls {volume}:\\"), "the write outlived detach")
        # Full: the copy fails, what is there still reads.
        output = shell.shell(f"cp fs0:\\large.bin {volume}:\\large.bin")
        cases.check(not re.search(r"(?i)\[ok\]", output), f"2 MiB fit into 1 MiB: {output}")
        # The firmware's FAT driver gives a volume up whose disk failed; another start finds it.
        check(shell.shell("probe.efi connect"), "probe: connect ok")
        check(shell.shell(f"ls {volume}:\\EFI"), "BOOT")
        shell.shell("metalcow.efi detach 1")
        output = shell.shell(f"metalcow.efi attach {IMAGE} --mode overlay --overlay-size 4K")
        check(output, "overlay: too small for this disk")
        volume = attach(shell, IMAGE, 2)
        check(shell.shell(f"cp fs0:\\text.txt {volume}:\\new.txt"),
              r"(?i)protected|failed to open")
        cases.check("new.txt" not in shell.shell(f"ls {volume}:\\"), "a file came into being")


def writable(path, bus="virtio"):
    """A stick that the machine writes to."""
    return harness.Drive(path, bus=bus, snapshot=False)


@contextlib.contextmanager
def writing_shell(path, bus="virtio", **options):
    with harness.Machine([writable(path, bus)], log=harness.log_path(), **options) as shell:
        shell.enter_shell()
        shell.shell("fs0:")
        yield shell


def stick_offset(path):
    """Where the FAT volume of a stick of ours begins."""
    with open(path, "rb") as file:
        file.seek(512)
        return fs.MIB if file.read(8) == b"EFI PART" else 0


def check_volume(volume, may_be_longer):
    """fsck.vfat has nothing to say. A cut may come while the firmware makes the file longer: then
    the chain is longer than the file, and nothing is lost."""
    done = subprocess.run(["fsck.vfat", "-n", volume], check=False, capture_output=True, text=True)
    longer = re.search(r"cluster chain length is > \d+ bytes\.\n.*Truncating file", done.stdout)
    findings = [line for line in done.stdout.splitlines() if line.startswith("/")]
    cases.check(done.returncode == 0 or (may_be_longer and longer and len(findings) == 2),
                f"fsck.vfat: {done.stdout}{done.stderr}")


def check_stick(path, folder, image="debian.qcow2", may_leak=False):
    """The stick is sound, and so is the image that comes off it."""
    offset = stick_offset(path)
    volume = folder / "volume.img"
    with open(path, "rb") as source, open(volume, "wb") as target:
        source.seek(offset)
        size = os.path.getsize(path) - (2 * fs.MIB if offset else 0)
        os.copy_file_range(source.fileno(), target.fileno(), size)
    check_volume(volume, may_be_longer=may_leak)
    fs.run("mcopy", "-n", "-o", "-i", volume, "::/img/*", folder)
    volume.unlink()
    done = subprocess.run(["qemu-img", "check", image], cwd=folder, check=False,
                          capture_output=True, text=True)
    cases.check(done.returncode == 0 or (may_leak and done.returncode == 3),
                f"qemu-img check: {done.stdout}{done.stderr}")


def check_pattern(folder, nb_sectors):
    """The first sectors of empty.qcow2 hold what probe.efi writes."""
    raw = folder / "empty.raw"
    fs.run("qemu-img", "convert", "-O", "raw", "empty.qcow2", raw, cwd=folder)
    with open(raw, "rb") as file:
        for lba in range(nb_sectors):
            want = (0x6d657461 << 32 | lba).to_bytes(8, "little") * 64
            cases.check(file.read(512) == want, f"sector {lba} of {nb_sectors} is not as written")


def empty_image(folder, name="empty.qcow2", size="64M"):
    fs.run("qemu-img", "create", "-f", "qcow2", name, size, cwd=folder)
    return folder / name


def small_stick(folder, mib, **files):
    """A FAT16 stick with an image that holds nothing yet, and its neighbours after it."""
    content = {"/probe.efi": harness.BUILD / "x64/tests/probe.efi",
               "/img/empty.qcow2": empty_image(folder), **files}
    return harness.stick(application="/metalcow.efi", files=content, bits=16, size=mib * fs.MIB,
                         scheme="superfloppy")


def guest_file(folder, name):
    """A file of the guest's ESP, out of the image; None if it is not there."""
    raw = folder / "guest.raw"
    fs.run("qemu-img", "convert", "-O", "raw", "debian.qcow2", raw, cwd=folder)
    done = subprocess.run(["mtype", "-i", f"{raw}@@{fs.MIB}", f"::/{name}"], check=False,
                          capture_output=True)
    return done.stdout if done.returncode == 0 else None


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix="metalcow-write-") as folder:
        yield pathlib.Path(folder)


def check_written(variant, room_pattern):
    """Files written in mode rw are in the image after a reset, and stick and image are sound."""
    with stick(variant, size=300 * fs.MIB) as path, scratch() as folder:
        with writing_shell(path) as shell:
            volume = attach(shell, f"{IMAGE} --mode rw")
            check(shell.shell("metalcow.efi list"), room_pattern)
            shell.shell(f"cp fs0:\\text.txt {volume}:\\new.txt")
            shell.shell(f"cp fs0:\\large.bin {volume}:\\large.bin")
            check(shell.shell(f"comp fs0:\\large.bin {volume}:\\large.bin"), "(?i)no difference")
            # A command that looks at the files sees what was written.
            check(shell.shell(f"metalcow.efi check {IMAGE}"), "(?i)no errors were found")
            check(shell.shell(f"metalcow.efi attach {IMAGE}"), "attached for writing, so")
            check(shell.shell(f"metalcow.efi attach {IMAGE} --mode rw"), "attached already, so")
            shell.send_line("reset")
            shell.wait_end()
        check_stick(path, folder)
        cases.check_equal(guest_file(folder, "new.txt"), TEXT, "new.txt in the image")
        cases.check_equal(guest_file(folder, "large.bin"), LARGE, "large.bin in the image")
        yield path, folder


def test_write_internal_data_is_there_after_reset():
    for path, folder in check_written("plain", r"(?m)^0 +88 MiB +rw +/img/.*room for \d"):
        # Attached again by another run of the firmware, and detached.
        with writing_shell(path) as shell:
            volume = attach(shell, f"{IMAGE} --mode rw")
            check(shell.shell(f"comp fs0:\\text.txt {volume}:\\new.txt"), "(?i)no difference")
            shell.shell(f"rm {volume}:\\new.txt")
            shell.shell("metalcow.efi detach 0")
            check(shell.shell("metalcow.efi list"), "no disk is attached")
            volume = attach(shell, IMAGE, 1)
            cases.check("new.txt" not in shell.shell(f"ls {volume}:\\"), "a deleted file is back")
        check_stick(path, folder)
        cases.check_equal(guest_file(folder, "new.txt"), None, "new.txt after it was deleted")


def test_write_data_file_is_there_after_reset():
    for _ in check_written("data-file", r"(?m)^0 +88 MiB +rw +/img/debian.qcow2\s*$"):
        pass


def probe(shell, words):
    name = words.split()[0]
    output = shell.shell(f"probe.efi {words}", timeout=100)
    check(output, f"probe: {name} ok")
    return output


def test_write_beside_neighbours_and_until_the_volume_is_full():
    """U9, U12, W5, and the FAT driver's cache, which holds pages that the image shares."""
    with scratch() as folder:
        files = {"/neighbour.txt": TEXT, "/img/gone.qcow2": empty_image(folder, "gone.qcow2"),
                 "/more.txt": TEXT}
        with small_stick(folder, 44, **files) as path:
            with writing_shell(path) as shell:
                # A file that is deleted underneath takes its disk's medium along.
                check(shell.shell("metalcow.efi attach fs0:\\img\\gone.qcow2 --mode rw --room 8M"),
                      "disk 0:")
                probe(shell, "write 0 8")
                shell.shell("rm fs0:\\img\\gone.qcow2")
                check(shell.shell("probe.efi write 8 8"), "somebody else changed the file")
                check(shell.shell("metalcow.efi list"), "the medium is gone")
                shell.shell("metalcow.efi detach 0")
                # The neighbour's page is in the cache when we write, and changed after that.
                words = "attach fs0:\\img\\empty.qcow2 --mode rw --room 8M"
                check(shell.shell(f"metalcow.efi {words}"), "disk 1:")
                shell.shell("type fs0:\\neighbour.txt")
                probe(shell, "write 0 64")
                probe(shell, "flush")
                probe(shell, "touch fs0:\\neighbour.txt")
                shell.shell("metalcow.efi detach 1")
                check(shell.shell(f"metalcow.efi {words}"), "disk 2:")
                probe(shell, "read 0 64")
                output = probe(shell, "fill")
                check(output, "has no space to make the file longer")
                nb_mib = int(re.search(r"fill ok, MiB (\d+)", output).group(1))
                cases.check(30 <= nb_mib < 44, f"{nb_mib} MiB fit on the stick")
                check(shell.shell("metalcow.efi list"), r"(?m)^2 .* rw .*room for \d+(\.\d+)? [KB]")
                shell.send_line("reset")
                shell.wait_end()
            check_stick(path, folder, "empty.qcow2")
            check_pattern(folder, nb_mib * 2048)


def test_write_that_boot_services_end_right_behind_is_there():
    """U15: nobody flushes; the disk does it by itself."""
    with scratch() as folder, small_stick(folder, 40) as path:
        with writing_shell(path) as shell:
            check(shell.shell("metalcow.efi attach fs0:\\img\\empty.qcow2 --mode rw --room 8M"),
                  "disk 0:")
            shell.send_line("probe.efi exit 0")
            shell.wait_end()
            cases.check("exit failed" not in shell.text, shell.text[-300:])
        check_stick(path, folder, "empty.qcow2")
        check_pattern(folder, 64)


def test_write_timer_ticks_while_the_disk_is_detached():
    with scratch() as folder, small_stick(folder, 40) as path:
        with writing_shell(path) as shell:
            for number in range(2):
                check(shell.shell(r"metalcow.efi attach fs0:\img\empty.qcow2 --mode rw --room 8M"),
                      f"disk {number}:")
                probe(shell, "detach 0")
        check_stick(path, folder, "empty.qcow2")
        check_pattern(folder, 64)


def file_size(path, name):
    """The size of a file on a small stick."""
    text = subprocess.run(["mdir", "-i", path, f"::{name}"], check=True, capture_output=True,
                          text=True).stdout
    size = re.search(r"(?m)^\S+\s+\S+\s+([\d ]+?)\s+\d{4}-", text).group(1)
    return int(size.replace(" ", ""))


def test_write_room_is_given_back():
    """Before a write little is taken; what is not used goes back at detach."""
    with scratch() as folder, small_stick(folder, 80) as path:
        before = file_size(path, "/img/empty.qcow2")
        words = "attach fs0:\\img\\empty.qcow2 --mode rw"
        with writing_shell(path) as shell:
            check(shell.shell(f"metalcow.efi {words}"), "disk 0:")
            check(shell.shell("metalcow.efi list"), r"room for [1-6](\.\d+)? MiB")
            shell.shell("metalcow.efi detach 0")
            check(shell.shell("ls fs0:\\img\\empty.qcow2"), f"{before:,}")
            check(shell.shell(f"metalcow.efi {words}"), "disk 1:")
            probe(shell, "write 0 64")
            check(shell.shell("metalcow.efi list"), r"room for \d\d(\.\d+)? MiB")
            check(shell.shell("metalcow.efi check 1"), "No errors were found")
            shell.shell("metalcow.efi detach 1")
            shell.send_line("reset")
            shell.wait_end()
        cases.check(file_size(path, "/img/empty.qcow2") < before + fs.MIB, "room was kept")
        check_stick(path, folder, "empty.qcow2")
        check_pattern(folder, 64)


def make_dirty(path):
    """An image as lazy refcounts leave it after a crash: refcounts too low, the dirty bit set."""
    fs.run("qemu-img", "create", "-f", "qcow2", "-o", "lazy_refcounts=on", path, "64M")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", "-c", "flush", "-c",
                    f"sigraise {int(signal.SIGKILL)}", path], check=False, capture_output=True)
    done = subprocess.run(["qemu-img", "check", path], check=False, capture_output=True)
    cases.check(done.returncode == 2, "the refcounts of the image are right")
    with open(path, "rb") as file:
        cases.check(file.read(80)[79] & 1, "the image is not dirty")


def test_write_dirty_images_are_repaired_in_the_firmware():
    """Mode rw repairs on the way; check -r repairs, but no image that a disk uses."""
    with scratch() as folder:
        dirty = folder / "dirty.qcow2"
        make_dirty(dirty)
        files = {"/img/dirty.qcow2": dirty, "/img/torn.qcow2": dirty}
        with small_stick(folder, 80, **files) as path:
            with writing_shell(path) as shell:
                output = shell.shell("metalcow.efi attach fs0:\\img\\dirty.qcow2 --mode rw")
                check(output, r"(?s)not closed cleanly; .*repaired.*disk 0:")
                probe(shell, "write 4096 64")
                output = shell.shell("metalcow.efi check -r all fs0:\\img\\dirty.qcow2")
                check(output, "an attached disk uses this file, so it is not repaired")
                output = shell.shell("metalcow.efi check -r most fs0:\\img\\torn.qcow2")
                check(output, "-r takes leaks or all")
                output = shell.shell("metalcow.efi check fs0:\\img\\torn.qcow2")
                check(output, r"\d+ errors were found")
                output = shell.shell("metalcow.efi check -r all fs0:\\img\\torn.qcow2")
                check(output, "(?s)inconsistencies were found and repaired.*No errors were found")
                shell.shell("metalcow.efi detach 0")
                shell.send_line("reset")
                shell.wait_end()
            check_stick(path, folder, "dirty.qcow2")
            for name in ("dirty.qcow2", "torn.qcow2"):
                fs.run("qemu-img", "check", name, cwd=folder)
                fs.run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 7 0 1M", name, cwd=folder)


def last_round(shell):
    return int(re.findall(r"storm round (\d+)", shell.text)[-1])


def storm(shell, rounds):
    """Write and flush without end; return after so many rounds."""
    shell.send_line("probe.efi storm 0")
    shell.expect(rf"storm round {rounds}\b")


def test_write_stick_pulled_out_and_power_cut():
    """U6, W7: what was flushed is there, and the image is sound."""
    with scratch() as folder, scratch() as other:
        usb = harness.BUILD / "boot/pulled-write.img"
        harness.make_stick.make_stick(usb, {"/img/empty.qcow2": empty_image(other)}, bits=16,
                                      size=40 * fs.MIB, scheme="superfloppy")
        with small_stick(folder, 40) as path:
            with harness.Machine([writable(path), writable(usb, "usb")],
                                 log=harness.log_path()) as shell:
                shell.enter_shell()
                main = "fs0" if "probe" in shell.shell("ls fs0:\\") else "fs1"
                pulled = "fs1" if main == "fs0" else "fs0"
                shell.shell(f"{main}:")
                words = "\\img\\empty.qcow2 --mode rw --room 8M"
                check(shell.shell(f"metalcow.efi attach {pulled}:{words}"), "disk 0:")
                storm(shell, 20)
                shell.qmp("device_del", id="/machine/peripheral-anon/device[1]")
                shell.expect("probe: storm failed: write or flush of round")
                pulled_rounds = last_round(shell)
                shell.expect(r"^FS\d:.*> $")
                # The firmware takes the disk away when it polls its ports, unless a reset of the
                # port by its mass storage driver came first: then a person has to.
                if "empty.qcow2" in shell.shell("metalcow.efi list"):
                    shell.shell("metalcow.efi detach 0")
                check(shell.shell("metalcow.efi list"), "no disk is attached")
                check(shell.shell(f"metalcow.efi attach {main}:{words}"), "disk 1:")
                storm(shell, 30)
                shell.stop()
                cut_rounds = last_round(shell)
            check_stick(path, folder, "empty.qcow2", may_leak=True)
            check_pattern(folder, (cut_rounds + 1) * 64)
        check_stick(usb, other, "empty.qcow2", may_leak=True)
        check_pattern(other, (pulled_rounds + 1) * 64)
        usb.unlink()


def test_write_medium_goes_in_the_middle_of_a_request():
    """U6, U7: the driver below takes everything above it away from inside our request."""
    with scratch() as folder, small_stick(folder, 40) as path:
        usb = [harness.BUILD / f"boot/medium-{name}.img" for name in ("out", "in")]
        for medium in usb:
            harness.make_stick.make_stick(medium, {"/img/empty.qcow2": folder / "empty.qcow2"},
                                          bits=16, size=40 * fs.MIB, scheme="superfloppy")
        before = usb[1].read_bytes()
        with harness.Machine([writable(path), writable(usb[0], "usb")],
                             log=harness.log_path()) as shell:
            shell.enter_shell()
            main, other = "fs0", "fs1"
            if "probe" not in shell.shell("ls fs0:\\"):
                main, other = other, main
            shell.shell(f"{main}:")
            words = f"attach {other}:\\img\\empty.qcow2 --mode rw --room 8M"
            check(shell.shell(f"metalcow.efi {words}"), "disk 0:")
            storm(shell, 10)
            shell.qmp("eject", device="drive1", force=True)
            shell.expect("probe: storm failed: write or flush of round")
            nb_rounds = last_round(shell)
            shell.expect(r"^FS\d:.*> $")
            check(shell.shell("metalcow.efi list"), "the medium is gone")
            # What is put in next is another medium, whatever is on it.
            shell.qmp("blockdev-change-medium", device="drive1", filename=str(usb[1]),
                      format="raw")
            check(shell.shell("probe.efi write 0 8"), "write failed")
            check(shell.shell("metalcow.efi list"), "the medium is gone")
            shell.shell("metalcow.efi detach 0")
            check(shell.shell("metalcow.efi list"), "no disk is attached")
        cases.check(usb[1].read_bytes() == before, "the second medium was written to")
        check_stick(usb[0], folder, "empty.qcow2", may_leak=True)
        check_pattern(folder, (nb_rounds + 1) * 64)
        for medium in usb:
            medium.unlink()


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""Debian guests that run from an image on a stick by the hand-off, without our firmware.

    make test-guests                          all
    tests/guests/guests.py server_rw          those with this in the name

Each boots a real Debian 12 under QEMU (TCG unless METALCOW_ACCEL says kvm), lets it write a file
and switch off, and looks at what is left: the image by qemu-img check and e2fsck, the stick by
fsck.vfat, and every byte of the stick that is in none of the image's files.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.guests import rig  # noqa: E402

LOAD = "metalcow.load"


def boot_and_check(stick, device, lane, append="", probes_fail=False, **how):
    """Boot, write, power off; the guest ran from `device` and everything is consistent.

    probes_fail: udev may find the device gone while it looks at it; no file system may.
    """
    cpio = stick.make_cpio(mode="rw", **{key: how.pop(key) for key in ("lane", "room_mark")
                                         if key in how})
    before = stick.outside()
    stick.boot(append, cpio=cpio, **how)
    root = stick.found(r"METALCOW-TEST boot \d+ root (\S+) (\S+)")
    check_equal(root.group(1), device, "the root's device")
    check("rw" in root.group(2).split(","), f"/ is mounted {root.group(2)}")
    stick.found(r"METALCOW-LOG .*lane: " + re.escape(lane))
    stick.found("METALCOW-TEST host refused")
    errors = re.findall("METALCOW-TEST error (.*)", stick.text)
    if probes_fail:
        errors = [line for line in errors if not re.search(r"dev nbd0, (sector|logical)", line)]
    check(not errors, f"the guest saw I/O errors: {errors}")
    blob = stick.found(r"METALCOW-TEST blob (\w{64})").group(1)
    check_equal(stick.outside(), before, "what is outside the image's files")
    volume = stick.check_consistent()
    command = f"debugfs -R 'cat /var/lib/metalcow/blob' {volume} 2>/dev/null | sha256sum"
    content = rig.run("sh", "-c", command)
    check_equal(content.split()[0], blob, "the file that the guest wrote")
    return stick.text


def test_server_rw_data_file_if_asked_for():
    with rig.Stick("data-file") as stick:
        text = boot_and_check(stick, "/dev/nbd0p2", "server (nbd)", lane="server")
        locked = re.search(r"METALCOW-TEST server VmLck: (\d+) kB", text)
        check(locked and 12 * 1024 < int(locked.group(1)) <= 16 * 1024,
              f"locked memory: {locked and locked.group(0)}")


MIXED = r"mixed, (\d+) of (\d+) MiB of data straight \(loop on /dev/dm-\d+, (\d+) pieces\)"


def check_mixed(stick):
    """Most of the data goes straight, in few pieces."""
    straight, data, pieces = (int(word) for word in stick.found(MIXED).groups())
    check(straight > data * 0.9, f"only {straight} of {data} MiB go straight")
    check(1 < pieces <= 128, f"{pieces} pieces")


def test_mixed_rw_data_file():
    with rig.Stick("data-file") as stick:
        boot_and_check(stick, "/dev/loop0p2", "mixed")
        check_mixed(stick)


def test_mixed_rw_in_pieces_on_nvme():
    with rig.Stick("data-file", pieces=8 << 20) as stick:
        boot_and_check(stick, "/dev/loop0p2", "mixed", bus="nvme")
        check_mixed(stick)


def test_mixed_falls_back_to_the_server_without_device_mapper():
    with rig.Stick("data-file") as stick:
        text = boot_and_check(stick, "/dev/nbd0p2", "server (nbd)", "module_blacklist=dm_mod")
        check("no device mapper" in text, "the log does not say why")


def test_mixed_falls_back_to_the_server_when_the_table_is_refused():
    with rig.Stick("data-file") as stick:
        # Somebody has a mapping of this name already.
        first = {"conf/conf.d/00-first": b"/sbin/modprobe dm-mod; /sbin/dmsetup create "
                                         b"metalcow-handoff --notable --noudevsync </dev/null\n"}
        text = boot_and_check(stick, "/dev/nbd0p2", "server (nbd)", first=first,
                              probes_fail=True)
        check("no device-mapper table: " in text, "the log does not say why")


def test_mixed_ro_device_is_read_only():
    with rig.Stick("qcow2") as stick:
        cpio = stick.make_cpio(mode="ro")
        before = stick.path.read_bytes()
        # The guest cannot switch itself off: its service has nowhere to write.
        stick.boot("systemd.volatile=overlay", cpio=cpio, expect="login:",
                   on_text=lambda process, text: "login:" in text)
        stick.found(r"read-only; lane: mixed")
        check("I/O error" not in stick.text, "the guest saw I/O errors")
        check(stick.path.read_bytes() == before, "the stick was written")


def test_fast_rw_raw():
    with rig.Stick("raw") as stick:
        boot_and_check(stick, "/dev/loop0p2", "fast (loop)")


def test_fast_rw_raw_external_data():
    with rig.Stick("data-file-raw") as stick:
        boot_and_check(stick, "/dev/loop0p2", "fast (loop)")


def test_server_rw_raw_if_asked_for():
    with rig.Stick("raw") as stick:
        boot_and_check(stick, "/dev/nbd0p2", "server (nbd)", lane="server")


def test_raw_in_pieces_is_mapped():
    with rig.Stick("raw", pieces=16 << 20) as stick:
        boot_and_check(stick, "/dev/loop0p2", "fast (loop on /dev/dm-")


def test_raw_in_pieces_falls_back_without_device_mapper():
    with rig.Stick("raw", pieces=16 << 20) as stick:
        text = boot_and_check(stick, "/dev/nbd0p2", "server (nbd)", "module_blacklist=dm_mod")
        check("no device mapper" in text, "the log does not say why")


def test_overlay_leaves_the_stick_alone():
    with rig.Stick("qcow2") as stick:
        cpio = stick.make_cpio(mode="overlay", overlay_size=256 << 20)
        before = stick.path.read_bytes()
        stick.boot(cpio=cpio)
        stick.found(r"METALCOW-TEST boot \d+ root /dev/nbd0p2 rw")
        stick.found(r"METALCOW-LOG .*overlay in memory")
        check("METALCOW-TEST error" not in stick.text, "the guest saw I/O errors")
        check(stick.path.read_bytes() == before, "the stick was written")


def test_read_only_device_is_read_only():
    with rig.Stick("raw") as stick:
        cpio = stick.make_cpio(mode="ro")
        before = stick.path.read_bytes()
        stick.boot("systemd.volatile=overlay", cpio=cpio, expect="METALCOW-TEST|read-only")
        stick.found(r"read-only; lane: fast|METALCOW-LOG .*read-only")
        check(stick.path.read_bytes() == before, "the stick was written")


def test_power_cut_under_load_is_recovered():
    with rig.Stick("data-file") as stick:
        cpio = stick.make_cpio(mode="rw")
        before = stick.outside()
        stick.boot(LOAD, cpio=cpio, expect="METALCOW-TEST load",
                   on_text=lambda process, text: "METALCOW-TEST load" in text
                   and cut_soon(process))
        check_equal(stick.outside(), before, "what is outside the image's files")
        stick.check_image(good=(0, 3))  # leaks are all that may be left
        boot_and_check(stick, "/dev/loop0p2", "mixed")


def cut_soon(process):
    import time  # pylint: disable=import-outside-toplevel
    time.sleep(4)
    process.kill()
    return True


def test_another_copy_is_refused():
    with rig.Stick("raw") as stick:
        cpio = stick.make_cpio(mode="rw")
        with open(stick.path, "r+b") as device:
            device.seek(rig.START + stick.extents[0][0] + 1000)
            device.write(b"another copy")
        before = stick.path.read_bytes()
        stick.boot(cpio=cpio, expect="refused: .* take away disks that hold a copy",
                   on_text=lambda process, text: "the firmware saw" in text)
        check(stick.path.read_bytes() == before, "the stick was written")


def test_full_image_fails_writes_and_tells():
    with rig.Stick("qcow2") as stick:
        cpio = stick.make_cpio(mode="rw", room_mark=64 << 20)
        before = stick.outside()
        stick.boot(LOAD, cpio=cpio, expect="a request failed",
                   on_text=lambda process, text: "a request failed" in text)
        check(re.search("KiB of room are left|room are left", stick.text), "the log tells no room")
        check_equal(stick.outside(), before, "what is outside the image's files")
        stick.check_image(good=(0, 3))


if __name__ == "__main__":
    cases.main(globals())

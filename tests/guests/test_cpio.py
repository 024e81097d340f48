#!/usr/bin/python3
"""The hand-off's cpio is unpacked by cpio, alone and after another archive, and makes what its
header says.
"""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.guests import rig  # noqa: E402

WANT = {
    "metalcow/handoff": 0o100755,
    "metalcow/record": 0o100644,
    "conf/conf.d/zz-metalcow": 0o100644,
    "usr/lib/dracut/hooks/pre-udev/00-metalcow.sh": 0o100755,
    "var/lib/dracut/hooks/pre-udev/00-metalcow.sh": 0o100755,
    "etc/systemd/system/metalcow-handoff.service": 0o100644,
    "etc/systemd/system/sysinit.target.wants/metalcow-handoff.service": 0o120777,
}


def unpack(archive, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = subprocess.run(["cpio", "-i", "--quiet", "--no-absolute-filenames"], cwd=folder,
                          input=archive, capture_output=True, check=False)
    check_equal((done.returncode, done.stderr), (0, b""), "cpio -i")
    return folder


def tiny_stick():
    """A stick with a small raw image."""
    folder = rig.BUILD / f"tests/guests/cpio-files-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "debian.raw").write_bytes(os.urandom(300_000))
    return {"/img/debian.raw": folder / "debian.raw"}, folder


def test_cpio_unpacks_to_program_record_and_hooks():
    files, source = tiny_stick()
    try:
        with rig.Stick(files=files, name="cpio") as stick:
            archive = stick.make_cpio(mode="ro").read_bytes()
            folder = unpack(archive, stick.folder / "unpacked")
            got = {str(path.relative_to(folder)): path.lstat().st_mode
                   for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
            check_equal(got, WANT, "members")
            check((folder / "metalcow/handoff").read_bytes() == rig.PROGRAM.read_bytes(),
                  "the program is another")
            record = (stick.folder / "handoff.cpio.record").read_bytes()
            check((folder / "metalcow/record").read_bytes() == record, "the record is another")
            for path in folder.rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    check_equal(stat.S_IMODE(path.stat().st_mode), 0o755, str(path))
            for shell in folder.rglob("*metalcow.sh"):
                subprocess.run(["sh", "-n", shell], check=True)
            subprocess.run(["sh", "-n", folder / "conf/conf.d/zz-metalcow"], check=True)
    finally:
        shutil.rmtree(source)


def test_program_fits_its_limit_and_is_static():
    for command in (["xz", "-9", "-c"], ["zstd", "-19", "-q", "-c"]):
        size = len(subprocess.run([*command, rig.PROGRAM], capture_output=True, check=True).stdout)
        check(size <= 300 * 1024, f"{command[0]}: {size} bytes")
    headers = subprocess.run(["readelf", "-lW", rig.PROGRAM], capture_output=True, check=True,
                             text=True).stdout
    check("INTERP" not in headers and "DYNAMIC" not in headers, "the program is not static")


def test_program_without_a_record_does_nothing():
    done = subprocess.run([rig.PROGRAM, "start"], capture_output=True, check=False)
    check_equal((done.returncode, done.stdout, done.stderr), (0, b"", b""), "start")
    done = subprocess.run([rig.PROGRAM], capture_output=True, check=False)
    check_equal(done.returncode, 2, "no argument")


if __name__ == "__main__":
    cases.main(globals())

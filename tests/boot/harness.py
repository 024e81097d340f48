"""What the boot tests share: guests, images, sticks with our programs, and waiting for a result.

A boot test says in three lines what is on the stick and what must come:

    with harness.stick(image="data-file", entry={"image": "/img/debian.qcow2"}) as stick:
        harness.check_guest_boots(stick)

Images are made once per build in build/images/LOADER/VARIANT and reused while they are newer than
the guest and the script; a lock lets two test programs ask for the same one. Sticks are private to
a case and removed after it. The serial log of the last boot of a case stays in build/boot/log.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests import cases  # noqa: E402
from tools.guest import make_image  # noqa: E402
from tools.qemu.machine import GAVE_UP, GUEST_UP, SHELL_PROMPT, Drive, Machine  # noqa: E402
from tools.stick import make_stick  # noqa: E402

BUILD = ROOT / os.environ.get("BUILD", "build")
APPLICATION = BUILD / "x64/metalcow.efi"
DRIVER = BUILD / "x64/metalcowdxe.efi"

BOOT_PATH = "/EFI/BOOT/BOOTX64.EFI"
ENTRY_PATH = "/metalcow/entries/debian.conf"


def guest_raw(loader="grub"):
    return BUILD / f"guest/{loader}.raw"


def guest_token(loader="grub"):
    record = json.loads((BUILD / f"guest/{loader}.json").read_text(encoding="utf-8"))
    return record["token"]


def image_folder(variant, loader="grub"):
    """The folder of an image variant, made when it is absent or older than what it is made of."""
    folder = BUILD / "images" / loader / variant
    folder.parent.mkdir(parents=True, exist_ok=True)
    sources = [guest_raw(loader), pathlib.Path(make_image.__file__)]
    with open(folder.with_name(folder.name + ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        image = folder / make_image.IMAGE
        newest = max(path.stat().st_mtime for path in sources)
        if not image.exists() or image.stat().st_mtime < newest:
            make_image.make_image(variant, guest_raw(loader), folder)
    return folder


def image_files(variant, loader="grub", target="/img"):
    """A variant's files as a stick's files: {path on the stick: host path}."""
    folder = image_folder(variant, loader)
    return {f"{target}/{path.name}": path for path in sorted(folder.iterdir())}


def entry_text(keys):
    """The text of an entry: one `key value` per line, a title first."""
    lines = {"title": "Debian", **keys}
    return "".join(f"{key} {value}\n" for key, value in lines.items()).encode()


@contextlib.contextmanager
def stick(image=None, entry=None, files=None, application=BOOT_PATH, loader="grub", **options):
    """A stick for one case, removed afterwards.

    image: variant whose files are in /img. entry: keys of the entry debian.conf. files: more files.
    application: where metalcow.efi is on it, None for a stick without it. options: make_stick's.
    """
    content = {}
    if application:
        content[application] = APPLICATION
    if entry is not None:
        content[ENTRY_PATH] = entry_text(entry)
    if image:
        content.update(image_files(image, loader))
    content.update(files or {})
    for path in content.values():
        cases.check(isinstance(path, bytes) or pathlib.Path(path).exists(), f"no {path}")
    path = BUILD / f"boot/stick-{os.getpid()}.img"
    try:
        yield make_stick.make_stick(path, content, **options)
    finally:
        path.unlink(missing_ok=True)


def log_path():
    """The serial log of the case under way; named by the test's function."""
    frame = sys._getframe(1)  # pylint: disable=protected-access
    while frame and not frame.f_code.co_name.startswith("test_"):
        frame = frame.f_back
    return BUILD / f"boot/log/{frame.f_code.co_name if frame else 'unknown'}.log"


@contextlib.contextmanager
def kept_variables():
    """A file of firmware variables that outlives a machine."""
    path = BUILD / f"boot/vars-{os.getpid()}.fd"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def machine(path, bus="virtio", **options):
    """A machine with this stick, its serial output logged under the case's name."""
    return Machine([Drive(path, bus=bus)], log=log_path(), **options)


def check_guest(running, loader="grub"):
    """Wait for the guest of a machine that runs; its token must be the one on its own disk."""
    token = running.expect(GUEST_UP, absent=GAVE_UP).group(1)
    cases.check_equal(token, guest_token(loader), "the guest's token")


def check_guest_boots(path, loader="grub", bus="virtio", **options):
    """Boot the stick; the guest must come up with its own token. Returns the serial text."""
    with machine(path, bus=bus, **options) as running:
        check_guest(running, loader)
        return running.text


@contextlib.contextmanager
def shell(path, bus="virtio", **options):
    """A machine at the UEFI shell's prompt in the root of the stick (fs0:)."""
    with machine(path, bus=bus, **options) as running:
        running.enter_shell()
        running.shell("fs0:")
        yield running

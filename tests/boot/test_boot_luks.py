#!/usr/bin/python3
"""Encrypted images in firmware: key files, the prompt, what is refused, and that keys go away."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools.guest.make_image import PASSPHRASE  # noqa: E402

KEPT = "Linux keeps this disk when it starts"
LOST = "a system that starts from this disk loses it"
WORDS = harness.BUILD / "san/tests/boot/luks_words"
IMAGE = {"image": "/img/debian.qcow2"}
ATTACH = "metalcow.efi attach fs0:\\img\\debian.qcow2"

# Windows' editor and others: a byte order mark, CRLF, more lines.
TEXT_FILE = b"\xef\xbb\xbf" + PASSPHRASE + b"\r\nthe second line\r\n"
FILES = {
    "/metalcowdxe.efi": harness.DRIVER,
    "/keys/text.txt": TEXT_FILE,
    "/keys/key.bin": PASSPHRASE,
    "/keys/wrong.bin": PASSPHRASE + b"\n",
    "/keys/long.bin": b"x" * 4097,
}
PROMPT = r"Passphrase of /img/debian\.qcow2 \(Esc gives up\): "
AGAIN = r"It does not fit\. Passphrase of /img/debian\.qcow2, try {} of 3 \(Esc gives up\): "
WORKING = r"metalcow: unlocking /img/debian\.qcow2 \.+"


def luks_stick(entry=None, application="/metalcow.efi"):
    return harness.stick(image="luks", entry=entry, files=FILES, application=application)


def test_luks_guest_boots_with_passphrase_file():
    entry = {**IMAGE, "passphrase-file": "/keys/text.txt"}
    with luks_stick(entry, harness.BOOT_PATH) as stick:
        text = harness.check_guest_boots(stick)
        cases.check(KEPT in text and LOST not in text, f"it is not handed over:\n{text[-2000:]}")


def test_luks_guest_boots_after_prompt():
    """A typing mistake is taken off; the first try is wrong; what is typed is not shown."""
    with luks_stick(IMAGE, harness.BOOT_PATH) as stick, harness.machine(stick) as running:
        running.expect(PROMPT)
        running.send("wrong one\r")
        running.expect(AGAIN.format(2))
        start = running.mark
        running.send(PASSPHRASE.decode() + "xy\b\b\r")
        harness.check_guest(running)
        typed = running.text[start:running.mark]
        cases.check("*" * len(PASSPHRASE) in typed, f"no asterisks:\n{typed[:200]}")
        cases.check("seven" not in typed and "cows" not in typed, "the passphrase was shown")
        cases.check(re.search(WORKING, running.text), "no sign of work")


def refusals(shell):
    """What each way to a passphrase must say; yields complaints."""
    rows = {
        "--key-file fs0:\\keys\\wrong.bin": r"debian\.qcow2: the passphrase fits no key slot",
        "--key-file fs0:\\keys\\long.bin": r"/keys/long\.bin: a passphrase has at most 4096 bytes",
        "--passphrase-file fs0:\\keys\\long.bin": r"/keys/long\.bin: .* at most 4096 bytes",
        "--key-file fs0:\\keys\\none.bin": r"/keys/none\.bin: .*(does not exist|not found)",
        "--key-file fs0:\\keys": r"/keys: not a file",
        "--key-file fs0:\\keys\\key.bin --passphrase-file fs0:\\keys\\text.txt":
            r"a passphrase-file and a key-file are given",
    }
    for words, text in rows.items():
        output = shell.shell(f"{ATTACH} {words}")
        if not re.search(text, output):
            yield f"[{words}] no '{text}' in:\n{output.strip()}"


def give_up_at_once(shell):
    shell.send_line(ATTACH)
    shell.expect(PROMPT)
    shell.send("\x1b")
    shell.expect(r"debian\.qcow2: no passphrase was given")
    shell.expect(harness.SHELL_PROMPT)


def fail_three_times(shell):
    shell.send_line(ATTACH)
    shell.expect(PROMPT)
    shell.send("\r")
    for number in (2, 3):
        shell.expect(AGAIN.format(number))
        shell.send("no\r")
    shell.expect(r"debian\.qcow2: the passphrase fits no key slot")
    shell.expect(harness.SHELL_PROMPT)


def memory_has(shell, words):
    """Whether the machine's memory has these bytes anywhere."""
    dump = harness.BUILD / "boot/memory.bin"
    try:
        shell.qmp("stop")
        shell.qmp("pmemsave", val=0, size=shell.memory << 20, filename=str(dump))
        shell.qmp("cont")
        return words in dump.read_bytes()
    finally:
        dump.unlink(missing_ok=True)


def key_words():
    image = harness.image_folder("luks") / "debian.qcow2"
    done = subprocess.run([WORDS, image, PASSPHRASE.decode()], check=True, capture_output=True,
                          text=True)
    return bytes.fromhex(done.stdout)


def check_published(shell, wanted):
    listing = shell.shell("metalcow.efi list")
    cases.check(("debian.qcow2" in listing) == wanted, f"list: {listing}")


def check_driver_asks_nobody(shell):
    """The driver attaches entries by itself when nobody waits: a sentence, and the rest goes on."""
    output = shell.shell("load fs0:\\metalcowdxe.efi")
    cases.check(re.search(r"debian\.qcow2: it is encrypted, and nobody is there to ask; its "
                          r"entry\s+needs\s+a\s+passphrase-file or key-file", output), output)
    check_published(shell, False)


def test_luks_refusals_and_wiped_keys():
    """All in one shell: what is refused; then keys are in memory exactly while a disk is there."""
    words = key_words()
    with luks_stick({**IMAGE, "attach": "yes"}) as stick, harness.shell(stick, memory=256) as shell:
        wrong = list(refusals(shell))
        cases.check(not wrong, "\n".join([f"{len(wrong)} row(s)", *wrong]))
        give_up_at_once(shell)
        fail_three_times(shell)
        check_published(shell, False)
        cases.check(not memory_has(shell, words), "the key is in memory before any disk is")
        shell.shell(f"{ATTACH} --key-file fs0:\\keys\\key.bin")
        check_published(shell, True)
        cases.check(memory_has(shell, words), "the key of an attached disk was not found")
        shell.shell("metalcow.efi detach 0")
        cases.check(not memory_has(shell, words), "detach has left the key in memory")
        shell.shell(f"{ATTACH} --passphrase-file fs0:\\keys\\text.txt")
        cases.check(memory_has(shell, words), "the key of an attached disk was not found")
        handle = re.search(r"(?m)^(\w+) .*metalcow", shell.shell("drivers"))
        cases.check(handle, "no driver in `drivers`")
        shell.shell(f"unload -n {handle.group(1)}")
        cases.check(not memory_has(shell, words), "unload has left the key in memory")
        check_driver_asks_nobody(shell)


if __name__ == "__main__":
    cases.main(globals())

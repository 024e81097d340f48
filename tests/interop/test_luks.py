#!/usr/bin/python3
"""Encrypted images that QEMU writes, read byte for byte: LUKS in every suite that is built in, and
legacy AES; several cluster sizes, chains, and what must be refused. And the command's ways to a
passphrase.

Each image gets random data (fixed seeds) from qemu-io's file format layer, by `qemu-img convert`
with the passphrase in a secret object; the reader is tests/interop/read_disk.c.
"""

import json
import os
import pathlib
import pty
import random
import select
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # pylint: disable=wrong-import-position
from tools import fs  # pylint: disable=wrong-import-position

ROOT = pathlib.Path(__file__).resolve().parents[2]
READER = ROOT / os.environ.get("BUILD", "build") / "san/tests/interop/read_disk"
TOOL = READER.parents[2] / "metalcow"
SIZE = 3 * 1024 * 1024 + 1536  # no multiple of any cluster size but 512
HOLE = (1 << 20, 1 << 19)  # offset and length of a run of zeros

FOLDER = tempfile.TemporaryDirectory(prefix="metalcow-luks-")
WORK = pathlib.Path(FOLDER.name)


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, cwd=WORK)
    if done.returncode != 0:
        raise cases.Failure(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def secret(name, passphrase):
    """Options that make a secret object of a file; the file stays for the reader."""
    path = WORK / f"{name}.key"
    path.write_bytes(passphrase)
    return ["--object", f"secret,id={name},file={path},format=raw"]


def content(seed, size=SIZE, hole=HOLE):
    data = bytearray(random.Random(seed).randbytes(size))
    data[hole[0]:hole[0] + hole[1]] = bytes(hole[1])
    return bytes(data)


def target(path, name, fmt):
    """The --image-opts of an encrypted image."""
    return f"driver=qcow2,file.filename={path},encrypt.format={fmt},encrypt.key-secret={name}"


def create(name, passphrase, options, fmt="luks", backing=None, size=SIZE):
    """An empty encrypted image; returns its path."""
    path = WORK / f"{name}.qcow2"
    words = [f"encrypt.format={fmt}", f"encrypt.key-secret={name}", *options]
    if fmt == "luks":
        words.append("encrypt.iter-time=10")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *secret(name, passphrase)]
    if backing:
        command += ["-u", "-b", backing.name, "-F", "qcow2"]
    fs.calibrated(run, *command, "-o", ",".join(words), path, str(size))
    return path


def fill(path, name, passphrase, data, fmt="luks"):
    """Write a whole image's content."""
    raw = WORK / f"{name}.raw"
    raw.write_bytes(data)
    run("qemu-img", "convert", "-n", "-f", "raw", "--target-image-opts",
        *secret(name, passphrase), raw, target(path, name, fmt))


def read(path, key=None):
    """Run the reader; returns the finished process and what it wrote."""
    output = WORK / "read.raw"
    done = subprocess.run([READER, path, output] + ([key] if key else []), capture_output=True,
                          text=True, check=False, cwd=WORK)
    return done, output.read_bytes()


def check_reads(path, name, want):
    done, got = read(path, WORK / f"{name}.key")
    cases.check_equal((done.returncode, done.stderr), (0, ""), f"reading {path.name}")
    cases.check_equal(len(got), len(want), "size")
    if got != want:
        at = next(i for i in range(len(got)) if got[i] != want[i])
        raise cases.Failure(f"{path.name} differs from byte {at} on")


def check_refused(path, key, status, text):
    done, got = read(path, key)
    cases.check_equal(done.returncode, 1, "exit status")
    cases.check(done.stderr.startswith(f"{status}: ") and text in done.stderr,
                f"got {done.stderr.strip()!r}, want {status} with {text!r}")
    cases.check_equal(got, b"", "bytes that came out")


def info_of(program, path, *options):
    done = subprocess.run([str(program), "info", *options, str(path)], capture_output=True,
                          text=True, check=False)
    cases.check_equal((done.returncode, done.stderr), (0, ""), f"{program} info")
    return done.stdout


def check_info(path):
    """info says of the encryption what qemu-img says; neither needs the passphrase."""
    cases.check_equal(info_of(TOOL, path), info_of("qemu-img", path), "info")
    ours, theirs = (json.loads(info_of(program, path, "--output=json"))
                    for program in (TOOL, "qemu-img"))
    cases.check_equal(ours, theirs, "info as JSON")


def round_trip(name, options, fmt="luks", passphrase=b"correct horse"):
    """Create, fill, read."""
    data = content(name)
    path = create(name, passphrase, options, fmt)
    fill(path, name, passphrase, data, fmt)
    cases.check(data[4096:4112] not in path.read_bytes(), f"{name} holds plaintext")
    check_reads(path, name, data)
    check_info(path)
    return path


def shared():
    """An image of the default suite with the passphrase "correct horse", for cases that do not
    change it: qemu-img takes seconds to make one, whatever iter-time says. The key file is written
    anew."""
    path = WORK / "shared.qcow2"
    if not path.exists():
        round_trip("shared", [])
    (WORK / "shared.key").write_bytes(b"correct horse")
    return path


def suite(cipher, mode, ivgen, digest):
    options = [f"encrypt.cipher-alg={cipher}", f"encrypt.cipher-mode={mode}",
               f"encrypt.ivgen-alg={ivgen}", f"encrypt.hash-alg={digest}"]
    if ivgen == "essiv":
        options.append("encrypt.ivgen-hash-alg=sha256")
    return options


def test_luks_every_suite_cluster_and_passphrase():
    shared()
    # Not aes-192: its key material ends inside a sector, and qemu-img 7.2 aborts on that.
    for row, options, passphrase in (
            (("aes-256", "xts", "plain64", "sha512"), ["cluster_size=512"], b"x"),
            (("aes-128", "xts", "plain64", "sha1"), ["cluster_size=2M"], b"with line feed\n"),
            (("aes-128", "cbc", "plain64", "sha256"), ["cluster_size=128k", "extended_l2=on"],
             "Kühe".encode()),
            (("aes-128", "cbc", "essiv", "sha1"), ["cluster_size=4096"], b"l" * 300),
            (("aes-256", "cbc", "essiv", "sha256"), ["cluster_size=64k"], b"pw")):
        round_trip("-".join(row), suite(*row) + options, passphrase=passphrase)


def test_luks_other_suites_are_refused_by_name():
    path = create("serpent", b"pw", suite("serpent-256", "xts", "plain64", "sha256"))
    check_refused(path, WORK / "serpent.key", "Q2_ERR_UNSUPPORTED",
                  "the LUKS cipher is not built in")
    check_info(path)


def test_luks_second_key_slot_opens_too():
    path = WORK / "slots.qcow2"
    path.write_bytes(shared().read_bytes())
    secret("slots", b"correct horse")
    fs.calibrated(run, "qemu-img", "amend", "-q", *secret("slots", b"correct horse"),
                  *secret("second", b"two"), "--image-opts", target(path, "slots", "luks"),
                  "-o", "encrypt.state=active,encrypt.new-secret=second,encrypt.keyslot=6,"
                  "encrypt.iter-time=10")
    check_reads(path, "slots", content("shared"))
    check_reads(path, "second", content("shared"))
    run("qemu-img", "amend", "-q", *secret("second", b"two"),
        "--image-opts", target(path, "second", "luks"),
        "-o", "encrypt.state=inactive,encrypt.keyslot=0")
    check_reads(path, "second", content("shared"))
    (WORK / "slots.key").write_bytes(b"correct horse")
    check_refused(path, WORK / "slots.key", "Q2_ERR_ENCRYPTED", "fits no key slot")


def test_luks_wrong_or_no_passphrase_is_refused():
    path, key = shared(), WORK / "shared.key"
    for passphrase in (b"", b"correct horse\n", b"correct hors", b"Correct horse"):
        key.write_bytes(passphrase)
        check_refused(path, key, "Q2_ERR_ENCRYPTED", "the passphrase fits no key slot")
    check_refused(path, None, "Q2_ERR_ENCRYPTED", "no passphrase was given")


def test_luks_hostile_names_are_shown_escaped():
    data = bytearray(shared().read_bytes())
    start = data.index(b"LUKS\xba\xbe")
    data[start + 8:start + 104] = b"\x1b[2J-<:" * 13 + b"\x1b[2J-"[:5]
    data[start + 168:start + 208] = b"\x1b\xff\n\x07" * 10
    path = WORK / "hostile.qcow2"
    path.write_bytes(data)
    shown = info_of(TOOL, path)
    cases.check("uuid: \\x1b\\xff\\x0a\\x07" in shown, shown)
    cases.check(all(c == "\n" or " " <= c <= "~" for c in shown), repr(shown))
    json.loads(info_of(TOOL, path, "--output=json"))


def test_luks_damaged_header_is_refused():
    whole, path = shared().read_bytes(), WORK / "damaged.qcow2"
    at = whole.index(b"LUKS\xba\xbe")
    for offset, value, status, text in (
            (0, b"M", "Q2_ERR_BAD_HEADER", "has no magic"),
            (6, b"\0\2", "Q2_ERR_UNSUPPORTED", "version is not 1"),
            (208 + 4, b"\xff" * 4, "Q2_ERR_LIMIT", "too many LUKS iterations"),
            (208 + 40, b"\xff" * 4, "Q2_ERR_BAD_HEADER", "ends past the room"),
            (8, b"twofish\0", "Q2_ERR_UNSUPPORTED", "the LUKS cipher is not built in"),
            (40, b"xts-plain\0\0", "Q2_ERR_UNSUPPORTED", "the LUKS cipher is not built in"),
            (72, b"ripemd160\0", "Q2_ERR_UNSUPPORTED", "the LUKS hash is not built in"),
            (112, b"not the digest", "Q2_ERR_ENCRYPTED", "fits no key slot")):
        broken = bytearray(whole)
        broken[at + offset:at + offset + len(value)] = value
        path.write_bytes(broken)
        check_refused(path, WORK / "shared.key", status, text)


def overlay(name, base, passphrase, fmt, writes):
    """An encrypted overlay with some writes of its own: (offset, length, byte)."""
    path = create(name, passphrase, ["cluster_size=4096"], fmt, backing=base)
    secrets = secret(name, passphrase)
    # QEMU asks for the base's passphrase as well; here every layer has the same one.
    options = (f"driver=qcow2,file.filename={path},encrypt.key-secret={name},"
               f"encrypt.format={fmt},backing.driver=qcow2,backing.file.filename={base},"
               f"backing.encrypt.format=luks,backing.encrypt.key-secret={name}")
    for offset, length, byte in writes:
        run("qemu-io", *secrets, "--image-opts", "-c", f"write -q -P {byte} {offset} {length}",
            options)
    return path


def test_luks_chain_of_encrypted_images():
    base = shared()
    # Within a sector, across clusters, over the base's hole, at the very end.
    writes = [(512, 512, 0x11), (70000 // 512 * 512, 9216, 0x22), (HOLE[0] + 4096, 65536, 0x33),
              (SIZE - 1536, 1536, 0x44)]
    want = bytearray(content("shared"))
    for offset, length, byte in writes:
        want[offset:offset + length] = bytes([byte]) * length
    for fmt in ("luks", "aes"):
        path = overlay(f"top-{fmt}", base, b"correct horse", fmt, writes)
        check_reads(path, f"top-{fmt}", bytes(want))
    (WORK / "top-luks.key").write_bytes(b"not the one")
    check_refused(WORK / "top-luks.qcow2", WORK / "top-luks.key", "Q2_ERR_ENCRYPTED", "top-luks")


def test_luks_base_with_another_passphrase_is_named():
    path = create("other-top", b"another", [], backing=shared())
    check_refused(path, WORK / "other-top.key", "Q2_ERR_ENCRYPTED", "shared.qcow2")


def test_luks_external_data_file():
    data = content("data")
    path = create("data", b"pw", ["data_file=data.bin"])
    fill(path, "data", b"pw", data)
    cases.check(data[4096:4112] not in (WORK / "data.bin").read_bytes(), "plaintext")
    check_reads(path, "data", data)


def test_legacy_aes_in_several_cluster_sizes():
    for size in (512, 65536):
        round_trip(f"legacy{size}", [f"cluster_size={size}"], "aes")
    round_trip("legacy-short", [], "aes", b"pw")
    round_trip("legacy-long", [], "aes", b"far more than sixteen bytes")


def test_legacy_aes_needs_a_passphrase():
    path = round_trip("legacy-none", [], "aes")
    check_refused(path, None, "Q2_ERR_ENCRYPTED", "no passphrase was given")


def tool(*words):
    """Run the command without a terminal to ask on."""
    return subprocess.run([str(word) for word in (TOOL, *words)], capture_output=True, text=True,
                          check=False, cwd=WORK, start_new_session=True)


def check_qemu_reads(path, name, fmt, want):
    """qemu-img finds nothing wrong and reads these bytes."""
    raw = WORK / "qemu-read.raw"
    words = [*secret(name, b"correct horse"), "--image-opts", target(path, name, fmt)]
    run("qemu-img", "check", "-q", *words)
    run("qemu-img", "convert", "-O", "raw", *words, raw)
    cases.check(raw.read_bytes() == want, f"qemu-img reads {path.name} differently")


def check_tool_writes(path, name, fmt, want):
    """Within a sector, over clusters, into the hole, at the end."""
    want, source = bytearray(want), WORK / "write.bin"
    for number, (offset, length) in enumerate(((700, 100), (65000, 140000), (HOLE[0] + 5, 3000),
                                               (SIZE - 1000, 1000))):
        data = random.Random(number).randbytes(length)
        source.write_bytes(data)
        want[offset:offset + length] = data
        done = tool("write", "--passphrase-file", WORK / f"{name}.key", offset, path, source)
        cases.check_equal((done.returncode, done.stderr), (0, ""), "write")
    check_qemu_reads(path, name, fmt, bytes(want))


def test_tool_writes_luks():
    path = WORK / "written.qcow2"
    path.write_bytes(shared().read_bytes())
    secret("written", b"correct horse")
    check_tool_writes(path, "written", "luks", content("shared"))


def test_tool_writes_legacy_aes():
    path = round_trip("legacy-written", ["cluster_size=4096"], "aes")
    check_tool_writes(path, "legacy-written", "aes", content("legacy-written"))


def on_terminal(answers, *words):
    """Run the command on a terminal of its own, where a person types an answer at each prompt.

    Returns its exit status and what the terminal showed."""
    child, terminal = pty.fork()
    if child == 0:
        # A shell's background job ignores ^C, and its children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(TOOL, [str(word) for word in (TOOL, *words)])
    answers = list(answers)
    shown = unanswered = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        unanswered += piece
        if unanswered.endswith(b".qcow2: ") and answers:
            unanswered = b""
            os.write(terminal, answers.pop(0))
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_tool_takes_a_passphrase_file():
    data, path, key = content("shared"), shared(), WORK / "shared.key"
    output = WORK / "tool-out.raw"
    done = tool("convert", "--passphrase-file", key, path, output)
    cases.check_equal((done.returncode, done.stderr), (0, ""), "convert")
    cases.check(output.read_bytes() == data, "what convert wrote differs")
    done = tool("compare", "--passphrase-file", key, "--passphrase-file2", key, path, path)
    cases.check_equal((done.returncode, done.stdout), (0, "Images are identical.\n"), "compare")
    done = tool("compare", "-F", "raw", "--passphrase-file", key, path, output)
    cases.check_equal((done.returncode, done.stdout), (0, "Images are identical.\n"), "with raw")


def test_tool_refuses_other_passphrase_files():
    path = shared()
    wrong, output = WORK / "tool-wrong.key", WORK / "tool-none.raw"
    for what, text in ((b"wrong", "the passphrase fits no key slot"),
                       (b"", "the passphrase fits no key slot"),
                       (b"x" * 4097, "too long for a passphrase")):
        wrong.write_bytes(what)
        done = tool("convert", "--passphrase-file", wrong, path, output)
        cases.check_equal(done.returncode, 1, "exit status")
        cases.check(text in done.stderr, f"got {done.stderr!r}, want {text!r}")
    done = tool("convert", "--passphrase-file", WORK / "nowhere", path, output)
    cases.check("nowhere: No such file" in done.stderr, f"got {done.stderr!r}")
    done = tool("convert", path, output)
    cases.check("no passphrase was given" in done.stderr, f"got {done.stderr!r}")
    cases.check(not output.exists(), "a refused image left an output")


def test_tool_asks_on_the_terminal_without_echo():
    data, path = content("shared"), shared()
    output = WORK / "tool-asked.raw"
    status, shown = on_terminal([b"a guess\n", b"correct horse\n"], "convert", path, output)
    cases.check_equal(status, 0, f"exit status ({shown})")
    cases.check(output.read_bytes() == data, "what convert wrote differs")
    cases.check(shown.startswith(f"Passphrase of {path}: "), f"the prompt is {shown!r}")
    cases.check(f"It does not fit. Passphrase of {path}: " in shown, f"second prompt: {shown!r}")
    cases.check("guess" not in shown and "horse" not in shown, f"it was shown: {shown!r}")


def test_tool_prompt_ends_when_the_person_does():
    path = shared()
    output = WORK / "tool-none.raw"
    status, shown = on_terminal([b"\n"], "convert", path, output)
    cases.check_equal(status, 1, "exit status after an empty line")
    cases.check("no passphrase was given" in shown, shown)
    status, shown = on_terminal([b"a\n", b"b\n", b"c\n", b"d\n"], "convert", path, output)
    cases.check_equal((status, shown.count("Passphrase of")), (1, 3), "three tries")
    status, shown = on_terminal([b"half\x03"], "convert", path, output)
    cases.check_equal(status, -signal.SIGINT, f"exit status after ^C ({shown})")
    cases.check("half" not in shown and not output.exists(), shown)


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""Keys of encrypted images, changed by `metalcow amend` and by qemu-img 7.2 side by side: both do
and refuse the same, and each opens what the other has written."""

import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import Failure, check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402
from tools import fs  # noqa: E402

NAMES = [f"s{i}" for i in range(9)]
QUICK = "encrypt.iter-time=10"


def secrets(form="", wish=None):
    """Options that make a secret of each file NAME.key, or of those that a wish names."""
    return [word for name in NAMES if wish is None or f"={name}" in wish
            for word in ("--object", f"secret,id={name},file={name}.key{form}")]


def target(path, name):
    return f"driver=qcow2,file.filename={path},encrypt.key-secret={name}"


def make(folder, *names, size="4M", options=""):
    """Encrypted images with the passphrase of s0, all of them the same file."""
    for name in NAMES:
        (folder.path / f"{name}.key").write_text(f"passphrase {name}")

    def create():
        status, _, err = folder.run(
            "qemu-img", "create", "-q", *secrets(",format=raw"), "-f", "qcow2", "-o",
            f"encrypt.format=luks,encrypt.key-secret=s0,{QUICK}{options}", names[0], size)
        if status != 0:
            raise Failure(err)

    fs.calibrated(create)
    status, _, err = folder.run(
        "qemu-io", *secrets(",format=raw"), "--image-opts", "-c", "write -q -P 7 0 1M",
        target(names[0], "s0"))
    check_equal((status, err), (0, ""), "qemu-io")
    for name in names[1:]:
        (folder.path / name).write_bytes((folder.path / names[0]).read_bytes())


def slots(folder, image):
    """Active slots, as qemu-img tells them."""
    told = json.loads(folder.qemu_img("info", "--output=json", image))
    luks = told["format-specific"]["data"]["encrypt"]["slots"]
    return [i for i, slot in enumerate(luks) if slot["active"]]


def ours(folder, image, key, wish, *flags):
    status, _, err = folder.ours("amend", *secrets(wish=wish), "--key-file", f"{key}.key", *flags,
                                 "-o", wish, image)
    check((status == 0) == (err == ""), f"{wish}: {status} {err}")
    return status, err


def theirs(folder, image, key, wish, *flags):
    def amend():
        status, _, err = folder.run("qemu-img", "amend", *secrets(",format=raw"), *flags,
                                    "--image-opts", target(image, key), "-o", wish)
        if "accurate CPU usage" in err:
            raise Failure(err)
        return status, err

    return fs.calibrated(amend)


def opens(folder, image, key):
    """Do we and QEMU read the image with a passphrase? Both must say the same."""
    status, _, err = folder.run(
        "qemu-io", *secrets(",format=raw"), "--image-opts", "-r", "-c", "read -q -P 7 0 1M",
        target(image, key))
    mine = folder.ours("io", "-r", "-c", "read -q -P 7 0 1M", "--key-file", f"{key}.key", image)
    check_equal(mine[0] == 0, status == 0, f"{image} {key}: {err} {mine}")
    return status == 0


# The passphrase that opens, the options, flags, and what we say if it is refused.
STEPS = [
    ("s0", f"encrypt.state=active,encrypt.new-secret=s1,{QUICK}", (), ""),
    ("s1", f"encrypt.state=active,encrypt.new-secret=s6,encrypt.keyslot=6,{QUICK}", (), ""),
    ("s0", f"encrypt.state=active,encrypt.new-secret=s2,encrypt.keyslot=6,{QUICK}", (),
     "replace its key with --force"),
    ("s0", f"encrypt.state=active,encrypt.new-secret=s2,encrypt.keyslot=6,{QUICK}", ("--force",),
     ""),
    ("s6", "encrypt.state=inactive,encrypt.keyslot=0", (), "the passphrase fits no key slot"),
    ("s0", "encrypt.state=inactive,encrypt.old-secret=s6", (), "opens no key slot"),
    ("s0", "encrypt.state=inactive,encrypt.old-secret=s1,encrypt.keyslot=0", (),
     "does not open this key slot"),
    ("s0", "encrypt.state=inactive,encrypt.keyslot=3", (), "is inactive already"),
    ("s0", "encrypt.state=inactive,encrypt.old-secret=s1", (), ""),
    ("s0", "encrypt.state=inactive,encrypt.old-secret=s2,encrypt.keyslot=6", (), ""),
    ("s0", "encrypt.state=inactive,encrypt.keyslot=0", (), "no key would be left"),
    ("s0", "encrypt.state=inactive,encrypt.old-secret=s0", (), "no key would be left"),
    ("s0", f"encrypt.state=active,encrypt.new-secret=s0,{QUICK}", (), ""),
    ("s0", "encrypt.state=inactive,encrypt.old-secret=s0", (), "no key would be left"),
    ("s0", "encrypt.state=inactive,encrypt.keyslot=1", (), ""),
    ("s0", f"encrypt.state=active,encrypt.new-secret=s3,encrypt.keyslot=0,{QUICK}", ("--force",),
     ""),
    ("s3", "encrypt.state=inactive,encrypt.keyslot=0", ("--force",), ""),
]

WRONG = [
    ("encrypt.new-secret=s1", "needs encrypt.state"),
    (QUICK, "needs encrypt.state"),
    ("encrypt.state=on,encrypt.new-secret=s1", "encrypt.state cannot be 'on'"),
    ("encrypt.state=active", "needs encrypt.new-secret"),
    ("encrypt.state=active,encrypt.new-secret=s1,encrypt.old-secret=s0", "leave it out"),
    ("encrypt.state=inactive,encrypt.new-secret=s1,encrypt.keyslot=0", "leave it out"),
    (f"encrypt.state=inactive,encrypt.keyslot=0,{QUICK}", "leave it out"),
    ("encrypt.state=inactive", "needs encrypt.keyslot=NUMBER or encrypt.old-secret=ID"),
    ("encrypt.state=inactive,encrypt.keyslot=8", "must be 0 to 7"),
    ("encrypt.state=active,encrypt.new-secret=s1,encrypt.keyslot=-1", "needs a number"),
    ("encrypt.state=active,encrypt.new-secret=nobody", "is the id of no secret"),
    ("encrypt.format=luks,encrypt.state=inactive,encrypt.keyslot=0", "there is no option"),
]


def test_keys_are_changed_as_by_qemu_img():
    with tool.Folder("keys") as folder:
        make(folder, "ours.qcow2", "theirs.qcow2")
        for key, wish, flags, words in STEPS:
            want = theirs(folder, "theirs.qcow2", key, wish, *flags)
            got = ours(folder, "ours.qcow2", key, wish, *flags)
            check_equal(got[0], want[0], f"{wish} {flags}: {got} {want}")
            check(words in got[1], f"{wish}: {got[1]!r} does not say {words!r}")
            active = slots(folder, "ours.qcow2")
            check_equal(active, slots(folder, "theirs.qcow2"), wish)
            if not active or got[0] != 0:
                continue
            for name in {"s0", *re.findall(r"s[0-9]", wish)}:
                check_equal(opens(folder, "ours.qcow2", name), opens(folder, "theirs.qcow2", name),
                            f"{name} after {wish}")


def test_options_of_keys_are_refused_as_by_qemu_img():
    with tool.Folder("keys") as folder:
        make(folder, "ours.qcow2", "theirs.qcow2")
        before = (folder.path / "ours.qcow2").read_bytes()
        for wish, words in WRONG:
            check_equal(theirs(folder, "theirs.qcow2", "s0", wish)[0], 1, wish)
            status, err = ours(folder, "ours.qcow2", "s0", wish)
            check(status == 1 and words in err, f"{wish}: {err!r} does not say {words!r}")
        check((folder.path / "ours.qcow2").read_bytes() == before, "a refusal changed the image")


def test_all_slots_are_filled_and_then_full():
    with tool.Folder("keys") as folder:
        make(folder, "full.qcow2")
        for name in NAMES[1:8]:
            wish = f"encrypt.state=active,encrypt.new-secret={name},{QUICK}"
            check_equal(ours(folder, "full.qcow2", "s0", wish), (0, ""), name)
        check_equal(slots(folder, "full.qcow2"), list(range(8)), "slots")
        wish = f"encrypt.state=active,encrypt.new-secret=s8,{QUICK}"
        check("all key slots are in use" in ours(folder, "full.qcow2", "s0", wish)[1], "full")
        check_equal(theirs(folder, "full.qcow2", "s0", wish)[0], 1, "full")
        wish += ",encrypt.keyslot=2"
        check_equal(ours(folder, "full.qcow2", "s0", wish, "--force"), (0, ""), "replace")
        for name in NAMES:
            check_equal(opens(folder, "full.qcow2", name), name != "s2", name)


def test_other_suites_and_longer_headers():
    for number, options in enumerate((",encrypt.cipher-alg=aes-128,encrypt.hash-alg=sha1",
                                      ",encrypt.hash-alg=sha512,encrypt.ivgen-alg=essiv,"
                                      "encrypt.cipher-mode=cbc,encrypt.ivgen-hash-alg=sha256",
                                      ",cluster_size=2M")):
        with tool.Folder(f"keys{number}") as folder:
            make(folder, "suite.qcow2", options=options)
            wish = f"encrypt.state=active,encrypt.new-secret=s1,encrypt.keyslot=7,{QUICK}"
            check_equal(ours(folder, "suite.qcow2", "s0", wish), (0, ""), options)
            check(opens(folder, "suite.qcow2", "s0") and opens(folder, "suite.qcow2", "s1"),
                  options)


def test_other_amendments_come_along():
    with tool.Folder("keys") as folder:
        make(folder, "both.qcow2")
        wish = f"lazy_refcounts=on,encrypt.state=active,encrypt.new-secret=s1,{QUICK}"
        check_equal(ours(folder, "both.qcow2", "s0", wish), (0, ""), wish)
        check_equal(slots(folder, "both.qcow2"), [0, 1], wish)
        before = (folder.path / "both.qcow2").read_bytes()
        for wish, words in (
                (f"compat=0.10,refcount_bits=32,encrypt.state=active,encrypt.new-secret=s1,{QUICK}",
                 "refcounts of version 2"),
                ("lazy_refcounts=off,encrypt.state=inactive,encrypt.keyslot=5", "inactive already"),
                ("size=8M,encrypt.state=inactive,encrypt.keyslot=1", "run amend twice")):
            status, err = ours(folder, "both.qcow2", "s0", wish)
            check(status == 1 and words in err, f"{wish}: {err!r} does not say {words!r}")
        check((folder.path / "both.qcow2").read_bytes() == before, "a refusal changed the image")


def test_secrets_and_images_that_do_not_fit():
    with tool.Folder("keys") as folder:
        make(folder, "image.qcow2")
        folder.qemu_img("create", "-q", "-f", "qcow2", "plain.qcow2", "1M")
        (folder.path / "long").write_bytes(b"x" * 5000)
        wish = ["-o", f"encrypt.state=active,encrypt.new-secret=n,{QUICK}", "--key-file", "s0.key"]
        for words, said in (
                (["--object", "secret,id=n", *wish, "image.qcow2"], "one of file=FILE and data="),
                (["--object", "iothread,id=n", *wish, "image.qcow2"], "is no secret"),
                (["--object", "secret,id=n,file=long", *wish, "image.qcow2"], "too long"),
                (["--object", "secret,id=n,data=x,format=base64", *wish, "image.qcow2"],
                 "give raw"),
                (["--object", "secret,id=n,data=x,iv=y", *wish, "image.qcow2"], "has no 'iv'"),
                (["--object", "secret,id=n,data=x"] * 2 + [*wish, "image.qcow2"],
                 "two secrets have the id 'n'"),
                (["--object", "secret,id=n,data=x"] * 9 + [*wish, "image.qcow2"],
                 "--object is given too often; the most is 8 times"),
                (["--object", "secret,id=n,data=x", *wish, "plain.qcow2"],
                 "not encrypted with LUKS"),
                (["--force", "-o", "lazy_refcounts=on", "plain.qcow2"], "are for keys")):
            status, _, err = folder.ours("amend", *words)
            check(status == 1 and said in err, f"{words}: {err!r} does not say {said!r}")
        folder.good("amend", "--object", "secret,id=n,data=a,,b", *wish, "image.qcow2")
        (folder.path / "s1.key").write_text("a,b")
        check(opens(folder, "image.qcow2", "s1"), "data with a comma")


if __name__ == "__main__":
    main(globals())

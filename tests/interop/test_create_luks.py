#!/usr/bin/python3
"""Encrypted images made by `metalcow create` and `convert`, beside those of qemu-img 7.2: the same
options, fields and refusals, and each program reads, writes and amends what the other has made."""

import json
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import Failure, check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402
from tools import fs  # noqa: E402

SECRET = ("--object", "secret,id=s,file=s.key")
RAW_SECRET = ("--object", "secret,id=s,file=s.key,format=raw")
LUKS = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
ESSIV = "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv"

SUITES = [
    "",
    "encrypt.cipher-alg=aes-128",
    "encrypt.cipher-alg=aes-256,encrypt.cipher-mode=xts,encrypt.ivgen-alg=plain64",
    "encrypt.hash-alg=sha1",
    "encrypt.hash-alg=sha512,encrypt.cipher-mode=cbc",
    f"encrypt.cipher-alg=aes-128,{ESSIV}",
    f"{ESSIV},encrypt.ivgen-hash-alg=sha256",
    "encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.hash-alg=sha256",
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=2M,refcount_bits=1",
    "extended_l2=on,compression_type=zstd,lazy_refcounts=on",
]
CONVERTED = SUITES[0], SUITES[5]  # by qemu-img too, which measures for seconds each time


def with_luks(options):
    return f"{LUKS},{options}" if options else LUKS


class Keys(tool.Folder):
    """A folder with the passphrases s.key and t.key."""

    def __enter__(self):
        super().__enter__()
        (self.path / "s.key").write_text("the passphrase")
        (self.path / "t.key").write_text("another one")
        return self

    def theirs(self, *arguments):
        """qemu-img, again if it could not measure its own speed: status, stdout, stderr."""
        def once():
            answer = self.run("qemu-img", *arguments)
            if "accurate CPU usage" in answer[2]:
                raise Failure(answer[2])
            return answer

        return fs.calibrated(once)

    def exists(self, name):
        return (self.path / name).exists()

    def bytes(self, name):
        return (self.path / name).read_bytes()

    def make(self, name, options, *more):
        """An image of ours, of 3 MiB."""
        self.good("create", "-q", *SECRET, "-f", "qcow2", "-o", with_luks(options), *more, name,
                  "3M")

    def create(self, name, options):
        """One with each program: NAME and their-NAME. qemu-img measures itself for seconds."""
        self.make(name, options)
        status, _, err = self.theirs("create", "-q", *RAW_SECRET, "-f", "qcow2", "-o",
                                     with_luks(options), f"their-{name}", "3M")
        check_equal((status, err), (0, ""), options)

    def io(self, name, *commands, key="s"):
        words = [word for command in commands for word in ("-c", command)]
        status, out, err = self.run(
            "qemu-io", "--object", f"secret,id=k,file={key}.key,format=raw", "--image-opts", *words,
            f"driver=qcow2,file.filename={name},encrypt.key-secret=k")
        return status == 0 and not err and "verification failed" not in out


def fields(folder, name, program="qemu-img"):
    """What an image says about itself, without what is random or measured."""
    told = json.loads(folder.run(program, "info", "--output=json", name)[1])
    luks = told["format-specific"]["data"]["encrypt"]
    for key in ("filename", "actual-size"):
        del told[key]
    check(luks.pop("uuid")[14] == "4", "a random UUID has version 4")
    check(luks.pop("master-key-iters") >= 1000 and luks["slots"][0].pop("iters") >= 1000, "iters")
    return told


def image_opts(name):
    return f"driver=qcow2,file.filename={name},encrypt.key-secret=s"


def check_fields(folder, options):
    want = fields(folder, "their-a.qcow2")
    check_equal(fields(folder, "a.qcow2"), want, options)
    ours = fields(folder, "a.qcow2", tool.METALCOW)
    check_equal(ours["format-specific"], want["format-specific"], options)
    check_equal(folder.run("qemu-img", "check", "-q", *RAW_SECRET, "--image-opts",
                           image_opts("a.qcow2")), (0, "", ""), options)
    check_equal(folder.good("check", "-q", "a.qcow2"), "", options)


def check_turns(folder, options):
    """What each program writes the other reads, and nothing is readable in the file."""
    check(folder.io("a.qcow2", "read -P 0 0 3M", "write -P 7 5k 1M"), options)
    folder.good("io", "--key-file", "s.key", "-c", "read -q -P 7 5k 1M", "-c",
                "read -q -P 0 1536k 1M", "-c", "write -q -P 9 2M 100k", "a.qcow2")
    check(folder.io("a.qcow2", "read -P 7 5k 1M", "read -P 9 2M 100k"), options)
    check(not folder.io("a.qcow2", "read 0 512", key="t"), options)
    check(bytes([7]) * 512 not in folder.bytes("a.qcow2"), "the disk is not in the file")
    check_equal(folder.good("check", "-q", "a.qcow2"), "", options)


def test_images_of_every_suite_are_as_qemu_imgs():
    for options in SUITES:
        with Keys("suites") as folder:
            folder.create("a.qcow2", options)
            check_fields(folder, options)
            check_turns(folder, options)


def test_wrong_and_missing_passphrases_open_nothing():
    with Keys("wrong") as folder:
        folder.make("a.qcow2", "")
        for words in (("--key-file", "t.key"), ()):
            status, _, err = folder.ours("read", *words, "0", "512", "a.qcow2")
            check(status == 1 and "passphrase" in err, f"{words}: {err}")


def test_formatting_line_is_qemu_imgs():
    with Keys("line") as folder:
        for options in ("", f"{ESSIV},encrypt.ivgen-hash-alg=sha256,encrypt.hash-alg=sha1,"
                            "encrypt.cipher-alg=aes-128,cluster_size=4k"):
            words = ("create", *SECRET, "-f", "qcow2", "-o", with_luks(options), "a.qcow2", "1M")
            want = folder.theirs("create", *RAW_SECRET, *words[3:])
            check_equal(folder.ours(*words), want, options)


def test_data_files_and_backing_files():
    with Keys("files") as folder:
        folder.make("base.qcow2", "")
        check(folder.io("base.qcow2", "write -P 3 0 3M"), "base")
        folder.make("d.qcow2", "data_file=d.data")
        check(folder.io("d.qcow2", "write -P 7 0 1M", "read -P 0 1M 2M"), "data file")
        folder.good("io", "--key-file", "s.key", "-c", "read -q -P 7 0 1M", "d.qcow2")
        check(bytes([7]) * 512 not in folder.bytes("d.data"), "the data file is encrypted")
        folder.qemu_img("create", "-q", "-f", "qcow2", "plain.qcow2", "3M")
        folder.qemu_io("qcow2", "plain.qcow2", "write -P 5 0 3M")
        folder.make("top.qcow2", "", "-b", "plain.qcow2", "-F", "qcow2")
        check(folder.io("top.qcow2", "write -P 6 1M 1M", "read -P 5 0 1M", "read -P 5 2M 1M"), "")
        folder.good("io", "--key-file", "s.key", "-c", "read -q -P 6 1M 1M", "top.qcow2")


def test_every_image_has_a_key_of_its_own():
    with Keys("random") as folder:
        told = []
        for name in ("a.qcow2", "b.qcow2"):
            folder.good("create", "-q", *SECRET, "-f", "qcow2", "-o", LUKS, name, "1M")
            header = folder.bytes(name)[4 << 16:]
            check_equal(header[:6], b"LUKS\xba\xbe", "where the header is stored")
            # Digest, its salt, the UUID, the slot's salt, and pieces of the key material.
            told.append([header[112:132], header[132:164], header[168:204], header[216:248],
                         header[4096:4112], header[4096 + 255984:4096 + 256000]])
        for one, other in zip(*told):
            check(one != other and any(one) and any(other), f"{one} {other}")


def test_iterations_follow_iter_time():
    with Keys("time") as folder:
        def iterations(ms):
            folder.good("create", "-q", *SECRET, "-f", "qcow2", "-o",
                        f"encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time={ms}",
                        "a.qcow2", "1M")
            told = json.loads(folder.qemu_img("info", "--output=json", "a.qcow2"))
            luks = told["format-specific"]["data"]["encrypt"]
            return luks["slots"][0]["iters"], luks["master-key-iters"]

        check_equal(iterations(0), (1000, 1000), "the least")
        one, two = iterations(100), iterations(1000)
        check(two[0] > 3 * one[0] and two[1] > 3 * one[1], f"{one} {two}")


def make_source(folder):
    """3 MiB with holes, zeros and random bytes."""
    chooser = random.Random(31)
    data = bytearray(3 << 20)
    for _ in range(12):
        at = chooser.randrange(2 << 20)
        length = chooser.randrange(1, 200000)
        data[at:at + length] = chooser.randbytes(length)
    (folder.path / "src.raw").write_bytes(data)


def test_convert_to_and_from_encrypted():
    for options in SUITES:
        with Keys("convert") as folder:
            make_source(folder)
            folder.good("convert", *SECRET, "-f", "raw", "-O", "qcow2", "-o", with_luks(options),
                        "src.raw", "a.qcow2")
            names = ["a.qcow2"]
            if options in CONVERTED:
                status, _, err = folder.theirs("convert", *RAW_SECRET, "-f", "raw", "-O", "qcow2",
                                               "-o", with_luks(options), "src.raw", "b.qcow2")
                check_equal((status, err), (0, ""), options)
                names.append("b.qcow2")
            for name in names:
                folder.qemu_img("convert", *RAW_SECRET, "--image-opts", "-O", "raw",
                                image_opts(name), "theirs.raw")
                folder.good("convert", "--key-file", "s.key", "-O", "raw", name, "ours.raw")
                check(folder.bytes("theirs.raw") == folder.bytes("src.raw"), f"{name} {options}")
                check(folder.bytes("ours.raw") == folder.bytes("src.raw"), f"{name} {options}")
                check_equal(folder.good("check", "-q", name), "", name)


def test_convert_from_encrypted_to_encrypted():
    """The input has its own passphrase."""
    with Keys("again") as folder:
        make_source(folder)
        folder.good("convert", "--object", "secret,id=s,data=another one", "-f", "raw", "-O",
                    "qcow2", "-o", LUKS, "src.raw", "t.qcow2")
        folder.good("convert", "--key-file", "t.key", *SECRET, "-O", "qcow2", "-o", LUKS, "t.qcow2",
                    "s.qcow2")
        folder.qemu_img("convert", *RAW_SECRET, "--image-opts", "-O", "raw", image_opts("s.qcow2"),
                        "back.raw")
        check(folder.bytes("back.raw") == folder.bytes("src.raw"), "content")
        check(folder.io("t.qcow2", "read 0 512", key="t"), "the input's passphrase")
        check(not folder.io("s.qcow2", "read 0 512", key="t"), "the output has its own")


def test_convert_above_a_backing_file():
    with Keys("above") as folder:
        make_source(folder)
        folder.qemu_img("convert", "-f", "raw", "-O", "qcow2", "src.raw", "base.qcow2")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2",
                        "top.qcow2")
        folder.qemu_io("qcow2", "top.qcow2", "write -P 8 1M 300k")
        folder.good("convert", *SECRET, "-O", "qcow2", "-o", LUKS, "-B", "base.qcow2", "-F",
                    "qcow2", "top.qcow2", "a.qcow2")
        folder.qemu_img("compare", "-q", *RAW_SECRET, "--image-opts", "driver=qcow2,"
                        "file.filename=top.qcow2", image_opts("a.qcow2"))
        check(len(folder.bytes("a.qcow2")) < 3 << 20, "only what the base does not have is copied")


def test_keys_are_amended_by_each_program():
    """A new image has its passphrase in slot 0 and room in seven slots."""
    with Keys("amend") as folder:
        folder.make("a.qcow2", "encrypt.cipher-alg=aes-128")
        wish = "encrypt.state=active,encrypt.new-secret=t,encrypt.iter-time=10"
        folder.good("amend", "--object", "secret,id=t,file=t.key", "--key-file", "s.key", "-o",
                    f"{wish},encrypt.keyslot=7", "a.qcow2")
        status, _, err = folder.theirs(
            "amend", *RAW_SECRET, "--object", "secret,id=t,file=t.key,format=raw", "--image-opts",
            image_opts("a.qcow2"), "-o", f"{wish},encrypt.keyslot=3")
        check_equal((status, err), (0, ""), "amend")
        status, _, err = folder.theirs("amend", *RAW_SECRET, "--image-opts", image_opts("a.qcow2"),
                                       "-o", "encrypt.state=inactive,encrypt.keyslot=0")
        check_equal((status, err), (0, ""), "amend")
        check(folder.io("a.qcow2", "read -P 0 0 3M", key="t"), "the new passphrase")
        check(not folder.io("a.qcow2", "read 0 512"), "the old passphrase")
        check_equal(folder.good("check", "-q", "a.qcow2"), "", "check")


# What is wrong, whether it has the secret, and our words; qemu-img refuses all of these.
REFUSED = [
    ("encrypt.format=luks", True, "needs encrypt.key-secret=ID"),
    ("encrypt.key-secret=s", True, "need encrypt.format=luks"),
    ("encrypt.cipher-alg=aes-128", True, "need encrypt.format=luks"),
    ("encrypt.format=luks,encrypt.key-secret=s", False, "s is the id of no secret"),
    ("encrypt.format=luks,encrypt.key-secret=nobody", True, "nobody is the id of no secret"),
    ("encrypt.format=some,encrypt.key-secret=s", True, "cannot be 'some'; give one of: luks"),
    (f"{LUKS},encrypt.cipher-alg=rot13", True, "give one of: aes-128 aes-256"),
    (f"{LUKS},encrypt.cipher-mode=none", True, "give one of: cbc xts"),
    (f"{LUKS},encrypt.hash-alg=crc", True, "give one of: sha1 sha256 sha512"),
    (f"{LUKS},encrypt.ivgen-alg=random", True, "give one of: essiv plain64"),
    (f"{LUKS},encrypt.iter-time=long", True, "needs a number"),
    (f"{LUKS},encrypt.state=active", True, "there is no option 'encrypt.state'"),
    ("encryption=on", True, "insecure"),
]
# What qemu-img makes and the engine cannot read or write, or what is insecure.
NOT_MADE = [
    ("encrypt.format=aes,encrypt.key-secret=s", "insecure; give encrypt.format=luks"),
    (f"{LUKS},encrypt.cipher-alg=serpent-256", "give one of: aes-128 aes-256"),
    (f"{LUKS},encrypt.cipher-alg=aes-192", "give one of: aes-128 aes-256"),
    (f"{LUKS},encrypt.hash-alg=sha224", "give one of: sha1 sha256 sha512"),
    (f"{LUKS},encrypt.ivgen-alg=essiv", "needs encrypt.cipher-mode=cbc"),
    (f"{LUKS},encrypt.ivgen-hash-alg=sha256", "is for encrypt.ivgen-alg=essiv"),
    (f"{LUKS},{ESSIV},encrypt.ivgen-hash-alg=sha1", "give one of: sha256"),
    (f"{LUKS},preallocation=metadata", "cannot be preallocated"),
    (f"{LUKS},data_file=d,data_file_raw=on", "cannot be encrypted"),
    ("encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=4000000000",
     "too many LUKS iterations; give a smaller encrypt.iter-time"),
]


def refused(folder, words, said):
    """Exit status 1, one sentence, no new file, and a file that is there keeps its bytes."""
    names = sorted(path.name for path in folder.path.iterdir())
    status, _, err = folder.ours(*words)
    check(status == 1 and said in err and err.count("\n") == 1, f"{words}: {status} {err!r}")
    check_equal(sorted(path.name for path in folder.path.iterdir()), names, words)
    check_equal(folder.bytes("old.qcow2"), b"something that was there", words)


def test_refusals_leave_nothing_behind():
    with Keys("refuse") as folder:
        (folder.path / "old.qcow2").write_text("something that was there")
        (folder.path / "src.raw").write_bytes(bytes(1 << 20))
        (folder.path / "long.key").write_bytes(b"x" * 5000)
        rows = [(options, SECRET if secret else (), said) for options, secret, said in REFUSED]
        rows += [(options, SECRET, said) for options, said in NOT_MADE]
        rows += [("", SECRET, "--object is for encrypt.key-secret"),
                 (LUKS, ("--object", "secret,id=s,file=gone.key"), "gone.key: "),
                 (LUKS, ("--object", "secret,id=s,file=long.key"), "too long"),
                 (LUKS, ("--object", "secret,id=s"), "one of file=FILE and data=")]
        for options, secret, said in rows:
            for name in ("new.qcow2", "old.qcow2"):
                refused(folder, ["create", "-q", *secret, "-f", "qcow2", "-o", options, name, "1M"],
                        said)
                refused(folder, ["convert", *secret, "-f", "raw", "-O", "qcow2", "-o", options,
                                 "src.raw", name], said)
        refused(folder, ["convert", "-c", *SECRET, "-f", "raw", "-O", "qcow2", "-o", LUKS,
                         "src.raw", "new.qcow2"], "-c) cannot be encrypted")
        refused(folder, ["convert", "-n", *SECRET, "-f", "raw", "-O", "qcow2", "src.raw",
                         "old.qcow2"], "--object is for encrypt.key-secret")
        refused(folder, ["create", "-q", *SECRET, "-f", "raw", "-o", LUKS, "new.raw", "1M"],
                "there is no option 'encrypt.format'")
        refused(folder, ["create", "-q", *SECRET, "-f", "qcow2", "-o", LUKS, "nowhere/new", "1M"],
                "the folder does not exist")


def test_qemu_img_refuses_the_same():
    with Keys("both") as folder:
        for options, secret, _ in REFUSED:
            status, _, err = folder.theirs("create", "-q", *(RAW_SECRET if secret else ()), "-f",
                                           "qcow2", "-o", options, "new.qcow2", "1M")
            check(status == 1 and err, f"{options}: {status}")


def measured(folder, *arguments):
    answers = []
    for program, secret in ((folder.theirs, RAW_SECRET), (folder.ours, SECRET)):
        status, out, _ = program("measure", "--output=json", "-O", "qcow2", *secret, *arguments)
        answers.append(json.loads(out) if status == 0 else status)
    return answers


def test_measure_counts_the_header():
    with Keys("measure") as folder:
        make_source(folder)
        for options in (*SUITES[:2], SUITES[6], SUITES[9], "cluster_size=2M,refcount_bits=64"):
            theirs, ours = measured(folder, "-o", with_luks(options), "--size", "1G")
            check_equal(ours, theirs, options)
        theirs, ours = measured(folder, "-o", LUKS, "-f", "raw", "src.raw")
        check_equal(ours, theirs, "a file")
        for options in ("encrypt.format=luks", "encrypt.format=luks,encrypt.key-secret=nobody"):
            check_equal(measured(folder, "-o", options, "--size", "1G"), [1, 1], options)


if __name__ == "__main__":
    main(globals())

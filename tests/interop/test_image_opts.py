#!/usr/bin/python3
"""--image-opts, --target-image-opts, --object and -r of each verb, beside those of qemu-img 7.2."""

import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop.tool import METALCOW, Folder, flags_of  # noqa: E402

O_DSYNC = 0o10000
SECRET = ("--object", "secret,id=s,file=key")
PLAIN = "driver=qcow2,file.filename=plain.qcow2"
LOCKED = "driver=qcow2,file.driver=file,file.filename=locked.qcow2,encrypt.key-secret=s"


class Images(Folder):
    """base.raw below plain.qcow2 (4 MiB), locked.qcow2 (the same, encrypted), pair.qcow2 with
    pair.data, and the passphrase in key."""

    def __enter__(self):
        super().__enter__()
        (self.path / "key").write_text("the passphrase")
        (self.path / "base.raw").write_bytes(b"\3" * (4 << 20))
        self.qemu_img("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "plain.qcow2")
        self.qemu_io("qcow2", "plain.qcow2", "write -q -P 7 64k 1M")
        self.good("convert", *SECRET, "-O", "qcow2", "-o", "encrypt.format=luks,"
                  "encrypt.key-secret=s,encrypt.iter-time=10", "plain.qcow2", "locked.qcow2")
        self.qemu_img("create", "-q", "-f", "qcow2", "-o", "data_file=pair.data", "pair.qcow2",
                      "1M")
        self.qemu_io("qcow2", "pair.qcow2", "write -q -P 9 0 1M")
        return self

    def both(self, *words):
        """What metalcow says, after it was found to be what qemu-img says."""
        want = self.run("qemu-img", *words)
        check_equal(self.run(METALCOW, *words), want, " ".join(words))
        return want

    def refused(self, text, *words):
        status, _, err = self.ours(*words)
        check(status == 1 and text in err, f"{words}: {err}")

    def bytes(self, name):
        return (self.path / name).read_bytes()


def test_verbs_that_read_take_image_opts():
    with Images("opts-read") as folder:
        for verb in (("check",), ("map", "--output=json"), ("snapshot", "-l"),
                     ("measure", "-O", "qcow2"), ("measure", "-O", "qcow2", "--output=json")):
            folder.both(*verb, "--image-opts", PLAIN)
        folder.both("map", "--output=json", "--image-opts", "driver=raw,file.filename=base.raw")
        for name in ("driver=file,filename=base.raw", "file.filename=plain.qcow2", PLAIN):
            check_equal(folder.good("info", "--image-opts", name),
                        folder.good("info", name.rpartition("=")[2]), name)
        folder.good("bench", "-q", "-c", "1", "--image-opts", PLAIN)
        folder.both("compare", "--image-opts", PLAIN, f"{PLAIN},backing.driver=raw")
        check("raw" in folder.good("info", "--image-opts", "driver=raw,file.filename=plain.qcow2"),
              "the driver that is stated is taken")


def test_verbs_that_change_take_image_opts():
    with Images("opts-change") as folder:
        folder.both("resize", "--image-opts", PLAIN, "5M")
        folder.both("snapshot", "--image-opts", "-c", "first", PLAIN)
        folder.both("amend", "--image-opts", "-o", "lazy_refcounts=on", PLAIN)
        folder.good("bitmap", "--image-opts", "--add", PLAIN, "bits")
        folder.good("bitmap", "--image-opts", "--remove", PLAIN, "bits")
        folder.both("commit", "--image-opts", PLAIN)
        check_equal(folder.bytes("base.raw")[:1 << 20], b"\3" * 65536 + b"\7" * ((1 << 20) - 65536),
                    "committed")
        folder.both("rebase", "--image-opts", "-u", "-b", "", PLAIN)
        folder.refused("read-only=on does not go with a change", "resize", "--image-opts",
                       f"{PLAIN},read-only=on", "6M")


def test_convert_and_dd_take_image_opts():
    with Images("opts-convert") as folder:
        want = b"\3" * 65536 + b"\7" * (1 << 20) + b"\3" * ((3 << 20) - 65536)
        folder.good("convert", "-O", "raw", "--image-opts", PLAIN, "one.raw")
        check(folder.bytes("one.raw") == want, "one input")
        folder.good("convert", "-O", "raw", *SECRET, "--image-opts", PLAIN, LOCKED, "two.raw")
        check(folder.bytes("two.raw") == want * 2, "two inputs, one of them encrypted")
        folder.good("dd", "--image-opts", f"if={PLAIN}", "of=dd.raw", "bs=64k", "count=2")
        check(folder.bytes("dd.raw") == want[:131072], "dd")
        (folder.path / "pair.data").rename(folder.path / "moved.data")
        folder.good("convert", "-O", "raw", "--image-opts", "driver=qcow2,file.filename=pair.qcow2,"
                    "data-file.filename=moved.data", "pair.raw")
        check(folder.bytes("pair.raw") == b"\t" * (1 << 20), "the data file that is named")
        (folder.path / "other.raw").write_bytes(b"\5" * (4 << 20))
        folder.good("convert", "-O", "raw", "--image-opts",
                    f"{PLAIN},backing.driver=raw,backing.file.filename=other.raw", "other.out")
        check(folder.bytes("other.out") == want.replace(b"\3", b"\5"), "the backing file")


def test_backing_files_further_down_are_named():
    with Images("opts-deep") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "plain.qcow2", "-F", "qcow2",
                        "top.qcow2")
        (folder.path / "other.raw").write_bytes(b"\5" * (4 << 20))
        folder.good("convert", "-O", "raw", "--image-opts", "driver=qcow2,file.filename=top.qcow2,"
                    "backing.backing.file.filename=other.raw", "out.raw")
        check(folder.bytes("out.raw") == b"\5" * 65536 + b"\7" * (1 << 20) +
              b"\5" * ((3 << 20) - 65536), "the file two layers down")


def without_format(folder, name):
    """Take the backing format out of an image: the extension gets another, unknown type."""
    data = bytearray(folder.bytes(name))
    at = data.index(bytes.fromhex("e2792aca"))
    data[at:at + 4] = b"none"
    (folder.path / name).write_bytes(data)


def test_the_driver_of_each_file_is_its_own():
    """One that counted for all files had commit write over a qcow2 image as if it were raw."""
    with Images("opts-driver") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "plain.qcow2", "-F", "qcow2",
                        "top.qcow2")
        folder.qemu_io("qcow2", "top.qcow2", "write -q -P 4 0 64k")
        want = b"\4" * 65536 + b"\7" * (1 << 20) + b"\3" * ((3 << 20) - 65536)
        for name in ("plain.qcow2", "top.qcow2"):
            without_format(folder, name)
        drivers = ("driver=qcow2,file.filename=top.qcow2,backing.driver=qcow2,"
                   "backing.backing.driver=raw")
        folder.good("convert", "-O", "raw", "--image-opts", drivers, "out.raw")
        check(folder.bytes("out.raw") == want, "convert")
        folder.good("convert", "-O", "raw", "--image-opts", f"{drivers},backing.file.filename="
                    "plain.qcow2,backing.backing.file.filename=base.raw", "out.raw")
        check(folder.bytes("out.raw") == want, "with names")
        said = folder.good("info", "--backing-chain", "--image-opts", drivers)
        check_equal(said.count("image: "), 3, "info")
        folder.good("commit", "--image-opts", drivers)
        check_equal(folder.bytes("plain.qcow2")[:4], b"QFI\xfb", "the file is still an image")
        folder.good("convert", "-O", "raw", "--image-opts", drivers.replace(
            "backing.driver=qcow2,backing.backing", "backing").replace("top", "plain"), "out.raw")
        check(folder.bytes("out.raw") == want, "committed")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "pair.qcow2", "-F", "qcow2",
                        "stated.qcow2")
        folder.refused("states another format of this file than backing.driver", "map",
                       "--image-opts", "file.filename=stated.qcow2,backing.driver=raw")


def test_commit_finds_files_that_were_moved():
    with Images("opts-moved") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "plain.qcow2", "-F", "qcow2",
                        "top.qcow2")
        folder.qemu_io("qcow2", "top.qcow2", "write -q -P 4 0 64k")
        (folder.path / "base.raw").rename(folder.path / "moved.raw")
        for opts in (("--image-opts", "driver=qcow2,file.filename=top.qcow2,"
                      "backing.backing.file.filename=moved.raw"),
                     ("--backing-file", "plain.qcow2", "--backing-file", "moved.raw",
                      "top.qcow2")):
            folder.good("commit", "-d", *opts)
        folder.good("convert", "-O", "raw", "--backing-file", "moved.raw", "plain.qcow2", "out.raw")
        check(folder.bytes("out.raw")[:65537] == b"\4" * 65536 + b"\7", "committed")


def test_names_are_taken_as_they_are():
    with Images("opts-names") as folder:
        for number, name in enumerate(("file:a.raw", "json:{}", "a:b/c.raw"), 1):
            (folder.path / name).parent.mkdir(exist_ok=True)
            (folder.path / name).write_bytes(bytes([number]) * 1024)
            (folder.path / name.partition(":")[2]).parent.mkdir(exist_ok=True)
            folder.good("convert", "-O", "raw", "--image-opts", f"driver=raw,file.filename={name}",
                        "out.raw")
            check(folder.bytes("out.raw") == folder.bytes(name), name)
        (folder.path / "a.raw").write_bytes(bytes(1024))
        folder.good("convert", "-n", "-f", "raw", "--target-image-opts", "out.raw",
                    "driver=raw,file.filename=file:a.raw")
        check(folder.bytes("file:a.raw") == folder.bytes("a:b/c.raw"), "the output that is named")
        check(folder.bytes("a.raw") == bytes(1024), "the other one")


def test_each_image_of_compare_has_its_own_options():
    with Images("opts-compare") as folder:
        for name in ("one.qcow2", "two.qcow2"):
            folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "plain.qcow2", "-F", "qcow2", name)
            without_format(folder, name)
        names = [f"driver=qcow2,file.filename={name}.qcow2,backing.driver={driver}"
                 for name, driver in (("one", "qcow2"), ("two", "raw"))]
        for pair in (names, names[::-1]):
            folder.both("compare", "--image-opts", *pair)


def opened_durable(folder, *words):
    """Whether io has plain.qcow2 open so that each write is durable."""
    with subprocess.Popen([str(METALCOW), "io", *words], cwd=folder.path, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("length\n")
        process.stdin.flush()
        process.stdout.readline()  # it has opened the file
        flags = flags_of(process, folder.path / "plain.qcow2")
        process.stdin.close()
    return bool(flags & O_DSYNC)


def test_direct_leaves_writethrough_alone():
    with Images("opts-cache") as folder:
        for cache, key, want in (("writethrough", "on", True), ("writethrough", "off", True),
                                 ("directsync", "off", True), ("none", "off", False),
                                 ("writeback", "on", False)):
            check_equal(opened_durable(folder, "-t", cache, "--image-opts",
                                       f"{PLAIN},cache.direct={key}"), want, f"{cache} {key}")


def test_secrets_are_not_printed():
    with Images("opts-shown") as folder:
        for text in ("secret,data=TOPSECRET", "secrt,id=a,data=TOPSECRET",
                     "secret,id=a,file=x,data=TOPSECRET", "qom-type=secret,id=s,data=TOPSECRET",
                     '{"qom-type":"secret","id":"s","data":"TOPSECRET"}',
                     "secret,id=s,data=" + "TOPSECRET" * 1000):
            status, out, err = folder.ours("map", "--object", text, "--image-opts", LOCKED)
            check_equal((status, out), (1, ""), text[:40])
            check("TOPSECRET" not in err and "metalcow: " in err, err)


def test_io_opens_by_image_opts():
    with Images("opts-io") as folder:
        out = folder.good("io", *SECRET, "--image-opts", "-c", f"open {LOCKED}", "-c", "length",
                          "-c", "close", "-c", f"open {PLAIN}", "-c", "length")
        check_equal(out, "4 MiB\n4 MiB\n", "io")
        out = folder.good("io", *SECRET, "-c", "open -o encrypt.key-secret=s locked.qcow2", "-c",
                          "length")
        check_equal(out, "4 MiB\n", "open -o")
        status, _, err = folder.ours("io", "-c", "open -o file.filename=plain.qcow2", "-c",
                                     "write -q 8M 512")
        check(status == 1 and "AddressSanitizer" not in err, err)


def test_target_image_opts_write_into_what_exists():
    with Images("opts-target") as folder:
        words = ("convert", "-n", *SECRET, "-f", "raw", "--target-image-opts", "base.raw")
        folder.both(*words, LOCKED)
        folder.good("compare", "-q", *SECRET, "--image-opts", LOCKED,
                    "driver=raw,file.filename=base.raw")
        (folder.path / "there.raw").write_bytes(b"\1" * (4 << 20))
        folder.both(*words, "driver=raw,file.filename=there.raw")
        check(folder.bytes("there.raw") == folder.bytes("base.raw"), "a raw output")
        for text, target in (("the output is written to", f"{LOCKED},read-only=on"),
                             ("the output's format is not given", "file.filename=locked.qcow2"),
                             ("a raw output has no data file",
                              "driver=raw,file.filename=pair.data,encrypt.key-secret=s")):
            folder.refused(text, *words, target)
        folder.refused("it needs -n", "convert", "--target-image-opts", "base.raw", PLAIN)
        folder.refused("exclude each other", *words[:2], "-O", "qcow2", *words[2:], LOCKED)


def test_secrets_open_encrypted_images():
    with Images("opts-secret") as folder:
        for verb in (("check",), ("snapshot", "-l"), ("measure", "-O", "raw")):
            folder.both(*verb, *SECRET, "--image-opts", LOCKED)
        folder.good("compare", "-q", *SECRET, "--image-opts", LOCKED, PLAIN)
        folder.good("compare", "-q", "--object", "secret,id=s,data=the passphrase", "--image-opts",
                    PLAIN, LOCKED)
        folder.good("resize", *SECRET, "--image-opts", LOCKED, "5M")
        folder.good("amend", *SECRET, "--object", "secret,id=t,data=another", "--image-opts", "-o",
                    "encrypt.state=active,encrypt.new-secret=t,encrypt.iter-time=10", LOCKED)
        folder.good("io", "--object", "secret,id=s,data=another", "--image-opts", "-c",
                    "read -q -P 7 64k 1M", LOCKED)
        folder.refused("passphrase", "map", "--object", "secret,id=s,data=wrong", "--image-opts",
                       LOCKED)
        folder.refused("is the id of no secret", "map", "--image-opts", LOCKED)
        folder.refused("leave out --passphrase-file and --key-file", "map", *SECRET, "--key-file",
                       "key", "--image-opts", LOCKED)
        folder.refused("--object is for encrypt.key-secret of --image-opts", "map", *SECRET,
                       "locked.qcow2")


def encrypted_chain(folder, kind):
    """a.qcow2 below the plain b.qcow2 below c.qcow2; a and c are encrypted, each has its secret."""
    # qemu-img measures its own speed for seconds, but only it makes the old kind.
    make = folder.good if "luks" in kind else folder.qemu_img
    make("create", "-q", "--object", "secret,id=sa,data=one", "-f", "qcow2", "-o",
         f"{kind},encrypt.key-secret=sa", "a.qcow2", "1M")
    make("create", "-q", "-u", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2", "1M")
    make("create", "-q", "-u", "--object", "secret,id=sc,data=three", "-f", "qcow2", "-o",
         f"{kind},encrypt.key-secret=sc", "-b", "b.qcow2", "-F", "qcow2", "c.qcow2", "1M")


def test_each_encrypted_layer_has_its_secret():
    secrets = ("--object", "secret,id=sa,data=one", "--object", "secret,id=sc,data=three",
               "--image-opts")
    lower = "driver=qcow2,file.filename=a.qcow2,encrypt.key-secret=sa"
    upper = ("driver=qcow2,file.filename=c.qcow2,encrypt.key-secret=sc,backing.driver=qcow2,"
             "backing.file.filename=b.qcow2,backing.backing.encrypt.key-secret=sa")
    for kind in ("encrypt.format=luks,encrypt.iter-time=10", "encrypt.format=aes"):
        with Images("opts-layers") as folder:
            encrypted_chain(folder, kind)
            folder.good("io", *secrets, "-c", "write -q -P 5 0 1M", lower)
            folder.good("io", *secrets, "-c", "read -q -P 5 0 1M", "-c", "write -q -P 6 64k 64k",
                        upper)
            folder.both("convert", *secrets, "-O", "raw", upper, "out.raw")
            check_equal(folder.bytes("out.raw"),
                        b"\5" * 65536 + b"\6" * 65536 + b"\5" * ((1 << 20) - 131072), kind)
            folder.both("commit", *secrets, upper)
            folder.good("commit", *secrets, "-b", "a.qcow2", upper)
            folder.good("io", *secrets, "-c", "read -q -P 5 0 64k", "-c", "read -q -P 6 64k 64k",
                        lower)
            folder.refused("is the id of no secret", "map", *secrets,
                           f"{upper},backing.encrypt.key-secret=nobody")
            if "luks" in kind:  # the other kind cannot tell a wrong passphrase
                folder.refused("a.qcow2: the passphrase fits no key slot", "map", *secrets,
                               upper.rpartition(",")[0])


def test_secrets_of_layers_are_read_once():
    """Their files may be pipes, as of a shell's <(command)."""
    with Images("opts-pipes") as folder:
        encrypted_chain(folder, "encrypt.format=luks,encrypt.iter-time=10")
        objects, pipes = [], []
        for name, text in (("sa", "one"), ("sc", "three")):
            reading, writing = os.pipe()
            os.write(writing, text.encode())
            os.close(writing)
            objects += ["--object", f"secret,id={name},file=/dev/fd/{reading}"]
            pipes.append(reading)
        done = subprocess.run(
            [METALCOW, "io", *objects, "--image-opts", "-c", "read -q -P 0 0 1M",
             "driver=qcow2,file.filename=c.qcow2,encrypt.key-secret=sc,"
             "backing.backing.encrypt.key-secret=sa"],
            cwd=folder.path, check=False, capture_output=True, text=True, pass_fds=pipes)
        for pipe in pipes:
            os.close(pipe)
        check_equal((done.returncode, done.stdout, done.stderr), (0, "", ""), "pipes")


def test_image_opts_that_say_nothing_are_refused():
    with Images("opts-bad") as folder:
        for text, name in (("option 'nonsense' is not known", f"{PLAIN},nonsense=1"),
                           ("or does not take 'vmdk'", "driver=vmdk,file.filename=plain.qcow2"),
                           ("or does not take 'http'", f"{PLAIN},file.driver=http"),
                           ("option 'driver' has no value", "driver"),
                           ("or does not take 'maybe'", f"{PLAIN},read-only=maybe"),
                           ("option 'backing.data-file.filename'", f"{PLAIN},"
                            "backing.data-file.filename=x"),
                           ("no file is named", "driver=qcow2"),
                           ("nofile: the file does not exist", "file.filename=nofile")):
            folder.refused(text, "info", "--image-opts", name)
        folder.refused("exclude each other", "info", "--image-opts", "-f", "qcow2", PLAIN)
        check_equal(folder.run("qemu-img", "info", "--image-opts", "-f", "qcow2", PLAIN)[0], 1,
                    "qemu-img refuses it, too")
        folder.refused("say something about a file", "measure", "--size", "1G", "--image-opts")


def test_rate_holds_a_copy_back():
    with Images("rate") as folder:
        def seconds(*words):
            begin = time.monotonic()
            folder.good(*words)
            return time.monotonic() - begin

        (folder.path / "hole.raw").write_bytes(bytes(2 << 20))
        check(seconds("convert", "-r", "4M", "-f", "raw", "base.raw", "slow.raw") >= 1, "convert")
        check(folder.bytes("slow.raw") == folder.bytes("base.raw"), "content")
        check(seconds("commit", "-q", "-r", "2M", "plain.qcow2") >= 0.5, "commit")
        check(seconds("convert", "-r", "2M", "-S", "0", "-f", "raw", "hole.raw", "x.raw") >= 1,
              "zeros that are written")
        folder.good("convert", "-r", "0", "base.raw", "x.raw")  # no limit


if __name__ == "__main__":
    main(globals())

#!/usr/bin/python3
"""Names of files on the host: what a person names, what an image names, and who limits it.

The caller's own rights are the limit; `--names=below` and `--names=none` are for images that are
not trusted.
"""

import json
import os
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import Folder  # noqa: E402

MARK = "\x01\x01\x01\x01"


def base(folder, name, pattern=1):
    folder.qemu_img("create", "-q", "-f", "qcow2", name, "4M")
    folder.qemu_io("qcow2", name, f"write -P {pattern} 0 1M")


def overlay(folder, name, backing, backing_format="qcow2"):
    """An overlay whose header has exactly these words, looked at by nobody."""
    folder.qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", backing_format, name,
                    "4M")


def forget_format(path):
    """Make the backing format's header extension one that nobody knows."""
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack(">I", 0xe2792aca))
    data[at:at + 4] = b"mcow"
    path.write_bytes(data)


def refused(folder, *arguments, words):
    status, out, err = folder.ours(*arguments)
    check(status != 0 and out == "", f"{arguments}: {status} {out}")
    for word in words:
        check(word in err, f"{arguments}: {err!r} does not say {word!r}")


def test_names_that_leave_the_folder():
    with Folder("names") as folder:
        (folder.path / "vm").mkdir()
        (folder.path / "store").mkdir()
        base(folder, "store/base.qcow2")
        overlay(folder, "vm/rel.qcow2", "../store/base.qcow2")
        overlay(folder, "vm/mid.qcow2", f"{folder.path}/store/base.qcow2")
        overlay(folder, "vm/top.qcow2", f"{folder.path}/vm/mid.qcow2")
        for name in ("rel", "mid", "top"):
            path = f"vm/{name}.qcow2"
            check_equal(folder.good("read", "0", "4", path), MARK, name)
            folder.good("snapshot", "-c", "s", path)
            folder.good("snapshot", "-d", "s", path)
            folder.good("resize", "-q", path, "4M")
            for policy in ("below", "none"):
                for words in (["read", "0", "4"], ["map"], ["convert", "-O", "raw"],
                              ["compare", path], ["measure", "-O", "qcow2"], ["commit"],
                              ["rebase", "-b", ""], ["info", "--backing-chain"],
                              ["snapshot", "-c", "s"]):
                    more = ["out.raw"] if words[0] == "convert" else []
                    refused(folder, words[0], f"--names={policy}", *words[1:], path, *more,
                            words=["names a file that must not be opened", "'backing-file'"])


def test_every_layer_can_be_given():
    with Folder("given") as folder:
        (folder.path / "a").mkdir()
        base(folder, "a/low.qcow2")
        overlay(folder, "a/mid.qcow2", "/gone/low.qcow2")
        overlay(folder, "top.qcow2", "/gone/mid.qcow2")
        refused(folder, "read", "0", "4", "top.qcow2", words=["/gone/mid.qcow2", "not exist"])
        refused(folder, "read", "--backing-file=a/mid.qcow2", "0", "4", "top.qcow2",
                words=["/gone/low.qcow2", "not exist"])
        both = ["--backing-file=a/mid.qcow2", "--backing-file", "a/low.qcow2"]
        check_equal(folder.good("read", *both, "0", "4", "top.qcow2"), MARK, "both given")
        check_equal(folder.good("read", "--names=none", *both, "0", "4", "top.qcow2"), MARK,
                    "both given, none allowed")
        chain = json.loads(folder.good("info", "--backing-chain", "--output=json", *both,
                                       "top.qcow2"))
        check_equal([layer["filename"] for layer in chain],
                    ["top.qcow2", "a/mid.qcow2", "a/low.qcow2"], "chain")
        refused(folder, "read", *both, "--backing-file=a/low.qcow2", "0", "4", "top.qcow2",
                words=["a/low.qcow2", "the image has none"])


def test_spellings_of_plain_files():
    with Folder("spelling") as folder:
        (folder.path / "sub").mkdir()
        described = json.dumps({"driver": "qcow2", "file": {"driver": "file",
                                                            "filename": "sub/base.qcow2"}})
        dotted = json.dumps({"driver": "qcow2", "file.filename": "sub/base.qcow2",
                             "file.driver": "file", "read-only": True})
        base(folder, "sub/base.qcow2")
        for row, name in enumerate((f"json:{described}", f"json:{dotted}", "file:sub/base.qcow2")):
            overlay(folder, f"{row}.qcow2", name)
            check_equal(folder.good("read", "0", "4", f"{row}.qcow2"), MARK, name)
            check_equal(folder.good("read", "0", "4", name), MARK, f"named by a person: {name}")
            forget_format(folder.path / f"{row}.qcow2")
            if name.startswith("json:"):  # it states the format too
                check_equal(folder.good("read", "0", "4", f"{row}.qcow2"), MARK, name)
        for name in ("back\\slash.qcow2", "cow\U0001f404.qcow2", "line\nfeed.qcow2",
                     "\u00e4.qcow2"):
            (folder.path / name).write_bytes((folder.path / "sub/base.qcow2").read_bytes())
            folder.good("create", "-q", "-f", "qcow2", "-b", name, "-F", "qcow2", "odd.qcow2")
            check_equal(folder.good("read", "0", "4", "odd.qcow2"), MARK, name)


def test_spellings_of_files_that_are_made():
    """`create` and `convert` take every spelling of a plain file for what they make, too."""
    with Folder("made") as folder:
        (folder.path / "sub").mkdir()
        base(folder, "sub/base.qcow2")
        described = json.dumps({"driver": "qcow2", "file": {"driver": "file",
                                                            "filename": "sub/b.qcow2"}})
        for name, path in (("file:a:b.qcow2", "a:b.qcow2"), (f"json:{described}", "sub/b.qcow2"),
                           (f"file:{folder.path}/sub/c:d.qcow2", "sub/c:d.qcow2")):
            backing = "base.qcow2" if path.startswith("sub/") else "sub/base.qcow2"
            folder.good("create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", name)
            folder.qemu_img("check", "-q", f"./{path}")
            check_equal(folder.good("read", "0", "4", f"./{path}"), MARK, name)
            (folder.path / path).unlink()
            folder.good("convert", "-O", "qcow2", "sub/base.qcow2", name)
            check_equal(folder.good("read", "0", "4", f"./{path}"), MARK, name)
            (folder.path / path).unlink()
        folder.good("convert", "sub/base.qcow2", "file:raw:file")
        check((folder.path / "raw:file").stat().st_size > 0, "a raw output")
        for verb, words in (("create", ["-q"]), ("convert", ["sub/base.qcow2"])):
            option = "-f" if verb == "create" else "-O"
            size = ["1M"] if verb == "create" else []
            refused(folder, verb, *words, option, "raw", f"json:{described}", *size,
                    words=["another format"])
            refused(folder, verb, *words, option, "qcow2", 'json:{"driver":"nbd","host":"h"}',
                    *size, words=["plain file"])
        check(not (folder.path / "sub/b.qcow2").exists(), "a file is left behind")


def test_a_colon_after_a_slash_is_no_prefix():
    with Folder("colon") as folder:
        (folder.path / "sub").mkdir()
        base(folder, "sub/image:base")
        folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "./image:base", "-F", "qcow2",
                        "./sub/image:top")
        wanted = folder.qemu_img("info", "./sub/image:top")
        for name in ("./sub/image:top", "file:./sub/image:top"):
            lines = [[line for line in text.splitlines() if line.startswith("backing file:")]
                     for text in (wanted, folder.good("info", name))]
            check_equal(lines[1], lines[0], name)


def test_descriptions_of_what_is_no_plain_file():
    with Folder("protocols") as folder:
        for row, (name, why) in enumerate((
                ("nbd:localhost:10809", "not a plain file"),
                ('json:{"driver":"nbd","host":"localhost"}', "not a plain file"),
                ('json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"b"}}',
                 "not a plain file"),
                ('json:{"driver":"qcow2"}', "file name in the image"),
                ('json:{"driver":"qcow2","file":{"driver":"file","filename":"b"}',
                 "file name in the image"))):
            folder.qemu_img("create", "-q", "-f", "qcow2", f"{row}.qcow2", "1M")
            folder.good("rebase", "-u", "-b", name, "-F", "raw", f"{row}.qcow2")
            refused(folder, "map", f"{row}.qcow2", words=[f"{row}.qcow2: the", why])


def test_create_makes_no_image_that_is_refused_later():
    with Folder("create") as folder:
        (folder.path / "a").mkdir()
        (folder.path / "b").mkdir()
        base(folder, "a/base.qcow2")
        for name in ("../a/base.qcow2", f"{folder.path}/a/base.qcow2"):
            folder.good("create", "-q", "-f", "qcow2", "-b", name, "-F", "qcow2", "b/ov.qcow2")
            folder.good("map", "b/ov.qcow2")
            os.unlink(folder.path / "b/ov.qcow2")
            refused(folder, "create", "-q", "--names=below", "-f", "qcow2", "-b", name, "-F",
                    "qcow2", "b/ov.qcow2", words=["would be refused when the image is opened"])
            check(not (folder.path / "b/ov.qcow2").exists(), "an image was left")
        refused(folder, "create", "-q", "-f", "qcow2", "-b", "nbd:x:1", "-F", "raw", "b/ov.qcow2",
                "1M", words=["has to be a plain file"])
        previous = "a/base.qcow2"
        for layer in range(1, 32):
            overlay(folder, f"a/{layer}.qcow2", pathlib.Path(previous).name)
            previous = f"a/{layer}.qcow2"
        folder.good("map", previous)
        refused(folder, "create", "-q", "-f", "qcow2", "-b", pathlib.Path(previous).name, "-F",
                "qcow2", "a/one-more.qcow2", words=["too deep for one more layer"])


def test_a_data_file_is_made_where_the_image_will_look_for_it():
    with Folder("data") as folder:
        base(folder, "base.qcow2")
        for verb, words, size in (("create", [], ["1M"]), ("convert", ["base.qcow2"], [])):
            option = "-f" if verb == "create" else "-O"
            for name in ("file:d.raw", 'json:{"driver":"file",,"filename":"d.raw"}'):
                folder.good(verb, "-q", *words, option, "qcow2", "-o", f"data_file={name}",
                            "top.qcow2", *size)
                folder.good("io", "-c", "write -q -P 7 0 64k", "top.qcow2")
                check((folder.path / "d.raw").read_bytes()[:4] == b"\7" * 4, f"{verb} {name}")
                check_equal(sorted(path.name for path in folder.path.iterdir()),
                            ["base.qcow2", "d.raw", "top.qcow2"], f"{verb} {name}")
                (folder.path / "d.raw").unlink()
                (folder.path / "top.qcow2").unlink()
            for name in ("a:d.raw", 'json:{"driver":"nbd"}'):
                refused(folder, verb, "-q", *words, option, "qcow2", "-o", f"data_file={name}",
                        "top.qcow2", *size, words=["a data file has to be a plain file"])
                check_equal([path.name for path in folder.path.iterdir()], ["base.qcow2"], name)


def test_a_backing_format_that_nobody_states():
    with Folder("unsaid") as folder:
        base(folder, "base.qcow2")
        overlay(folder, "top.qcow2", "base.qcow2")
        forget_format(folder.path / "top.qcow2")
        before = (folder.path / "top.qcow2").read_bytes()
        refused(folder, "read", "0", "4", "top.qcow2",
                words=["'base.qcow2'", "'backing-format'", "metalcow rebase -u"])
        check_equal(folder.good("read", "--backing-format=qcow2", "0", "4", "top.qcow2"), MARK,
                    "said")
        check_equal(folder.good("read", "--backing-file=base.qcow2", "0", "4", "top.qcow2"), MARK,
                    "given by a person, so it is looked at")
        check_equal(folder.good("read", "--backing-format=raw", "0", "3", "top.qcow2"), "QFI",
                    "raw, if that is said")
        check_equal((folder.path / "top.qcow2").read_bytes(), before, "reading changes nothing")
        folder.good("rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
        check_equal(folder.good("read", "0", "4", "top.qcow2"), MARK, "as the advice says")


if __name__ == "__main__":
    cases.main(globals())

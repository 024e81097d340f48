#!/usr/bin/python3
"""Messages of the host command: the situation, and what a person then reads."""

import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import METALCOW, Folder  # noqa: E402


def say(folder, *arguments):
    status, out, err = folder.ours(*arguments)
    check_equal((status != 0, out), (True, ""), f"{arguments}: {err}")
    return err


def test_files_that_do_not_open():
    with Folder("messages") as folder:
        (folder.path / "folder").mkdir()
        os.mkfifo(folder.path / "pipe")
        folder.good("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
        for words, want in ((["info", "folder"], "folder: not a file"),
                            (["info", "nowhere"], "nowhere: the file does not exist"),
                            (["convert", "-O", "raw", "a.qcow2", "pipe"], "pipe: not a file"),
                            (["convert", "-O", "raw", "a.qcow2", "folder"],
                             "folder: not a file")):
            check_equal(say(folder, *words), f"metalcow: {want}\n", words)


def test_no_permission():
    """Root may open everything, so another user asks."""
    with Folder("rights") as folder:
        folder.good("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
        os.chmod(folder.path / "a.qcow2", 0)
        drop = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        with open(METALCOW, "rb") as program:
            done = subprocess.run([f"/proc/self/fd/{program.fileno()}", "info", "a.qcow2"],
                                  cwd=folder.path, check=False, capture_output=True,
                                  pass_fds=[program.fileno()], **drop)
        check_equal((done.returncode, done.stderr), (1, b"metalcow: a.qcow2: permission denied\n"),
                    "as nobody")


def test_creation_options():
    with Folder("options") as folder:
        check_equal(say(folder, "create", "-f", "qcow2", "-o", "preallocation=1234", "a", "1M"),
                    "metalcow: preallocation cannot be '1234'; give one of: "
                    "off metadata falloc full\n", "a word that is none")
        folder.good("create", "-q", "-f", "qcow2", "-o", "encryption=off", "a", "1M")
        check("is insecure" in say(folder, "create", "-q", "-f", "qcow2", "-o", "encryption=on",
                                      "b", "1M"), "encryption")
        check(not (folder.path / "b").exists(), "an image was made")


def test_names_of_snapshots():
    """Letters of any script are shown; what could change a terminal or a line is not."""
    with Folder("snapshots") as folder:
        folder.good("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
        for name in ("Grüße 牛", "a\x1b[2Jb", "c\u202ed", "e\u0085f"):
            folder.good("snapshot", "-c", name, "a.qcow2")
        table = folder.good("snapshot", "-l", "a.qcow2")
        for name in (" Grüße 牛 ", "a\\x1b[2Jb ", "c\\xe2\\x80\\xaed ", "e\\xc2\\x85f "):
            check(name in table, f"{name!r} in {table!r}")


def test_a_killed_convert_leaves_no_image():
    """Whenever convert is killed, what it leaves does not open as an image."""
    with Folder("killed") as folder:
        (folder.path / "src.raw").write_bytes(os.urandom(4096) * 4096)
        killed = 0
        for mode in ([], ["-c"], ["-o", "cluster_size=4k"], ["-o", "preallocation=metadata"]):
            for limit in (0, 1, 65536, 300000, 2000000):
                output = folder.path / "o.qcow2"
                output.unlink(missing_ok=True)
                with subprocess.Popen([METALCOW, "convert", "-f", "raw", "-O", "qcow2", *mode,
                                       "src.raw", "o.qcow2"], cwd=folder.path,
                                      stderr=subprocess.DEVNULL) as process:
                    while process.poll() is None:
                        if output.exists() and output.stat().st_size >= limit:
                            process.send_signal(signal.SIGKILL)
                            break
                if process.returncode == -signal.SIGKILL:
                    killed += 1
                    with open(output, "rb") as file:
                        check(file.read(4) != b"QFI\xfb", f"{mode} {limit}: it opens as an image")
        check(killed > 0, "nothing was killed")


if __name__ == "__main__":
    cases.main(globals())

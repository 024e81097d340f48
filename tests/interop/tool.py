"""A folder to run metalcow, qemu-img and qemu-io in, for interop tests.

METALCOW names another program to test.
"""

import os
import pathlib
import re
import shutil
import subprocess

from tests.cases import Failure, check_equal

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
METALCOW = pathlib.Path(os.environ.get("METALCOW", BUILD / "san/metalcow")).resolve()


def flags_of(process, path):
    """The flags with which a process has a file open."""
    for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        if os.readlink(link) == str(path.resolve()):
            text = pathlib.Path(f"/proc/{process.pid}/fdinfo/{link.name}").read_text()
            return int(re.search(r"flags:\s*(\d+)", text)[1], 8)
    raise Failure(f"{path} is not open")


class Folder:
    """A folder of its own under build/; removed when the `with` block ends."""

    def __init__(self, name):
        self.path = BUILD / f"tests/interop/{name}-{os.getpid()}"

    def __enter__(self):
        self.path.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def run(self, program, *arguments):
        """Exit status, stdout, stderr."""
        done = subprocess.run([str(program), *map(str, arguments)], cwd=self.path, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)
        return (done.returncode, done.stdout.decode(errors="replace"),
                done.stderr.decode(errors="replace"))

    def ours(self, *arguments):
        return self.run(METALCOW, *arguments)

    def good(self, *arguments):
        """Run metalcow; return what it printed."""
        status, out, err = self.ours(*arguments)
        check_equal((status, err), (0, ""), f"metalcow {' '.join(map(str, arguments))}")
        return out

    def qemu_img(self, *arguments):
        """Run qemu-img; return what it printed."""
        status, out, err = self.run("qemu-img", *arguments)
        check_equal((status, err), (0, ""), f"qemu-img {' '.join(map(str, arguments))}")
        return out

    def qemu_io(self, image_format, name, *commands):
        words = [word for command in commands for word in ("-c", command)]
        status, out, err = self.run("qemu-io", "-f", image_format, *words, name)
        check_equal((status, err), (0, ""), f"qemu-io {name} {commands}: {out}")

    def traced(self, *arguments):
        """Run metalcow; return its writes and flushes in order, as (call, file's name)."""
        trace = self.path / "trace"
        trace.unlink(missing_ok=True)
        library = BUILD / "san/tests/interop/trace_writes.so"
        done = subprocess.run(
            [str(METALCOW), *map(str, arguments)], cwd=self.path, capture_output=True, check=False,
            env={**os.environ, "LD_PRELOAD": str(library), "TRACE_WRITES": str(trace),
                 "ASAN_OPTIONS": "verify_asan_link_order=0"})
        check_equal(done.returncode, 0, f"metalcow {arguments}: {done.stderr}")
        return [tuple(line.split(" ", 1)) for line in trace.read_text().splitlines()]

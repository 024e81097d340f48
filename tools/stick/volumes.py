"""A volume to which files are copied: a FAT volume in a device or image file, or a mounted folder.

May call mtools through tools/fs.py. Paths on a volume begin with "/". Invariant: write() and
read() move a file's bytes in order and keep none of them, so memory does not depend on sizes.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import signal
import stat
import subprocess

from tools import fs
from tools.stick import exchange, fragments

CHUNK = 1 << 20
BLKFLSBUF = 0x1261  # ioctl: write and forget what the kernel has cached of a block device


def environment():
    """The environment of mtools: no configuration of the user, no questions, names as UTF-8."""
    return dict(os.environ, LC_ALL="C.UTF-8", MTOOLS_SKIP_CHECK="1", MTOOLSRC="/dev/null")


def pattern(path):
    """A path for mtools, which takes brackets for a set of characters."""
    return "::" + path.replace("[", "?").replace("]", "?")


def drop_cache(path):
    """Have the kernel write and forget what it has cached of a file, so that reads come from the
    medium."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if stat.S_ISBLK(os.fstat(file.fileno()).st_mode):
            fcntl.ioctl(file.fileno(), BLKFLSBUF)


class FatVolume:
    """A FAT volume that is not mounted, at an offset of a device or image file."""

    def __init__(self, path, offset):
        self.path, self.offset = str(path), offset
        self.drive = f"{path}@@{offset}"
        volume = fragments.Volume(self.path, offset)
        self.cluster = volume.cluster
        self.free = volume.entries[2:].count(0) * self.cluster

    def run(self, *command):
        fs.run(command[0], "-i", self.drive, *command[1:])

    @contextlib.contextmanager
    def process(self, *command, **pipes):
        """Run a tool of mtools with a pipe to or from it. It runs in a session of its own, so
        Ctrl-C does not reach it; an exception here ends it. If the tool fails, OSError is raised.
        """
        with subprocess.Popen([command[0], "-i", self.drive, *command[1:]], env=environment(),
                              stderr=subprocess.PIPE, start_new_session=True, **pipes) as tool:
            try:
                yield tool
            except BrokenPipeError:
                pass  # the tool ended early; its error is raised below
            except BaseException:
                tool.send_signal(signal.SIGTERM)
                raise
            with contextlib.suppress(BrokenPipeError):
                if tool.stdin:
                    tool.stdin.close()
            said = tool.stderr.read().decode(errors="replace").strip()
            if tool.wait() != 0:
                raise OSError(errno.EIO, f"{command[0]}: {said or tool.returncode}", self.path)

    def has(self, path):
        return self.list(path).returncode == 0

    def kind(self, path):
        """"file" or "folder"; None where neither has this path."""
        said = self.list(os.path.dirname(path)).stdout.decode(errors="replace").splitlines()
        for line in said:
            if line.rstrip("/").lower() == f"::{path}".lower():
                return "folder" if line.endswith("/") else "file"
        return None

    def list(self, path):
        return subprocess.run(["mdir", "-a", "-b", "-i", self.drive, pattern(path)], check=False,
                              env=environment(), capture_output=True)

    def names(self, folder):
        """The names of the files in a folder; none where there is no such folder."""
        lines = self.list(folder).stdout.decode(errors="replace").splitlines()
        return [os.path.basename(line) for line in lines if not line.endswith("/")]

    def write(self, path, chunks):
        fs.fat_mkdirs(self.path, self.offset, os.path.dirname(path))
        with self.process("mcopy", "-o", "-", f"::{path}", stdin=subprocess.PIPE) as tool:
            for chunk in chunks:
                tool.stdin.write(chunk)

    def read(self, path):
        with self.process("mcopy", "-n", pattern(path), "-", stdout=subprocess.PIPE) as tool:
            while chunk := tool.stdout.read(CHUNK):
                yield chunk

    def rename(self, old, new):
        """Give a file another name, whose file it replaces."""
        is_there = self.has(new)
        if is_there and exchange.exchange(self.path, self.offset, old, new):
            self.run("mdel", f"::{old}")
            return
        if is_there:  # one of them is empty: nothing can be lost
            self.run("mdel", f"::{new}")
        self.run("mren", f"::{old}", f"::{new}")

    def remove(self, path):
        if self.has(path):
            self.run("mdel", f"::{path}")

    def sync(self):
        drop_cache(self.path)


class FolderVolume:
    """A mounted volume."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        free = os.statvfs(folder)
        self.cluster, self.free = free.f_frsize, free.f_bavail * free.f_frsize

    def at(self, path):
        return self.folder / path.lstrip("/")

    def has(self, path):
        return self.at(path).exists()

    def kind(self, path):
        """"file" or "folder"; None where neither has this path."""
        at = self.at(path)
        return "folder" if at.is_dir() else "file" if at.exists() else None

    def names(self, folder):
        """The names of the files in a folder; none where there is no such folder."""
        at = self.at(folder)
        return sorted(path.name for path in at.iterdir() if path.is_file()) if at.is_dir() else []

    def write(self, path, chunks):
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        with open(self.at(path), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())

    def read(self, path):
        with open(self.at(path), "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := file.read(CHUNK):
                yield chunk

    def rename(self, old, new):
        os.replace(self.at(old), self.at(new))
        self.sync_folder(self.at(new).parent)

    def remove(self, path):
        self.at(path).unlink(missing_ok=True)

    def sync(self):
        self.sync_folder(self.folder)

    @staticmethod
    def sync_folder(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

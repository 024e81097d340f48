"""Copy files to a volume so that an interruption leaves no incomplete file under its own name.

Every file is first written under its name and ".partial". When all are written, and were read back
and compared, they get their names in the order of the list. So until then no old file has changed.
The caller puts entries last, so an entry never names a file that is incomplete.
"""

import contextlib
import pathlib

from tools.stick.volumes import CHUNK

SUFFIX = ".partial"


class Mismatch(Exception):
    """What was read back is not what was written."""


def size_of(source):
    return len(source) if isinstance(source, bytes) else pathlib.Path(source).stat().st_size


def chunks_of(source):
    """The bytes of a host file or of a text."""
    if isinstance(source, bytes):
        yield source
        return
    with open(source, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def same(one, other, tell=lambda nb_bytes: None):
    """Whether two streams of chunks have the same bytes. The second one is always read to its end,
    because it may be the output of a program, which would fail if it was not read."""
    rest, equal = bytearray(), True
    one = iter(one)
    for chunk in other:
        tell(len(chunk))
        while equal and len(rest) < len(chunk):
            more = next(one, b"")
            if not more:
                break
            rest += more
        equal = equal and rest[:len(chunk)] == chunk
        del rest[:len(chunk)]
    return equal and not rest and next(one, b"") == b""


def is_there(volume, path, source):
    """Whether the volume has this file with this content already."""
    return volume.has(path) and same(chunks_of(source), volume.read(path))


class Delivery:
    """One copying of files. files: [(path on the volume, host path or bytes)], in the order in
    which they get their names. new_progress: makes a Progress of (verb, total bytes)."""

    def __init__(self, volume, files, new_progress):
        self.volume, self.files, self.new_progress = volume, files, new_progress
        self.named = []  # paths that have their content under their name

    def total(self):
        return sum(size_of(source) for _, source in self.files)

    def run(self):
        try:
            self.write()
            self.volume.sync()
            self.verify()
            self.name()
            self.volume.sync()
        except BaseException:
            self.remove_partial()
            raise

    def write(self):
        progress = self.new_progress("copying", self.total())
        for path, source in self.files:
            progress.file(path, size_of(source))
            self.volume.write(path + SUFFIX, self.counted(chunks_of(source), progress))
        progress.end()

    @staticmethod
    def counted(chunks, progress):
        for chunk in chunks:
            yield chunk
            progress.add(len(chunk))

    def verify(self):
        progress = self.new_progress("verifying", self.total())
        for path, source in self.files:
            progress.file(path, size_of(source))
            if not same(chunks_of(source), self.volume.read(path + SUFFIX), progress.add):
                raise Mismatch(f"{path}: what was read back is not what was written: the medium "
                               f"is bad, or {'the text' if isinstance(source, bytes) else source}"
                               f" was changed meanwhile")
        progress.end()

    def name(self):
        for path, _ in self.files:
            self.volume.rename(path + SUFFIX, path)
            self.named.append(path)

    def remove_partial(self):
        """Errors are ignored, because the medium may be what failed before."""
        for path, _ in self.files:
            with contextlib.suppress(Exception):
                self.volume.remove(path + SUFFIX)

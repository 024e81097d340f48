"""Show how far copying is: a bar on a terminal, one line for each file elsewhere."""

import sys
import time

WIDTH = 30
STEP = 0.1  # seconds between two drawings of the bar


def size_text(size):
    """A size as people read it: 512 B, 88 MiB, 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.1f} {unit}" if unit == "GiB" else f"{size:.0f} {unit}"
        size /= 1024
    raise AssertionError("the last unit takes every size")


class Progress:
    """The bytes of one step, such as copying, of all files together."""

    def __init__(self, verb, total, quiet=False):
        self.verb, self.total, self.stream = verb, total, sys.stderr
        self.done, self.shown, self.begin = 0, 0.0, time.monotonic()
        self.is_quiet, self.is_terminal = quiet, self.stream.isatty()

    def file(self, name, size):
        """A file begins."""
        if not self.is_quiet and not self.is_terminal:
            print(f"{self.verb} {name} ({size_text(size)})", file=self.stream, flush=True)

    def add(self, nb_bytes):
        self.done += nb_bytes
        now = time.monotonic()
        if self.is_terminal and not self.is_quiet and now - self.shown >= STEP:
            self.shown = now
            self.draw(now)

    def draw(self, now):
        part = min(1.0, self.done / self.total) if self.total else 1.0
        bar = ("#" * int(part * WIDTH)).ljust(WIDTH, ".")
        rate = self.done / max(now - self.begin, 0.001)
        print(f"\r{self.verb:9} [{bar}] {part:4.0%}  {size_text(self.done)} of "
              f"{size_text(self.total)}, {size_text(rate)}/s \033[K", end="", file=self.stream,
              flush=True)

    def end(self):
        if self.is_terminal and not self.is_quiet:
            self.draw(time.monotonic())
            print(file=self.stream, flush=True)

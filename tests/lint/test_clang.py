#!/usr/bin/python3
"""A second compiler: clang takes what gcc takes, with the same warnings as errors."""

import os

import lint
from tests import cases


def make(*targets):
    """Run make apart from the make that may have started us; return (status, output)."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    build = lint.BUILD.relative_to(lint.ROOT)
    result = lint.subprocess.run(["make", "-s", "-j2", "-k", f"BUILD={build}", *targets],
                                 cwd=lint.ROOT, env=environment, capture_output=True, text=True,
                                 check=False)
    return result.returncode, result.stdout + result.stderr


def sample_complaints(path):
    source = path.relative_to(lint.ROOT)
    target = lint.BUILD / "clang" / "obj" / source.with_suffix(".o")
    status, output = make(str(target.relative_to(lint.ROOT)))
    return output.splitlines() if status != 0 else []


def test_clang_samples_are_refused():
    lint.check_samples("clang", sample_complaints)


def test_clang_compiles_everything():
    status, output = make("clang-check")
    cases.check(status == 0, f"clang refuses something\n{output}")


if __name__ == "__main__":
    cases.main(globals())

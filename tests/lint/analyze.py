"""Judge what clang's analyzer said: `make analyze` calls this with one file of output per source.

The analyzer sees one source at a time. It cannot know that q2_fail() returns the status it is
given, which is never Q2_OK. What it concludes from that is listed here, with the reason;
everything else fails, and so does a row that is not needed any more.

Not a suite: no test_ in the name, not executable.
"""

import pathlib
import re
import sys

FINDING = re.compile(r"^(\S+?):(\d+):\d+: warning: (.*) \[([\w.]+)\]$", re.M)

FAIL = "a failing function returns what q2_fail() returns, which is never Q2_OK"
# (source, message): reason
KNOWN = {
    ("core/read/backing_chain.c", "2nd function call argument is an uninitialized value"): FAIL,
    ("core/fs/fat_path.c", "The left operand of '&' is a garbage value"): FAIL,
}


def main():
    paths = [pathlib.Path(name) for name in sys.argv[1:]]
    known = set()
    status = 0
    for path in paths:
        text = path.read_text()
        for source, line, message, checker in FINDING.findall(text):
            if (source, message) in KNOWN:
                known.add((source, message))
                continue
            print(f"{source}:{line}: {message} [{checker}]; the way to it is in {path}")
            status = 1
        if "error:" in text:
            print(f"{path}: clang does not compile this")
            status = 1
    for source, message in set(KNOWN) - known:
        print(f"tests/lint/analyze.py: not found any more: {source}: {message}")
        status = 1
    print(f"analyze: {len(paths)} sources, {len(known)} findings that are known to be none")
    sys.exit(status)


main()

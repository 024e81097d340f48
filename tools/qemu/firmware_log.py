"""What a debug build of EDK2 says on its debug console, and which of it is a fault of a program.

    log = FirmwareLog(path)      the file that QEMU's debugcon writes
    log.complaints()             the lines so far that tell of a fault

A release build has none of these checks. It goes on after such a fault, and may fail later.
May use the standard library only.
"""

import pathlib
import re

# What MdePkg's ASSERT, the DXE core and the CPU driver say when a call is wrong.
COMPLAINTS = re.compile(
    r"ASSERT"  # a failed assertion; the firmware stops there
    r"|!!!! \w+ Exception Type"  # a CPU exception; the firmware stops there
    r"|FATAL ERROR - "  # a TPL that is raised downwards or restored upwards
    r"|ConvertPages: (?:Incompatible memory types|range )"  # pages are freed that are free, or that
    # are more than one allocation; "failed to find range" is of the firmware's own devices
    r"|InstallProtocolInterface: .* (?:is invalid|failed with)"  # a handle or protocol that is not
)


class FirmwareLog:
    """The debug console of one machine. The file grows while the machine runs."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.nb_read = 0
        self.found = []

    def complaints(self):
        """All of them, in order. A line counts when it is whole."""
        with open(self.path, "rb") as file:
            file.seek(self.nb_read)
            lines, _, _ = file.read().rpartition(b"\n")
        if lines:
            self.nb_read += len(lines) + 1
        text = lines.decode("utf-8", "replace")
        self.found += [line.strip() for line in text.splitlines() if is_complaint(line)]
        return self.found


def is_complaint(line):
    return COMPLAINTS.search(line) is not None

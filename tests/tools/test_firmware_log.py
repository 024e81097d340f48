#!/usr/bin/python3
"""Which lines of a debug firmware are faults of a program; a line that is not whole waits."""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tools.qemu import firmware_log  # noqa: E402

# Lines of the firmware of Debian's edk2 2022.11, built for debugging.
FAULTS = (
    "ASSERT [DxeCore] /edk2/MdeModulePkg/Core/Dxe/Event/Tpl.c(105): ((BOOLEAN)(0==1))",
    "DXE_ASSERT!: /edk2/MdeModulePkg/Core/Dxe/Mem/Pool.c (730): Tail->Signature == 1",
    "!!!! X64 Exception Type - 0E(#PF - Page-Fault)  CPU Apic ID - 00000000 !!!!",
    "FATAL ERROR - RestoreTpl with NewTpl(0x10) > OldTpl(0x4)",
    "ConvertPages: Incompatible memory types, the pages to free have been freed",
    "ConvertPages: range 1D0F2000 - 1D0F4FFF covers multiple entries",
    "InstallProtocolInterface: input handle at 0x1D0F2A18 is invalid",
    "InstallProtocolInterface: 964E5B21-6459-11D2-8E39-00A0C969723B 1D3A failed with Not Found",
)
HARMLESS = (
    "ConvertPages: failed to find range FEC00000 - FEC00FFF",
    "InstallProtocolInterface: 964E5B21-6459-11D2-8E39-00A0C969723B 1E8A3A20",
    "Loading driver at 0x0001D0F2000 EntryPoint=0x0001D0F3000 metalcowdxe.efi",
    "Error: Image at 0001EDB6000 start failed: Not Found",
)


def test_complaints_are_the_lines_of_faults():
    wrong = [line for line in FAULTS if not firmware_log.is_complaint(line)]
    wrong += [line for line in HARMLESS if firmware_log.is_complaint(line)]
    cases.check(not wrong, "\n".join(["these lines are judged wrong:", *wrong]))


def test_complaints_wait_for_the_end_of_a_line():
    with tempfile.NamedTemporaryFile() as file:
        log = firmware_log.FirmwareLog(file.name)
        rows = ((b"", []), (b"\n", []), (b"one\nASSERT a", []), (b"bc\ntwo", ["ASSERT abc"]),
                (b"\n\nASSERT \xff\r\n", ["ASSERT abc", "ASSERT \ufffd"]))
        for piece, expected in rows:
            file.write(piece)
            file.flush()
            cases.check_equal(log.complaints(), expected, f"complaints after {piece!r}")


if __name__ == "__main__":
    cases.main(globals())

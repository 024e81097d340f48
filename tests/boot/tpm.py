"""A TPM for a machine, and the firmware's log of what was measured into it.

    with tpm.emulator(folder) as words:                 # swtpm; QEMU's words for it
        with Machine(drives, extra=words) as machine: ...
    events, sizes = tpm.parse_log(memory, last)
    events += tpm.parse_final_events(other_memory, sizes)
    tpm.replay(events)                                  # {register: value}

The structures are those of the TCG PC Client Platform Firmware Profile, "Event Logging".
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import struct
import subprocess
import time

from tests import cases
from tools import speed

EV_NO_ACTION = 0x03
EV_EVENT_TAG = 0x06
EV_IPL = 0x0D
EV_APPLICATION = 0x80000003
EV_DRIVER = 0x80000004
SHA256 = 0x0B
NB_REGISTERS = 16  # what is measured before an operating system runs


@dataclasses.dataclass
class Event:
    register: int
    kind: int
    digest: bytes  # SHA-256
    data: bytes


@contextlib.contextmanager
def emulator(folder):
    """A fresh TPM 2.0, whose state is in the folder."""
    folder = pathlib.Path(folder)
    state, path = folder / "tpm", folder / "tpm.socket"
    state.mkdir()
    with open(folder / "swtpm.log", "wb") as log:
        process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
                                    "--ctrl", f"type=unixio,path={path}"], stdout=log, stderr=log)
        try:
            wait_for(path, process, folder / "swtpm.log")
            yield ["-chardev", f"socket,id=tpm,path={path}", "-tpmdev",
                   "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"]
        finally:
            process.kill()
            process.wait()


def wait_for(path, process, log):
    deadline = time.monotonic() + speed.stretch(20)
    while not path.exists():
        cases.check(process.poll() is None and time.monotonic() < deadline,
                    f"swtpm does not start: {log.read_text(errors='replace')}")
        time.sleep(0.05)


class Reader:
    """Little-endian numbers and bytes, one after the other."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, length):
        cases.check(self.at + length <= len(self.data), "the log ends inside an event")
        self.at += length
        return self.data[self.at - length:self.at]

    def number(self, length):
        return int.from_bytes(self.take(length), "little")


def first_event(reader):
    """The event that says which hashes the others have: {algorithm: bytes}."""
    cases.check_equal((reader.number(4), reader.number(4)), (0, EV_NO_ACTION), "the first event")
    reader.take(20)
    body = Reader(reader.take(reader.number(4)))
    cases.check_equal(body.take(16), b"Spec ID Event03\0", "the log's form")
    body.take(8)
    return {body.number(2): body.number(2) for _ in range(body.number(4))}


def next_event(reader, sizes):
    register, kind = reader.number(4), reader.number(4)
    digests = {}
    for _ in range(reader.number(4)):
        algorithm = reader.number(2)
        cases.check(algorithm in sizes, f"a hash {algorithm:#x} that the log does not declare")
        digests[algorithm] = reader.take(sizes[algorithm])
    cases.check(SHA256 in digests, "an event without SHA-256")
    return Event(register, kind, digests[SHA256], reader.take(reader.number(4)))


def parse_log(memory, last):
    """memory: from the log's start on. last: where in it the last event starts.
    Returns (events, {algorithm: bytes})."""
    reader = Reader(memory)
    sizes = first_event(reader)
    events, start = [], 0
    while reader.at <= last:
        start = reader.at
        events.append(next_event(reader, sizes))
    cases.check_equal(start, last, "where the last event starts")
    return events, sizes


def parse_final_events(memory, sizes):
    """memory: from the table's start on."""
    reader = Reader(memory)
    cases.check_equal(reader.number(8), 1, "version of the table of final events")
    return [next_event(reader, sizes) for _ in range(reader.number(8))]


def replay(events):
    """What the registers hold after these events, in hex as Linux shows them."""
    values = {number: bytes(32) for number in range(NB_REGISTERS)}
    for event in events:
        if event.kind == EV_NO_ACTION and event.data.startswith(b"StartupLocality\0"):
            values[0] = bytes(31) + event.data[16:17]
        if event.kind != EV_NO_ACTION and event.register in values:
            values[event.register] = hashlib.sha256(values[event.register] +
                                                    event.digest).digest()
    return {number: value.hex().upper() for number, value in values.items()}


def program_sha256(data):
    """What firmware measures of a program: all but its checksum and its signatures.
    (Windows Authenticode Portable Executable Signature Format, "Calculating the PE Image Hash")"""
    header = struct.unpack_from("<I", data, 0x3C)[0]
    optional = header + 24
    checksum, security = optional + 64, optional + 112 + 4 * 8
    start, size = struct.unpack_from("<II", data, security)
    end = start if size else len(data)
    return hashlib.sha256(data[:checksum] + data[checksum + 4:security] +
                          data[security + 8:end]).digest()

#!/usr/bin/python3
"""A UEFI machine in QEMU: q35, OVMF, TCG, serial console; as a module and as a command.

    with Machine([Drive("build/stick/run.img")]) as machine:
        machine.expect(r"METALCOW-GUEST-UP (\\w+)", timeout=120)

    machine.py --drive stick.img --until 'METALCOW-GUEST-UP \\w+' --timeout 120

The machine has no network and no display. Its firmware variables are a private copy, kept over
several boots when the caller names a file. What the guest writes to the serial port is read as
text without terminal escapes. A drive is never written to unless it says so (`snapshot=False` or
`log`), so one stick serves many boots. Every wait has a limit in seconds of the reference machine
(tools/speed.py), so a busy machine waits longer. The end of `with` ends QEMU.
"""

import argparse
import codecs
import dataclasses
import json
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools import speed  # noqa: E402
from tools.qemu.firmware_log import FirmwareLog  # noqa: E402

OVMF = pathlib.Path(os.environ.get("METALCOW_OVMF", "/usr/share/OVMF"))
# A folder where each machine leaves what a debug firmware says about itself; "": nowhere. A fault
# that the firmware tells of there ends the machine's next wait, or its `with`, as a failure.
FIRMWARE_LOGS = os.environ.get("METALCOW_FIRMWARE_LOGS", "")
MEMORY_MIB = 512
BOOT_TIMEOUT = 120
TAIL_LINES = 40

# CSI sequences, two-character escapes, and the bytes that a terminal would swallow.
ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>78cDEHM]|"
                     r"[\x00\x07\x0e\x0f]")
UNFINISHED_ESCAPE = re.compile(r"\x1b(\[[0-9;?=]*)?$")
# A cursor placed at the start of a row is where the firmware's console begins a new line.
NEW_ROW = re.compile(r"\x1b\[\d+;0?1H")

# The guest's marker, as a whole line: its token must not be read while it is still arriving.
GUEST_UP = r"^METALCOW-GUEST-UP (\w+)\s*\n"

# What a machine shows when it will not start the guest any more.
GAVE_UP = (r"UEFI Interactive Shell|BdsDxe: No bootable option|Kernel panic|"
           r"Press any key to enter the Boot Manager|^grub> |^grub rescue> ")

# What EDK2 writes to the serial port before it stops for good.
EXCEPTION = re.compile(r"^!!!! \w+ Exception Type.*\n", re.MULTILINE)

# A value of secure_boot: the firmware can verify, but is in setup mode.
NO_KEYS = "no keys"

SHELL_PROMPT = r"^(Shell|FS\d+:[^>\n]*)> $"

BUSES = {
    "virtio": ["virtio-blk-pci,drive={id}"],
    "ahci": ["ide-hd,drive={id},bus=ide.{n}"],
    "cdrom": ["ide-cd,drive={id},bus=ide.{n}"],
    "nvme": ["nvme,drive={id},serial=metalcow{n}"],
    "usb": ["qemu-xhci,id=xhci{n}", "usb-storage,drive={id},bus=xhci{n}.0,removable=on"],
}


@dataclasses.dataclass
class Drive:
    """A disk of the machine: a file, its bus (a key of BUSES), its format as QEMU names it."""

    path: str
    bus: str = "virtio"
    format: str = "raw"
    snapshot: bool = True
    boot_index: int | None = None
    cache: str = ""  # as QEMU names it; "": QEMU's own choice
    log: str = ""  # an empty file, which gets every write and flush (tests/guests/write_log.py);
    # the disk is written to then, whatever snapshot says

    def arguments(self, number):
        name = f"drive{number}"
        path = str(self.path).replace(",", ",,")
        words = ["-drive", f"if=none,id={name},file={path},format={self.format},"
                           f"snapshot={'on' if self.snapshot else 'off'}"]
        if self.log:
            words[-1] = (f"if=none,id={name},driver=blklogwrites,log.driver=file,"
                         f"log.filename={self.log},file.driver={self.format},"
                         f"file.file.driver=file,file.file.filename={path}")
        if self.cache:
            words[-1] += f",cache={self.cache}"
        devices = [text.format(id=name, n=number) for text in BUSES[self.bus]]
        if self.boot_index is not None:
            devices[-1] += f",bootindex={self.boot_index}"
        return words + [word for device in devices for word in ("-device", device)]


class MachineError(Exception):
    """The machine did not do what was waited for; the text ends with the last serial lines."""


class Machine:
    """One run of QEMU. Start with start() or `with`; `text` is all the serial output so far."""

    def __init__(self, drives, memory=MEMORY_MIB, variables=None, log=None, echo=None,
                 timeout=BOOT_TIMEOUT, extra=(), cpus=1, secure_boot=False, saved=None):
        """drives: Drive objects. variables: firmware variables file, made from OVMF's template
        when absent and then kept. log: file that gets the raw serial bytes. echo: a function that
        is given every piece of readable text. timeout: seconds of the reference machine from start
        to a forced end. secure_boot: firmware that verifies, with the snakeoil key of the ovmf
        package enrolled; NO_KEYS: none is enrolled yet, so it verifies nothing until one is.
        saved: a file that save() of a machine with the same devices made; the machine goes on from
        there, after resume()."""
        self.drives = drives
        self.memory = memory
        self.cpus = cpus
        self.variables = variables
        self.log_path = log
        self.echo = echo
        self.timeout = timeout
        self.extra = list(extra)
        self.secure_boot = secure_boot
        self.saved = saved
        self.text = ""
        self.mark = 0
        self.process = None
        self.held = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.folder = None
        self.log = None
        self.firmware_log = None
        self.monitor = None
        self.clock = None
        self.started = 0.0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()
        if exception[0] is None:
            self.check_firmware()

    def command(self):
        variables = pathlib.Path(self.variables or pathlib.Path(self.folder) / "vars.fd")
        if not variables.exists():
            template = "OVMF_VARS_4M.fd"
            if self.secure_boot and self.secure_boot != NO_KEYS:
                template = "OVMF_VARS_4M.snakeoil.fd"
            shutil.copyfile(OVMF / template, variables)
        code = OVMF / ("OVMF_CODE_4M.secboot.fd" if self.secure_boot else "OVMF_CODE_4M.fd")
        smm = "on" if self.secure_boot else "off"
        accel = os.environ.get("METALCOW_ACCEL", "tcg")
        words = ["qemu-system-x86_64", "-machine", f"q35,accel={accel},smm={smm}", "-m",
                 f"{self.memory}M", "-smp", str(self.cpus),
                 "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-net", "none",
                 "-serial", "stdio",
                 "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
                 "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
                 "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
        if self.secure_boot:  # only SMM may write to the variables
            words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        if FIRMWARE_LOGS:
            stem = pathlib.Path(self.log_path or "machine").stem
            _, log = tempfile.mkstemp(".log", f"{stem}-", FIRMWARE_LOGS)
            self.firmware_log = FirmwareLog(log)
            words += ["-debugcon", f"file:{log}", "-global", "isa-debugcon.iobase=0x402"]
        for number, drive in enumerate(self.drives):
            words += drive.arguments(number)
        if self.saved:
            words += ["-incoming", f"exec:cat '{self.saved}'"]
        return words + self.extra

    def start(self):
        self.folder = tempfile.mkdtemp(prefix="metalcow-")
        if self.log_path:
            pathlib.Path(self.log_path).parent.mkdir(parents=True, exist_ok=True)
            self.log = open(self.log_path, "wb")
        self.clock = speed.Clock()
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:
            self.stop()
            raise MachineError(f"QEMU does not start: {error}; run tools/setup.sh") from error
        os.set_blocking(self.process.stdout.fileno(), False)

    def stop(self):
        """Kill QEMU and remove what it used; may be called at any time and twice."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
            self.pump(0)
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
        if self.monitor:
            self.monitor.close()
            self.monitor = None
        if self.clock:
            self.clock.stop()
        if self.log:
            self.log.close()
            self.log = None
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    @property
    def seconds(self):
        """Real seconds since the start, not those of the reference machine."""
        return time.monotonic() - self.started

    def running(self):
        return self.process is not None and self.process.poll() is None

    def readable(self, data):
        """Serial bytes as text; an escape that is cut off waits for its rest."""
        text = self.held + self.decoder.decode(data)
        cut = UNFINISHED_ESCAPE.search(text)
        self.held = cut.group() if cut else ""
        text = text[: cut.start()] if cut else text
        text = ESCAPES.sub("", NEW_ROW.sub("\n", text))
        return text.replace("\r", "")

    def pump(self, wait):
        """Take what the serial port has, waiting at most `wait` seconds; False at its end."""
        ready, _, _ = select.select([self.process.stdout], [], [], wait)
        if not ready:
            return True
        try:
            data = os.read(self.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        if self.log:
            self.log.write(data)
            self.log.flush()
        text = self.readable(data)
        self.text += text
        if self.echo:
            self.echo(text)
        return True

    def complaints(self):
        """The faults that the firmware told of: a debug build on its debug console; any build, of
        CPU exceptions, on the serial port, where registers follow."""
        told = self.firmware_log.complaints() if self.firmware_log else []
        return told + [line.strip() for line in EXCEPTION.findall(self.text)]

    def check_firmware(self):
        if not self.complaints():
            return
        end = time.monotonic() + 1
        while self.running() and time.monotonic() < end and self.pump(0.2):
            pass
        self.fail("a wrong call")

    def fail(self, why):
        why = "".join(f"the firmware says '{line}'; " for line in self.complaints()) + why
        lines = [line for line in self.text.splitlines() if line.strip()][-TAIL_LINES:]
        tail = "\n".join("    | " + line for line in lines) or "    | (nothing)"
        raise MachineError(f"{why} after {self.seconds:.1f} s; the last serial lines:\n{tail}")

    def deadline(self, timeout):
        """When a wait ends that begins now: the call's limit, and the machine's."""
        if timeout is None:
            return self.timeout
        return min(self.timeout, self.clock.seconds() + timeout)

    def expect(self, pattern, timeout=None, absent=None):
        """Wait until the text after the last match has `pattern`; return the match.

        absent: a pattern that ends the wait as a failure. Raises MachineError also when the
        machine stops or the deadline (the call's or the machine's) passes."""
        wanted = re.compile(pattern, re.MULTILINE)
        refused = re.compile(absent, re.MULTILINE) if absent else None
        deadline = self.deadline(timeout)
        alive = True
        while True:
            match = wanted.search(self.text, self.mark)
            if match:
                self.mark = match.end()
                return match
            unwanted = refused.search(self.text, self.mark) if refused else None
            if unwanted:
                self.fail(f"'{unwanted.group().strip()}' came instead of '{pattern}'")
            if not alive:
                self.fail(f"the machine stopped before '{pattern}'")
            self.check_firmware()
            left = deadline - self.clock.seconds()
            if left <= 0:
                self.fail(f"no '{pattern}'")
            alive = self.pump(min(left, 0.5))

    def wait_end(self, timeout=None):
        """Wait until the machine powers itself off; return its exit status."""
        deadline = self.deadline(timeout)
        while self.pump(0.5):
            if self.clock.seconds() > deadline:
                self.fail("the machine does not stop")
        return self.process.wait(timeout=speed.stretch(10))

    def send(self, keys):
        """Type. Slowly, because the firmware's input buffer is short."""
        data = keys.encode()
        for start in range(0, len(data), 8):
            self.process.stdin.write(data[start : start + 8])
            self.process.stdin.flush()
            self.pump(0.02)

    def send_line(self, text):
        self.send(text + "\r")

    def enter_shell(self, timeout=None):
        """Wait for the UEFI shell that the firmware falls back to; skip its startup script."""
        self.expect(r"Press ESC in", timeout=timeout)
        self.send("\x1b")
        self.expect(SHELL_PROMPT, timeout=30)

    def shell(self, command, timeout=60):
        """Run one command in the UEFI shell, which must be at its prompt; return its output."""
        self.send_line(command)
        # The firmware begins a new line in the echo at the right edge of the screen.
        self.expect(r"\n*".join(re.escape(key) for key in command) + r"\s*?\n", timeout=timeout)
        start = self.mark
        match = self.expect(SHELL_PROMPT, timeout=timeout)
        return self.text[start : match.start()]

    def save(self, path):
        """Stop the machine and write its state, without its disks, to a file; qmp("cont") lets it
        go on. What it had written is in the files of its disks then."""
        self.qmp("stop")
        self.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.qmp("migrate", uri=f"exec:cat > '{path}'")
        self.wait_status(lambda: self.qmp("query-migrate").get("status"), "completed")

    def resume(self):
        """Go on from the state that the machine was made with."""
        self.wait_status(lambda: self.qmp("query-status")["status"], "paused")
        self.qmp("cont")

    def wait_status(self, ask, wanted):
        deadline = self.deadline(60)
        while (status := ask()) != wanted:
            if status in ("failed", "cancelled") or self.clock.seconds() > deadline:
                self.fail(f"the status is '{status}' and not '{wanted}'")
            if not self.pump(0.1):
                self.fail(f"the machine stopped before the status '{wanted}'")

    def connect_monitor(self):
        """Connect to QEMU's monitor. QEMU makes the socket while it starts, so this waits."""
        deadline = self.deadline(10)
        while True:
            self.monitor = socket.socket(socket.AF_UNIX)
            self.monitor.settimeout(speed.stretch(10))
            try:
                self.monitor.connect(f"{self.folder}/qmp")
                return
            except OSError:
                self.monitor.close()
                self.monitor = None
                if not self.pump(0.05) or self.clock.seconds() > deadline:
                    self.fail("no monitor")

    def qmp(self, command, **arguments):
        """One command to QEMU's monitor (system_powerdown, eject, device_del, ...)."""
        if not self.monitor:
            self.connect_monitor()
            self.replies = self.monitor.makefile("rb")
            self.replies.readline()
            self.qmp("qmp_capabilities")
        request = {"execute": command, "arguments": arguments}
        self.monitor.sendall(json.dumps(request).encode() + b"\n")
        while True:
            reply = json.loads(self.replies.readline())
            if "error" in reply:
                raise MachineError(f"{command}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drive", action="append", default=[], metavar="FILE[,bus=B][,format=F]",
                        help=f"a disk; B one of {', '.join(BUSES)}; the first is the boot disk")
    parser.add_argument("--write", action="store_true", help="let the machine write to its disks")
    parser.add_argument("--memory", type=int, default=MEMORY_MIB, help="MiB")
    parser.add_argument("--vars", help="file for the firmware variables, kept")
    parser.add_argument("--log", help="file for the raw serial bytes")
    parser.add_argument("--until", default=None, help="regular expression that ends the run well")
    parser.add_argument("--timeout", type=float, default=BOOT_TIMEOUT)
    args = parser.parse_args()
    drives = []
    for text in args.drive:
        path, *options = text.split(",")
        drives.append(Drive(path, snapshot=not args.write,
                            **dict(option.split("=", 1) for option in options)))

    def echo(text):
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        with Machine(drives, memory=args.memory, variables=args.vars, log=args.log, echo=echo,
                     timeout=args.timeout) as machine:
            if args.until:
                machine.expect(args.until)
            else:
                machine.wait_end()
            print(f"\nmachine: {machine.seconds:.1f} s")
    except MachineError as error:
        sys.exit(f"\nmachine: {error}")


if __name__ == "__main__":
    main()

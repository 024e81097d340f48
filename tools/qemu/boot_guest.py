#!/usr/bin/python3
"""Boot a stick until the guest on it says that it is up; what `make run` ends with.

    boot_guest.py --stick build/stick/run.img --guest build/guest/grub.json

The serial console is shown live. Exit status 0 only when the guest printed the token that the
guest's record holds, so that a guest from elsewhere does not count.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tools.qemu.machine import BOOT_TIMEOUT, BUSES, GAVE_UP, GUEST_UP  # noqa: E402
from tools.qemu.machine import Drive, Machine, MachineError  # noqa: E402


def show(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def boot(stick, record, bus, timeout, log):
    """Boot, return (seconds, whether the token is the record's)."""
    with Machine([Drive(stick, bus=bus)], log=log, echo=show, timeout=timeout) as machine:
        match = machine.expect(GUEST_UP, absent=GAVE_UP)
        return machine.seconds, match.group(1) == record["token"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stick", required=True)
    parser.add_argument("--guest", required=True, help="the guest's record (JSON)")
    parser.add_argument("--bus", choices=sorted(BUSES), default="virtio")
    parser.add_argument("--timeout", type=float, default=BOOT_TIMEOUT, help="seconds")
    parser.add_argument("--log", help="file for the raw serial bytes")
    args = parser.parse_args()
    record = json.loads(pathlib.Path(args.guest).read_text(encoding="utf-8"))
    try:
        seconds, token_ok = boot(args.stick, record, args.bus, args.timeout, args.log)
    except MachineError as error:
        sys.exit(f"\nmetalcow: the guest did not come up: {error}")
    if not token_ok:
        sys.exit(f"\nmetalcow: a guest is up, but its token is not {record['token']}")
    print(f"\nmetalcow: the guest is up (token ok), {seconds:.0f} s")


if __name__ == "__main__":
    main()

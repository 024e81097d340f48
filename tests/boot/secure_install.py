#!/usr/bin/python3
"""Secure Boot with a key of one's own, and the driver installed: the firmware's boot manager starts
the guest by it, and starts nothing that has no signature or was changed.

One machine is followed through its boots. It begins without keys; its owner enrols one, as setup
menus do. The guest is the one of systemd-boot with loader and kernel signed.

`make test-secure-install` runs this. Not part of `make test`: four boots of a firmware that
verifies take minutes under emulation.
"""

import contextlib
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tests.boot.test_boot_driver import remove_shell_option  # noqa: E402
from tools import fs, signing  # noqa: E402
from tools.qemu.machine import NO_KEYS, Drive, Machine  # noqa: E402

PROBE = harness.BUILD / "x64/tests/probe.efi"
ESP_OFFSET = fs.MIB
IMAGE = "/img/guest.qcow2"
DRIVER = "/EFI/metalcow/metalcowdxe.efi"
LOADER = "::/EFI/BOOT/BOOTX64.EFI"
UP = r"METALCOW-GUEST-UP"


class Owner:
    """A key, what was signed with it, and a machine's stick and variables."""

    def __init__(self, folder):
        self.folder = folder
        self.key = signing.make_key(folder, "own")
        self.application, self.driver = signing.sign_programs(self.key, harness.BUILD,
                                                              folder / "signed")
        self.stick, self.variables = folder / "stick.img", folder / "variables.fd"
        harness.make_stick.make_stick(self.stick, self.files())

    def files(self):
        keys = signing.enrolment(self.key, self.folder)
        return {**{f"/{name}.auth": path for name, path in keys.items()},
                "/probe.efi": PROBE, "/metalcow.efi": self.application, IMAGE: self.image(),
                harness.ENTRY_PATH: harness.entry_text({"image": IMAGE, "attach": "yes"})}

    def image(self, change=None):
        """The guest with loader and kernel signed. change: what is done to the loader after that,
        from bytes to bytes."""
        raw, image = self.folder / "guest.raw", self.folder / "guest.qcow2"
        fs.run("cp", "--sparse=always", harness.guest_raw("systemd-boot"), raw)
        volume = f"{raw}@@{ESP_OFFSET}"
        for name in ("::/debian/vmlinuz", LOADER):
            self.replace(volume, name, self.signed)
        if change:
            self.replace(volume, LOADER, change)
        fs.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
        return image

    def signed(self, data):
        path = self.folder / "program"
        path.write_bytes(data)
        signing.sign(self.key, path, path)
        return path.read_bytes()

    def replace(self, volume, name, change):
        """Change a file of a volume."""
        path = self.folder / "file"
        path.unlink(missing_ok=True)
        fs.run("mcopy", "-n", "-i", volume, name, path)
        path.write_bytes(change(path.read_bytes()))
        fs.run("mcopy", "-D", "o", "-i", volume, path, name)

    def replace_on_stick(self, name, change):
        self.replace(f"{self.stick}@@{ESP_OFFSET}", f"::{name}", change)

    @contextlib.contextmanager
    def boot(self):
        with Machine([Drive(self.stick, snapshot=False)], log=harness.log_path(),
                     variables=self.variables, secure_boot=NO_KEYS) as running:
            yield running


@contextlib.contextmanager
def installed():
    """A machine whose owner has installed the signed driver and enrolled the key, in this order:
    Debian's firmware has no shell where it verifies."""
    with tempfile.TemporaryDirectory(prefix="metalcow-own-", dir=harness.BUILD) as name:
        owner = Owner(pathlib.Path(name))
        with owner.boot() as running:
            running.enter_shell()
            running.shell("fs0:")
            said = running.shell("metalcow.efi install")
            cases.check("Driver0000 is new" in said, said)
            remove_shell_option(running)
            for variable in signing.VARIABLES:
                said = running.shell(f"probe.efi enrol fs0:\\{variable}.auth {variable}")
                cases.check("probe: enrol ok" in said, said)
            end(running)
        yield owner


def end(running):
    running.send_line("reset -s")
    running.wait_end()


def check_refused(owner, pattern):
    with owner.boot() as running:
        running.expect(pattern, absent=UP)


def changed_code(data):
    """A program with another byte in its code; its headers and signatures are whole."""
    header = int.from_bytes(data[0x3C:0x40], "little")
    nb_sections = int.from_bytes(data[header + 6:header + 8], "little")
    table = header + 24 + int.from_bytes(data[header + 20:header + 22], "little")
    rows = [data[table + 40 * i:table + 40 * (i + 1)] for i in range(nb_sections)]
    code = next(row for row in rows if row.startswith(b".text\0"))
    at = int.from_bytes(code[20:24], "little") + int.from_bytes(code[16:20], "little") // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def test_secure_install_boots_what_is_signed_and_nothing_else():
    with installed() as owner:
        with owner.boot() as running:
            harness.check_guest(running, "systemd-boot")
            cases.check("metalcow.efi" not in running.text, "the application ran")

        owner.replace_on_stick(IMAGE, lambda _: owner.image(changed_code).read_bytes())
        check_refused(owner, r"failed to load Boot\w+ .*: Access Denied")
        owner.replace_on_stick(IMAGE, lambda _: owner.image().read_bytes())

        owner.replace_on_stick(DRIVER, lambda _: harness.DRIVER.read_bytes())
        check_refused(owner, r"No bootable option or device was found")


if __name__ == "__main__":
    cases.main(globals())

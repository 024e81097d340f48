"""Keys of one's own for Secure Boot: made, used to sign programs, and enrolled.

Nothing here is secret: these keys are for emulated machines and live as long as a test.
"""

import dataclasses
import fcntl
import pathlib
import shutil

from tools import fs

ROOT = pathlib.Path(__file__).resolve().parents[1]
OWNER = "4d435731-0000-4000-8000-0000000000c0"
# The signatures that a variable may hold, its namespace, and what signs it.  (UEFI 2.10, 32.3)
VARIABLES = ("db", "KEK", "PK")


@dataclasses.dataclass
class Key:
    private: pathlib.Path
    certificate: pathlib.Path  # PEM


def make_key(folder, name):
    """A new key and a certificate of its own."""
    key = Key(folder / f"{name}.key", folder / f"{name}.pem")
    fs.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", 3650,
           "-subj", f"/CN=metalcow test {name}/", "-keyout", key.private, "-out", key.certificate)
    return key


def sign(key, source, target):
    """A PE program with one more signature; source and target may be the same file."""
    fs.run("sbsign", "--key", key.private, "--cert", key.certificate, "--output", target, source)


def sign_programs(key, build, folder):
    """What `make sign` makes, copied into the folder: the signed programs, metalcow.efi first.
    `make sign` has one place for its results, so one test at a time may call it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(build / "sign.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fs.run("make", "-s", "sign", f"KEY={key.private}", f"CERT={key.certificate}",
               f"BUILD={build.relative_to(ROOT)}", cwd=ROOT)
        return [pathlib.Path(shutil.copy(build / f"x64/signed/{name}.efi", folder))
                for name in ("metalcow", "metalcowdxe")]


def enrolment(key, folder):
    """{variable: file}: what SetVariable takes to make this the only key of a machine, in the order
    in which a machine without keys takes it."""
    der, signatures = folder / "owner.der", folder / "owner.esl"
    fs.run("openssl", "x509", "-in", key.certificate, "-outform", "DER", "-out", der)
    fs.run("sbsiglist", "--owner", OWNER, "--type", "x509", "--output", signatures, der)
    for name in VARIABLES:
        # Without --attr the signature is for appending, which nobody asks for.
        fs.run("sbvarsign", "--attr", "NON_VOLATILE,BOOTSERVICE_ACCESS,RUNTIME_ACCESS", "--key",
               key.private, "--cert", key.certificate, "--output", folder / f"{name}.auth", name,
               signatures)
    return {name: folder / f"{name}.auth" for name in VARIABLES}

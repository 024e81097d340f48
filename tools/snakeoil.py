"""Signing for machines that trust the snakeoil key of the ovmf package."""

import contextlib
import pathlib
import tempfile

from tools import fs

ROOT = pathlib.Path(__file__).resolve().parents[1]
KEYS = pathlib.Path("/usr/share/ovmf")
CERTIFICATE = KEYS / "PkKek-1-snakeoil.pem"


@contextlib.contextmanager
def plain_key():
    """The key without its passphrase, which is the word snakeoil, as a file."""
    with tempfile.TemporaryDirectory(prefix="metalcow-key-") as folder:
        key = pathlib.Path(folder, "key")
        fs.run("openssl", "rsa", "-in", KEYS / "PkKek-1-snakeoil.key", "-passin", "pass:snakeoil",
               "-out", key)
        yield key


def sign(source, target):
    """A PE program with one more signature; source and target may be the same file."""
    with plain_key() as key:
        fs.run("sbsign", "--key", key, "--cert", CERTIFICATE, "--output", target, source)


def sign_programs(build):
    """What `make sign` makes: the signed programs, metalcow.efi first."""
    with plain_key() as key:
        fs.run("make", "-s", "sign", f"KEY={key}", f"CERT={CERTIFICATE}",
               f"BUILD={build.relative_to(ROOT)}", cwd=ROOT)
    return [build / f"x64/signed/{name}.efi" for name in ("metalcow", "metalcowdxe")]

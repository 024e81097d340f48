"""Signing for machines that trust the snakeoil key of the ovmf package."""

import contextlib
import pathlib
import tempfile

from tools import fs, signing

KEYS = pathlib.Path("/usr/share/ovmf")
CERTIFICATE = KEYS / "PkKek-1-snakeoil.pem"


@contextlib.contextmanager
def plain_key():
    """The key without its passphrase, which is the word snakeoil."""
    with tempfile.TemporaryDirectory(prefix="metalcow-key-") as folder:
        key = pathlib.Path(folder, "key")
        fs.run("openssl", "rsa", "-in", KEYS / "PkKek-1-snakeoil.key", "-passin", "pass:snakeoil",
               "-out", key)
        yield signing.Key(key, CERTIFICATE)


def sign(source, target):
    """A PE program with one more signature; source and target may be the same file."""
    with plain_key() as key:
        signing.sign(key, source, target)


def sign_programs(build):
    """What `make sign` makes: the signed programs, metalcow.efi first."""
    with plain_key() as key:
        return signing.sign_programs(key, build, build / "x64/snakeoil")

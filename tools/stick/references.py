"""Which files of a stick its entries need.

May read entries and the heads of images through a volume. Invariant: nothing here writes. An image
that cannot be read names no files.
"""

import contextlib
import posixpath
import re
import struct

FOLDER = "/metalcow/entries"
KEYS = ("image", "data-file", "backing-file", "passphrase-file", "key-file")
LINE = re.compile(r"^[ \t]*([^ \t\r\n#][^ \t\r\n]*)[ \t]+(.*?)[ \t\r]*$", re.MULTILINE)
MAX_LAYERS = 32  # of a chain, as the engine takes
HEAD = 1 << 21  # the largest cluster; all names in a header are in the first one
DATA_FILE = 0x44415441  # header extension: external data file name  (qcow2: "Header extensions")


def place_of(name, folder="/"):
    """The path on the volume to which a name leads from a folder."""
    path = posixpath.join(folder, name.replace("\\", "/"))
    return posixpath.normpath("/" + path.lstrip("/"))


def names_in(head):
    """(backing file, external data file) that an image names; "" where it names none."""
    if len(head) < 72 or head[:4] != b"QFI\xfb":
        return "", ""
    version, at, length = struct.unpack_from(">IQI", head, 4)
    backing, data = head[at:at + length] if at else b"", b""
    at = 72 if version == 2 or len(head) < 104 else struct.unpack_from(">I", head, 100)[0]
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            break
        if kind == DATA_FILE:
            data = head[at + 8:at + 8 + length]
        at += 8 + -(-length // 8) * 8
    return tuple(name.decode(errors="replace").replace("\0", "") for name in (backing, data))


def head_of(volume, path):
    """The first bytes of a file."""
    head = b""
    with contextlib.suppress(OSError):
        if volume.has(path):
            with contextlib.closing(volume.read(path)) as chunks:
                for chunk in chunks:
                    head += chunk
                    if len(head) >= HEAD:
                        break
    return head


def files_of(volume, entry):
    """The paths of all files that an entry needs: what its keys say, and what the images on the
    volume name where no key replaces the name."""
    text = b"".join(volume.read(entry)).decode(errors="replace")
    said = {key: [] for key in KEYS}
    for key, value in LINE.findall(text.replace("\0", "").lstrip("\ufeff")):
        said.setdefault(key, []).append(place_of(value))
    found = [path for key in KEYS for path in said[key]]
    layers = said["image"][:1]
    while layers and len(layers) <= MAX_LAYERS:
        backing, data = names_in(head_of(volume, layers[-1]))
        folder, below = posixpath.dirname(layers[-1]), said["backing-file"][len(layers) - 1:]
        if data and not (said["data-file"] and len(layers) == 1):
            found.append(place_of(data, folder))
        if not below and not backing:
            break
        layers.append(below[0] if below else place_of(backing, folder))
    return found + layers


def entries_that_need(volume, paths, but):
    """[(entry, path)]: entries on a volume that need one of the paths, apart from those in `but`.
    FAT does not tell small letters from capitals."""
    wanted, but = ({path.lower() for path in group} for group in (paths, but))
    entries = [f"{FOLDER}/{name}" for name in volume.names(FOLDER)] if paths else []
    return [(entry, path) for entry in entries
            if entry.lower().endswith(".conf") and entry.lower() not in but
            for path in files_of(volume, entry) if path.lower() in wanted]

"""What firmware takes of entries, so that a stick is refused here and not when it boots.

Pure functions. The numbers are those of efi/image/entries.h and core/spec/disk_spec.h.
"""

from tools.stick.images import Refusal
from tools.stick.references import FOLDER

MAX_ENTRIES = 64
MAX_TEXT = 255  # bytes of a title or of the name of a snapshot
MAX_BACKING_FILES = 15  # keys of one entry


def text_complaint(text):
    """What is wrong with a text as the value of a key, to be read on after its name; None: nothing.
    """
    if not text.isprintable():
        return "has characters that no entry can have"
    if text != text.strip(" ") or not text:
        return "is empty, or has a blank at an end, which no entry can have"
    if len(text.encode()) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} bytes"
    return None


def check_entries(names, target):
    """names: of the files that the folder of entries will have. Where there are more than firmware
    takes, it leaves out the last ones of its menu. Other files, and those that begin with a dot,
    are none."""
    nb_entries = sum(name.endswith(".conf") and not name.startswith(".")
                     for name in {name.lower() for name in names})
    if nb_entries > MAX_ENTRIES:
        raise Refusal(f"{target}: {FOLDER} would have {nb_entries} entries, and firmware takes "
                      f"{MAX_ENTRIES} of them. Take files out of this folder, or name fewer "
                      f"images")


def check_image(path, layers, lines, snapshot):
    """layers: what `metalcow info` says of the image; lines: of its entry."""
    known = layers[0].get("snapshots", [])
    if snapshot and not any(snapshot in (row["id"], row["name"]) for row in known):
        names = ", ".join(row["name"] or row["id"] for row in known)
        raise Refusal(f"{path} has no snapshot '{snapshot}'; it has {names or 'none'}")
    if sum(key == "backing-file" for key, _ in lines) > MAX_BACKING_FILES:
        raise Refusal(f"{path}: its entry would need more than {MAX_BACKING_FILES} keys "
                      f"backing-file. Move its backing files below the folder of the file above "
                      f"them, and say so: `metalcow rebase -u`")

"""What a person reads when a boot goes wrong: one table, regular expressions.

Every row names the file at fault and the cause. ATTACH rows are tried with `metalcow.efi attach`
in the UEFI shell: name -> (image variant, further arguments, files left out, text). The files are
in a folder named like the row; arguments None attaches the data file itself.
"""

IMAGE = r"debian\.qcow2"

ATTACH = {
    "missing-data-file": ("data-file", "", ["debian.raw"],
                          r"debian\.raw.*(does not exist|not found)"),
    "data-file-required": ("noname", "", [], IMAGE + r".*data file but does not say which"),
    "data-file-unexpected": ("plain", r"--data-file fs0:\{row}\debian.qcow2", [],
                             r"the image has no external data file"),
    "truncated-data-file": ("truncated-data", "", [], r"debian\.raw.*ends before"),
    "wrong-data-file": ("wrong-data", "", [], r"debian\.raw.*ends before"),
    "image-as-its-data-file": ("noname", r"--data-file fs0:\{row}\debian.qcow2", [],
                               IMAGE + r".*occurs twice"),
    "unknown-feature": ("unknown-feature", "", [], IMAGE + r".*holographic storage"),
    "missing-image": ("plain", "", ["debian.qcow2"], IMAGE + r".*(does not exist|not found)"),
    "not-an-image": ("raw-data", None, [], r"debian\.raw.*not a qcow2 image"),
}

# The application as BOOTX64.EFI on a stick without any entry.
NO_ENTRY = r"metalcow.*entries"


def attach_command(row):
    """The image that a row attaches, and further arguments, as typed in the shell."""
    _, arguments, _, _ = ATTACH[row]
    if arguments is None:
        return "debian.raw", ""
    return "debian.qcow2", arguments.format(row=row)

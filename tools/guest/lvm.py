"""One physical volume of LVM with one logical volume, written without LVM's own tools, which need
the device mapper of a running kernel.

The physical volume's label, header and metadata area are stored before its first extent.  (LVM2,
lib/format_text/layout.h and lib/label/label.h)
"""

import struct
import zlib

from tools import fs

SECTOR = 512
EXTENT = 4 * fs.MIB
DATA = fs.MIB      # where the first extent begins
METADATA = 4096    # where the metadata area begins
GROUP, VOLUME = "guest", "root"
PATH = f"/dev/mapper/{GROUP}-{VOLUME}"

TEXT = """{group} {{
id = "{group_id}"
seqno = 1
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = {extent_sectors}
max_lv = 0
max_pv = 0
metadata_copies = 0
physical_volumes {{
pv0 {{
id = "{physical_id}"
device = "/dev/sda2"
status = ["ALLOCATABLE"]
flags = []
dev_size = {sectors}
pe_start = {data_sector}
pe_count = {extents}
}}
}}
logical_volumes {{
{volume} {{
id = "{volume_id}"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
creation_time = 1
creation_host = "guest"
segment_count = 1
segment1 {{
start_extent = 0
extent_count = {extents}
type = "striped"
stripe_count = 1
stripes = ["pv0", 0]
}}
}}
}}
}}
contents = "Text Format Volume Group"
version = 1
description = ""
creation_host = "guest"
creation_time = 1
"""


def checksum(data):
    """LVM's own CRC-32: another start, and no inversion at the end."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def written(number):
    """An identifier as the metadata writes it; the label has it without hyphens."""
    text = f"guest{number}".ljust(32, "0")
    ends = [0, 6, 10, 14, 18, 22, 26, 32]
    return "-".join(text[a:b] for a, b in zip(ends, ends[1:]))


def label(size):
    areas = struct.pack("<10Q", DATA, 0, 0, 0, METADATA, DATA - METADATA, 0, 0, 2 | 1 << 32, 0)
    header = written(0).replace("-", "").encode() + struct.pack("<Q", size) + areas + bytes(8)
    rest = (struct.pack("<I8s", 32, b"LVM2 001") + header).ljust(SECTOR - 20, b"\0")
    return struct.pack("<8sQI", b"LABELONE", 1, checksum(rest)) + rest


def metadata(size):
    text = TEXT.format(group=GROUP, volume=VOLUME, group_id=written(1), physical_id=written(0),
                       volume_id=written(2), extent_sectors=EXTENT // SECTOR,
                       sectors=size // SECTOR, data_sector=DATA // SECTOR,
                       extents=volume_size(size) // EXTENT).encode() + b"\0"
    rest = struct.pack("<16sIQQQQII", b" LVM2 x[5A%r0N*>", 1, METADATA, DATA - METADATA, SECTOR,
                       len(text), checksum(text), 0).ljust(SECTOR - 4, b"\0")
    return struct.pack("<I", checksum(rest)) + rest + text


def volume_size(size):
    """The logical volume's size in bytes, in a partition of this size."""
    return (size - DATA) // EXTENT * EXTENT


def make_volume(image, start, size):
    """Write a physical volume into a partition of an image; returns where the logical volume
    begins, in bytes from the image's start, and its size."""
    with open(image, "r+b") as file:
        file.seek(start + SECTOR)
        file.write(label(size))
        file.seek(start + METADATA)
        file.write(metadata(size))
    return start + DATA, volume_size(size)

"""Replace a file of a FAT volume that is not mounted, so that its name stands for a whole file at
every moment.

mtools removes the old file before the new one gets its name. A stick that is pulled in between does
not boot. Here the entries of both files change instead. Invariant: each step changes one sector and
is on the medium before the next; no two entries ever share a cluster.
"""

import os
import struct

from tools.stick import fragments

# From DIR_FstClusHI to DIR_FileSize, with the time of writing in between.  (FAT specification,
# "Directory Structure"; DIR_FstClusHI means nothing on FAT12 and FAT16)
AT, LENGTH = 20, 12


def write_durably(path, at, data):
    """Write bytes of one sector; they are on the medium afterwards."""
    with open(path, "r+b", buffering=0) as image:
        image.seek(at)
        image.write(data)
        os.fsync(image.fileno())


def exchange(path, offset, new, old, write=write_durably):
    """Exchange the contents of two files of the volume. Returns False, and changes nothing, where
    one of them is empty. `old` has its own content or that of `new`, whole, at every moment; `new`
    is empty for a moment."""
    volume = fragments.Volume(path, offset)
    clusters = [volume.first_cluster(name) for name in (new, old)]
    if None in clusters:
        return False
    places = [volume.find_entry(os.path.dirname(name).strip("/"), cluster) + AT
              for name, cluster in zip((new, old), clusters)]
    with open(path, "rb") as image:
        contents = []
        for place in places:
            image.seek(place)
            contents.append(image.read(LENGTH))
    empty = struct.pack("<H4xHI", 0, 0, 0)
    write(path, places[0], empty)
    write(path, places[1], contents[0])
    write(path, places[0], contents[1])
    return True

"""Reads the dirty bitmaps of a qcow2 file out of its bytes, without metalcow and without QEMU."""

import struct

from tests.cases import check, check_equal

IN_USE, AUTO = 1, 2
EXTENSION = 0x23852875


def directory(path):
    """The file's bytes, and its bitmaps: (name, offset of the entry, table offset, entries, flags,
    granularity)."""
    data = path.read_bytes()
    found = []
    version, = struct.unpack(">I", data[4:8])
    at = struct.unpack(">I", data[100:104])[0] if version > 2 else 72
    while True:
        kind, length = struct.unpack(">II", data[at:at + 8])
        if kind == 0:
            return data, found
        if kind == EXTENSION:
            number, _, _, entry = struct.unpack(">IIQQ", data[at + 8:at + 32])
            for _ in range(number):
                table, entries, flags, _, bits, name, extra = struct.unpack(
                    ">QIIBBHI", data[entry:entry + 24])
                start = entry + 24 + extra
                found.append((data[start:start + name].decode(), entry, table, entries, flags,
                              1 << bits))
                entry += (24 + extra + name + 7) & ~7
        at += 8 + (length + 7) // 8 * 8


def bitmaps(path):
    """name: (flags, granularity, the granules that are dirty)."""
    data, entries = directory(path)
    cluster = 1 << struct.unpack(">I", data[20:24])[0]
    size = struct.unpack(">Q", data[24:32])[0]
    found = {}
    for name, _, table, nb_entries, flags, granularity in entries:
        dirty = set()
        for i in range(nb_entries):
            (entry,) = struct.unpack(">Q", data[table + 8 * i:table + 8 * i + 8])
            bits = data[entry:entry + cluster] if entry > 1 else bytes([255 * entry]) * cluster
            dirty.update(i * cluster * 8 + byte * 8 + bit for byte, value in enumerate(bits)
                         if value for bit in range(8) if value >> bit & 1)
        check(all(at * granularity < size for at in dirty), f"{path.name}: bits past the end")
        check_equal(nb_entries, max(1, -(-size // (granularity * cluster * 8))),
                    f"{path.name}: {name}: entries of the table")
        found[name] = (flags, granularity, dirty)
    return found

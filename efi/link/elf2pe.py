#!/usr/bin/python3
"""Make a UEFI program of a linked ELF file: a PE32+ image that the firmware relocates.

    elf2pe.py --subsystem 11 IN.so OUT.efi

The sections are those of efi.lds. Nothing else of the ELF file gets into the image: no symbols, no
debugging information. Pointers become base relocations, so the program needs no start code of its
own. The image says that it works with memory that is never writable and executable (NX_COMPAT).
(PE format: "Optional Header", ".reloc"; ELF: relocations of the processors' supplements)
"""

import argparse
import pathlib
import struct

PAGE = 0x1000
FILE_ALIGN = 0x200
HEADERS = 0x400

# ELF machine: PE machine, the relocation that adds the image's base to a word.
MACHINES = {62: (0x8664, 8), 183: (0xAA64, 1027)}

CODE, DATA, EXECUTE, READ, WRITE, DISCARDABLE = 0x20, 0x40, 1 << 29, 1 << 30, 1 << 31, 1 << 25
SECTIONS = {
    ".text": CODE | EXECUTE | READ,
    ".rodata": DATA | READ,
    ".data": DATA | READ | WRITE,
    ".sbat": DATA | READ,
}
RELOC = DATA | READ | DISCARDABLE

# Executable, no line numbers, no local symbols, large addresses, no debugging information.
CHARACTERISTICS = 0x002 | 0x004 | 0x008 | 0x020 | 0x200
DYNAMIC_BASE, NX_COMPAT = 0x40, 0x100


class Refused(Exception):
    """The file is not what efi.lds gives."""


def up(value, alignment):
    return (value + alignment - 1) // alignment * alignment


class Elf:
    """The parts of an ELF file: 64 bits, little endian."""

    def __init__(self, data):
        self.data = data
        if data[:6] != b"\x7fELF\x02\x01":
            raise Refused("not an ELF file of 64 bits, little endian")
        self.machine, = struct.unpack_from("<H", data, 18)
        self.entry, = struct.unpack_from("<Q", data, 24)
        offset, = struct.unpack_from("<Q", data, 40)
        size, number, names = struct.unpack_from("<HHH", data, 58)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size)
                   for i in range(number)]
        strings = headers[names][4]
        self.sections = {self.text(strings + header[0]): header for header in headers}
        if self.machine not in MACHINES:
            raise Refused(f"ELF machine {self.machine} is none of {sorted(MACHINES)}")

    def text(self, offset):
        return self.data[offset:self.data.index(b"\0", offset)].decode()

    def allocated(self):
        """Names of the sections that want memory."""
        return {name for name, header in self.sections.items() if header[2] & 2 and header[5] > 0}

    def content(self, name):
        """Address and bytes of a section; no bytes if the file does not have it."""
        if name not in self.sections:
            return 0, b""
        _, kind, _, address, offset, size = self.sections[name][:6]
        return address, bytes(size) if kind == 8 else self.data[offset:offset + size]

    def relocations(self):
        """Addresses of words, and what each holds before the base is added."""
        wanted = MACHINES[self.machine][1]
        for name, header in self.sections.items():
            if header[1] != 4 or not header[2] & 2:  # tables that are loaded, with addends
                continue
            for address, info, addend in struct.iter_unpack("<QQq", self.content(name)[1]):
                if info & 0xFFFFFFFF != wanted:
                    raise Refused(f"relocation {info:#x} at {address:#x}: only a base can be added")
                yield address, addend


def memory_sections(elf):
    """[name, address, bytearray] of what goes into the image, relocated to base 0."""
    extra = elf.allocated() - set(SECTIONS) - {".rela", ".dynamic", ".dynsym", ".dynstr", ".hash",
                                               ".gnu.hash"}
    if extra:
        raise Refused(f"sections that efi.lds does not place: {', '.join(sorted(extra))}")
    found = [[name, elf.content(name)[0], bytearray(elf.content(name)[1])] for name in SECTIONS
             if elf.content(name)[1]]
    for name, address, _ in found:
        if address % PAGE:
            raise Refused(f"{name} begins at {address:#x}, inside a page")
    for address, addend in elf.relocations():
        for name, start, content in found:
            if start <= address and address + 8 <= start + len(content):
                if name == ".text":
                    raise Refused(f"code would have to be relocated at {address:#x}")
                struct.pack_into("<Q", content, address - start, addend)
                break
        else:
            raise Refused(f"relocation at {address:#x} is outside of every section")
    return found


def relocation_blocks(addresses):
    """The .reloc section: a block of 16-bit entries for each page."""
    pages = {}
    for address in sorted(addresses):
        pages.setdefault(address // PAGE * PAGE, []).append(0xA000 | address % PAGE)
    out = b""
    for page, entries in pages.items():
        entries += [0] * (len(entries) % 2)
        out += struct.pack(f"<II{len(entries)}H", page, 8 + 2 * len(entries), *entries)
    return out or struct.pack("<IIHH", 0, 12, 0, 0)


def checksum(image, at):
    """The sum of 16-bit words with carry, without the field itself, and the length."""
    total = sum(word for i, (word,) in enumerate(struct.iter_unpack("<H", image))
                if i * 2 not in (at, at + 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(image)


def layout(elf):
    """(name, address, memory size, file bytes, characteristics) of every section of the image."""
    rows = []
    for name, address, content in memory_sections(elf):
        rows.append((name, address, len(content), bytes(content).rstrip(b"\0"), SECTIONS[name]))
    reloc = relocation_blocks(address for address, _ in elf.relocations())
    end = max(address + size for _, address, size, _, _ in rows)
    rows.append((".reloc", up(end, PAGE), len(reloc), reloc, RELOC))
    return rows


def section_table(rows):
    """The section headers and the sections' bytes after the headers."""
    table, body = b"", b""
    for name, address, size, content, kind in rows:
        padded = content.ljust(up(len(content), FILE_ALIGN), b"\0")
        table += struct.pack("<8sIIIIIIHHI", name.encode(), size, address, len(padded),
                             HEADERS + len(body) if padded else 0, 0, 0, 0, 0, kind)
        body += padded
    return table, body


def file_headers(elf, rows, subsystem):
    """DOS header, signature, file header and optional header."""
    def total(flag):
        return sum(up(size, FILE_ALIGN) for _, _, size, _, kind in rows if kind & flag)

    image_size = up(rows[-1][1] + rows[-1][2], PAGE)
    directories = [(0, 0)] * 16
    directories[5] = (rows[-1][1], rows[-1][2])
    optional = struct.pack("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII", 0x20B, 0, 0, total(CODE), total(DATA),
                           0, elf.entry, rows[0][1], 0, PAGE, FILE_ALIGN, 0, 0, 0, 0, 0, 0, 0,
                           image_size, HEADERS, 0, subsystem, NX_COMPAT | DYNAMIC_BASE,
                           0, 0, 0, 0, 0, 16)
    optional += b"".join(struct.pack("<II", *directory) for directory in directories)
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    head = struct.pack("<4sHHIIIHH", b"PE\0\0", MACHINES[elf.machine][0], len(rows), 0, 0, 0,
                       len(optional), CHARACTERISTICS)
    return dos + head + optional


def convert(data, subsystem):
    elf = Elf(data)
    rows = layout(elf)
    if not any(name == ".text" and address <= elf.entry < address + size
               for name, address, size, _, _ in rows):
        raise Refused("the program has no entry point in its code")
    table, body = section_table(rows)
    head = file_headers(elf, rows, subsystem) + table
    if len(head) > HEADERS:
        raise Refused("the headers need more room")
    image = bytearray(head.ljust(HEADERS, b"\0") + body)
    at = 64 + 24 + 64
    struct.pack_into("<I", image, at, checksum(image, at))
    return bytes(image)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--subsystem", type=int, required=True,
                        help="10: application, 11: boot service driver")
    parser.add_argument("elf", type=pathlib.Path)
    parser.add_argument("efi", type=pathlib.Path)
    arguments = parser.parse_args()
    try:
        image = convert(arguments.elf.read_bytes(), arguments.subsystem)
    except Refused as error:
        parser.exit(1, f"elf2pe: {arguments.elf}: {error}\n")
    arguments.efi.write_bytes(image)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""The firmware programs as PE files: what Secure Boot's tools and a firmware with NX look at."""

import pathlib
import struct
import sys

import lint
from tests import cases

sys.path.insert(0, str(lint.ROOT / "efi/link"))
import elf2pe  # noqa: E402  pylint: disable=wrong-import-position

PROGRAMS = ("metalcow", "metalcowdxe")
EXECUTE, WRITE = 1 << 29, 1 << 31


class Image:
    """A PE32+ file, read by itself: not with what made it."""

    def __init__(self, data):
        self.data = data
        self.pe, = struct.unpack_from("<I", data, 60)
        self.machine, nb = struct.unpack_from("<HH", data, self.pe + 4)
        self.symbols, self.nb_symbols = struct.unpack_from("<II", data, self.pe + 12)
        size, = struct.unpack_from("<H", data, self.pe + 20)
        self.optional = self.pe + 24
        self.section_align, self.file_align = struct.unpack_from("<II", data, self.optional + 32)
        self.image_size, self.headers, self.checksum = struct.unpack_from("<III", data,
                                                                          self.optional + 56)
        self.subsystem, self.dll = struct.unpack_from("<HH", data, self.optional + 68)
        self.sections = {}
        for i in range(nb):
            row = struct.unpack_from("<8sIIIIIIHHI", data, self.optional + size + 40 * i)
            self.sections[row[0].rstrip(b"\0").decode()] = row[1:5] + (row[9],)

    def content(self, name):
        size, _, raw_size, raw, _ = self.sections[name]
        return self.data[raw:raw + min(size, raw_size)]


def images():
    for name in PROGRAMS:
        yield name, Image((lint.BUILD / f"x64/{name}.efi").read_bytes())


def test_pe_sections_are_pages_and_never_writable_code():
    for name, image in images():
        cases.check_equal(set(image.sections), {".text", ".rodata", ".data", ".sbat", ".reloc"},
                          f"sections of {name}")
        end = 0x1000
        for section, (size, address, raw_size, raw, kind) in image.sections.items():
            cases.check(not (kind & EXECUTE and kind & WRITE), f"{name}: {section} is W and X")
            cases.check_equal(bool(kind & EXECUTE), section == ".text", f"{name}: {section} X")
            cases.check_equal(bool(kind & WRITE), section == ".data", f"{name}: {section} W")
            cases.check_equal(address % image.section_align, 0, f"{name}: {section} address")
            cases.check_equal((raw | raw_size) % image.file_align, 0, f"{name}: {section} place")
            cases.check(address >= end, f"{name}: {section} overlaps")
            cases.check(raw_size <= elf2pe.up(size, image.file_align), f"{name}: {section} size")
            end = address + size
        cases.check_equal(image.section_align, 4096, f"{name}: alignment")
        cases.check_equal(image.image_size, elf2pe.up(end, 4096), f"{name}: size of the image")


def test_pe_says_nx_and_has_nothing_left_over():
    for name, image in images():
        cases.check(image.dll & 0x100, f"{name} is not NX_COMPAT")
        cases.check_equal((image.symbols, image.nb_symbols), (0, 0), f"{name}: symbol table")
        last = max(raw + raw_size for _, _, raw_size, raw, _ in image.sections.values())
        cases.check_equal(len(image.data), last, f"{name}: bytes behind the last section")
        cases.check_equal(image.subsystem, 11 if name == "metalcowdxe" else 10, f"{name}: kind")
        total = elf2pe.checksum(image.data, image.optional + 64)
        cases.check_equal(image.checksum, total, f"{name}: checksum")


def test_pe_sbat_names_us_in_its_second_line():
    for name, image in images():
        lines = image.content(".sbat").rstrip(b"\0").decode("ascii").splitlines()
        cases.check_equal(lines[0].split(",")[:2], ["sbat", "1"], f"{name}: first line")
        cases.check_equal(lines[1].split(",")[:2], ["metalcow", "1"], f"{name}: second line")
        cases.check_equal([line.count(",") for line in lines], [5, 5], f"{name}: fields")


def test_pe_relocations_are_inside_the_data():
    for name, image in images():
        blocks, at, nb = image.content(".reloc"), 0, 0
        places = [image.sections[section] for section in (".rodata", ".data")]
        while at < len(blocks):
            page, size = struct.unpack_from("<II", blocks, at)
            for entry, in struct.iter_unpack("<H", blocks[at + 8:at + size]):
                if entry == 0:
                    continue
                cases.check_equal(entry >> 12, 10, f"{name}: kind of relocation")
                address = page + (entry & 0xFFF)
                cases.check(any(start <= address and address + 8 <= start + length
                                for length, start, _, _, _ in places), f"{name}: {address:#x}")
                nb += 1
            at += size
        cases.check(nb > 20, f"{name}: {nb} relocations")


def refused(data):
    try:
        elf2pe.convert(bytes(data), 10)
    except elf2pe.Refused as error:
        return str(error)
    return ""


def test_pe_of_something_else_is_refused():
    elf = bytearray((lint.BUILD / "x64/metalcowdxe.so").read_bytes())
    cases.check_equal(refused(elf), "", "the program itself")
    cases.check("not an ELF" in refused(b"MZ" + elf[2:]), "another magic is taken")
    cases.check("machine" in refused(elf[:18] + b"\x03\0" + elf[20:]), "another machine is taken")
    cases.check("entry" in refused(elf[:24] + bytes(8) + elf[32:]), "no entry point is needed")
    parsed = elf2pe.Elf(bytes(elf))
    header = parsed.sections[".rela"]
    struct.pack_into("<I", elf, header[4] + 8, 1)
    cases.check("only a base" in refused(elf), "another relocation is taken")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""The red zone: interrupts use our stack, so no firmware code may use memory below rsp.
(HAZARDS.md, U2)

Refused in the disassembly of every firmware object and program:

    an access below rsp:              mov %eax,-0x14(%rsp)    orq $0x0,-0x8(%rsp)
    the address of what is there:   lea -0x48(%rsp),%rax    (lea into rsp itself makes room)
    the same through a frame pointer: mov %rsp,%rbp; mov %eax,-0x4(%rbp) in a function that has not
                                      made that much room anywhere before
"""

import re

import lint
from tests import cases

FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(?:(?:rep|repz|repnz|lock|data16|cs|ds) )*(\w+)\s*(.*)$")
BELOW_RSP = re.compile(r"-0x[0-9a-f]+\(%rsp[,)]")
BELOW_RBP = re.compile(r"-0x([0-9a-f]+)\(%rbp[,)]")
MAKE_ROOM = re.compile(r"^\$0x([0-9a-f]+),%rsp$")


class Frame:
    """What is known of one function's frame, read from its first line to its last.

    Room is never taken back here: code after a return is reached by a jump from before it.
    """

    def __init__(self, name="?"):
        self.name = name
        self.has_pointer = False
        self.room = 0

    def take(self, mnemonic, operands):
        """Go past one instruction; return what is wrong with it, or None."""
        if mnemonic.startswith("nop"):
            return None
        if BELOW_RSP.search(operands) and not (mnemonic == "lea" and operands.endswith(",%rsp")):
            return f"{self.name}: {mnemonic} {operands}"
        below = BELOW_RBP.search(operands)
        if self.has_pointer and below and int(below.group(1), 16) > self.room:
            return f"{self.name}: {mnemonic} {operands} with {self.room} bytes of room"
        self._follow(mnemonic, operands)
        return None

    def _follow(self, mnemonic, operands):
        made = MAKE_ROOM.match(operands)
        if mnemonic == "mov" and operands == "%rsp,%rbp":
            self.has_pointer, self.room = True, 0
        elif operands.endswith(",%rbp") and mnemonic not in ("cmp", "test"):
            self.has_pointer = False
        elif mnemonic.startswith("push"):
            self.room += 8
        elif mnemonic == "sub" and made:
            self.room += int(made.group(1), 16)
        elif mnemonic == "add" and made and int(made.group(1), 16) >= 1 << 63:
            self.room += (1 << 64) - int(made.group(1), 16)
        elif mnemonic in ("sub", "and", "lea") and operands.endswith(",%rsp"):
            self.room = float("inf")


def complaints_of(path):
    """(complaints, number of functions) of an object or program."""
    complaints, nb_functions, frame = [], 0, Frame()
    text = lint.run("objdump", "-d", "--no-show-raw-insn", str(path))
    for line in text.splitlines():
        function = FUNCTION.match(line)
        instruction = INSTRUCTION.match(line)
        if function:
            nb_functions += 1
            frame = Frame(function.group(1))
        elif instruction:
            operands = instruction.group(2).split("#")[0].split("<")[0].strip()
            wrong = frame.take(instruction.group(1), operands)
            if wrong:
                complaints.append(f"{path.name}: {wrong}")
    return complaints, nb_functions


def sample_complaints(path):
    """As the host compiles, with the red zone; the level of optimisation is in the name."""
    level = "-O0" if "frame_pointer" in path.name else "-O2"
    target = lint.compile_sample(path.relative_to(lint.SAMPLES), "-mred-zone", level)
    return complaints_of(target)[0]


def test_red_zone_samples_are_refused():
    lint.check_samples("red_zone", sample_complaints)


def test_red_zone_is_not_used_by_firmware_objects():
    facts = lint.facts()
    paths = [*lint.objects("x64", facts["firmware"]),
             *(lint.ROOT / library for library in facts["third_party"])]
    results = [complaints_of(path) for path in paths]
    nb_functions = sum(nb for _, nb in results)
    print(f"# {len(paths)} objects and libraries, {nb_functions} functions")
    cases.check(nb_functions > 100, "the disassembly has too few functions")
    lint.check_none([line for lines, _ in results for line in lines], "accesses below rsp")


def test_red_zone_is_not_used_by_firmware_programs():
    programs = sorted((lint.BUILD / "x64").glob("*.efi"))
    cases.check(programs, f"{lint.BUILD / 'x64'} holds no program")
    for program in programs:
        complaints, _ = complaints_of(program)
        lint.check_none(complaints, f"accesses below rsp in {program.name}")
        text = lint.run("objdump", "-h", str(program))
        cases.check(".text" in text, f"{program.name} has no code")


if __name__ == "__main__":
    cases.main(globals())

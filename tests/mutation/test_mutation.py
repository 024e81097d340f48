#!/usr/bin/python3
"""Mutation testing in small: mistakes that no test noticed once, and a seeded few of all others.

The long run is `make mutation`. Here each row of HOLES is made in turn, and the program beside it
has to fail. A row whose code is gone fails too: then take the new code, or remove the row.
"""

import dataclasses
import functools
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests import cases  # noqa: E402
from tests.mutation import mutate  # noqa: E402

SEED = 20261128
# Small files with quick tests: a full choice of files takes minutes.
SEEDED_FILES = ("core/base/line.c", "core/format/l2_entry.c", "core/read/name_gate.c")
SEEDED_COUNT = 4

AMEND = "tests/unit/core/write/test_amend"
CHECK = "tests/unit/core/check/test_check"
FAT_MAP = "tests/unit/core/fs/test_fat_chain"
FAT_PATH = "tests/unit/core/fs/test_fat_path"


@dataclasses.dataclass
class Hole:
    """A mistake: in this function of this file, the text becomes another one."""

    name: str
    source: str
    function: str
    before: str
    after: str
    program: str


HOLES = (
    Hole("header_not_committed_by_resize", "core/write/amend.c", "q2_disk_resize",
         "status = q2_commit_header(disk);", "(void)0;", AMEND),
    Hole("header_not_committed_by_make_empty", "core/write/amend.c", "q2_disk_make_empty",
         "status = q2_commit_header(disk);", "(void)0;", AMEND),
    Hole("header_not_committed_by_preallocate", "core/write/preallocate.c", "q2_disk_preallocate",
         "status = q2_commit_header(disk);", "(void)0;", AMEND),
    Hole("failed_commit_in_preallocate", "core/write/preallocate.c", "q2_disk_preallocate",
         "return status == Q2_OK ? q2_commit(disk) : status;",
         "return status == Q2_OK ? ((void)q2_commit(disk), Q2_OK) : status;", AMEND),
    Hole("bitmap_table_over_one_cluster", "core/check/count.c", "walk_bitmap",
         "bitmap->table_size * 8ull, bitmap->table_offset);", "8, bitmap->table_offset);", CHECK),
    Hole("parts_of_a_long_name_out_of_order", "core/fs/fat_path.c", "",
         "order + 1 != name->order || order == 0", "order == 0", FAT_PATH),
    Hole("run_past_the_last_cluster", "core/fs/fat_table.c", "nb_ahead_in_row",
         "left = left < last - cluster ? left : last - cluster;", "(void)last;", FAT_MAP),
)


@functools.cache
def all_programs():
    """Looked up once: it reads the symbols of every test program."""
    mutate.start()
    return mutate.Programs()


def find(hole):
    """The mutant of a hole."""
    lines = (ROOT / hole.source).read_text(encoding="utf-8").split("\n")
    begin = next((i for i, line in enumerate(lines)
                  if f"{hole.function}(" in line and not line.startswith((" ", "/"))), None)
    cases.check(not hole.function or begin is not None, f"{hole.source} has no {hole.function}()")
    for number in range(begin or 0, len(lines)):
        if hole.before in lines[number]:
            return mutate.Mutant(hole.source, number, "hole", lines[number],
                                 lines[number].replace(hole.before, hole.after))
        if hole.function and lines[number] == "}":
            break
    raise cases.Failure(f"{hole.source}, {hole.function or 'the file'}: no '{hole.before}'")


def check_hole(hole):
    mutant, programs = find(hole), all_programs()
    cases.check(mutate.compile_mutant(programs, mutant), f"does not compile: {mutant.after}")
    target = mutate.WORK / "program"
    mutate.link_mutant(programs, hole.program, mutant, target)
    status, _ = mutate.run_program(target, 60)
    cases.check(status != 0, f"{hole.program} does not notice {mutant.key()}")


def test_mutation_holes_stay_closed():
    failures = []
    for hole in HOLES:
        try:
            check_hole(hole)
        except cases.Failure as failure:
            failures.append(f"{hole.name}: {failure}")
    cases.check(not failures, "\n".join([f"{len(failures)} hole(s)", *failures]))


def test_mutation_right_code_is_not_caught():
    """The way itself: a mutant that is none passes, or everything would look caught."""
    hole = dataclasses.replace(HOLES[0], after=HOLES[0].before)
    mutant, programs = find(hole), all_programs()
    cases.check(mutate.compile_mutant(programs, mutant), "the right code does not compile")
    mutate.link_mutant(programs, hole.program, mutant, mutate.WORK / "program")
    status, _ = mutate.run_program(mutate.WORK / "program", 60)
    cases.check_equal(status, 0, "exit status of the right code")


def test_mutation_seeded_few_are_caught():
    print(f"# seed {SEED}")
    mutants = [mutant for part in SEEDED_FILES
               for mutant in mutate.choose(SEEDED_COUNT, SEED, part)]
    cases.check(len(mutants) > SEEDED_COUNT, f"only {len(mutants)} mutants")
    mutate.run(all_programs(), mutants, False, mutate.equivalents(), quiet=True)
    survived = [f"{mutant.kind} {mutant.key()}" for mutant in mutants
                if mutant.result == "survived"]
    cases.check(not survived, "\n".join([f"{len(survived)} survived", *survived]))
    caught = sum(mutant.result == "caught" for mutant in mutants)
    cases.check(caught >= SEEDED_COUNT, f"only {caught} were caught")


def test_mutation_same_seed_gives_the_same_mutants():
    cases.check_equal(mutate.choose(30, 5, None), mutate.choose(30, 5, None), "the choice")
    cases.check(mutate.choose(30, 5, None) != mutate.choose(30, 6, None), "seeds do not matter")
    kinds = {mutant.kind for mutant in mutate.choose(30, 5, None)}
    cases.check_equal(kinds, {"arguments", "check", "constant", "relation", "statement", "sum"},
                      "kinds of mistakes")


def test_mutation_equivalents_have_a_reason():
    wrong = [key for key, reason in mutate.equivalents().items() if not reason]
    cases.check(not wrong, "\n".join(["no reason", *wrong]))


if __name__ == "__main__":
    cases.main(globals())

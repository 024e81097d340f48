#!/usr/bin/python3
"""Mutation testing in small: mistakes that no test noticed once, and a seeded few of all others.

The long run is `make mutation`. Here each row of HOLES is made in turn, and the program beside it
has to fail. A row whose code is gone fails too: then take the new code, or remove the row.
"""

import collections
import dataclasses
import functools
import pathlib
import tempfile
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests import cases  # noqa: E402
from tests.mutation import mutants, mutate, programs, reach  # noqa: E402

SEED = 20261128
# Small files, each with the quick program that mirrors it: a full choice of files takes minutes.
SEEDED_FILES = {"core/base/line.c": "tests/unit/core/base/test_line",
                "core/format/l2_entry.c": "tests/unit/core/format/test_l2_entry",
                "core/read/name_gate.c": "tests/unit/core/read/test_name_gate"}
SEEDED_COUNT = 4
# More of a processor than any of these programs takes.
SECONDS = 5

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
def known():
    """Looked up once: it asks make."""
    return programs.Programs(programs.test_names(), programs.SAN)


def judged(mutant, program):
    """What a program says to a mutant."""
    mutate.judge([(known(), 0)], mutant, lambda its, patience: [program], lambda name: SECONDS)
    return mutant.result


def find(hole):
    """The mutant of a hole."""
    lines = (ROOT / hole.source).read_text(encoding="utf-8").split("\n")
    begin = next((i for i, line in enumerate(lines)
                  if f"{hole.function}(" in line and not line.startswith((" ", "/"))), None)
    cases.check(not hole.function or begin is not None, f"{hole.source} has no {hole.function}()")
    for number in range(begin or 0, len(lines)):
        if hole.before in lines[number]:
            return mutants.Mutant(hole.source, number, "hole", lines[number],
                                  lines[number].replace(hole.before, hole.after))
        if hole.function and lines[number] == "}":
            break
    raise cases.Failure(f"{hole.source}, {hole.function or 'the file'}: no '{hole.before}'")


def check_hole(hole):
    mutant = find(hole)
    cases.check_equal(judged(mutant, hole.program), "caught", f"{mutant.key()}, {hole.program}")


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
    cases.check_equal(judged(find(hole), hole.program), "survived", "the right code")


def test_mutation_endless_loop_is_caught_by_time():
    hole = Hole("endless", "core/base/line.c", "", "return ", "for (;;) ; return ",
                SEEDED_FILES["core/base/line.c"])
    mutant = find(hole)
    mutate.judge([(known(), 0)], mutant, lambda its, patience: [hole.program], lambda name: 0)
    cases.check_equal((mutant.result, mutant.by), ("caught", f"{hole.program} (time)"), "result")


def test_mutation_seeded_few_are_caught():
    print(f"# seed {SEED}")
    excused = mutants.equivalents()
    results = []
    for source, program in SEEDED_FILES.items():
        for mutant in mutants.choose(SEEDED_COUNT, SEED, source):
            if mutant.key() not in excused:
                results.append((judged(mutant, program), f"{mutant.kind} {mutant.key()}"))
    survived = [text for result, text in results if result == "survived"]
    cases.check(not survived, "\n".join([f"{len(survived)} survived", *survived]))
    caught = sum(result == "caught" for result, _ in results)
    cases.check(caught >= SEEDED_COUNT, f"only {caught} were caught")


def test_mutation_line_that_no_program_executes_is_said():
    mutant = find(HOLES[0])
    mutate.judge([(known(), 0)], mutant, lambda its, patience: [], lambda name: SECONDS)
    cases.check_equal(mutant.result, "not executed", "result")


def test_mutation_statement_of_several_lines_is_counted_at_its_code():
    part = reach.Reach.__new__(reach.Reach)
    part.code, part.hits = {"core/a.c": {3, 7}}, collections.Counter()
    part.rows = {
        "tests/unit/core/test_b": {"seconds": 1, "lines": {"core/a.c": [3, 7]}},
        "tests/unit/core/test_a": {"seconds": 2, "lines": {"core/a.c": [3]}},
        "tests/unit/other/test_c": {"seconds": 0.5, "lines": {"core/a.c": [3]}}}
    cases.check_equal(part.programs_of("core/a.c", 4, 10),
                      ["tests/unit/core/test_a", "tests/unit/core/test_b",
                       "tests/unit/other/test_c"], "programs of line 5")
    cases.check_equal(part.programs_of("core/a.c", 6, 10), ["tests/unit/core/test_b"], "of line 7")
    cases.check_equal(part.programs_of("core/a.c", 4, 0.5),
                      ["tests/unit/core/test_a", "tests/unit/core/test_b"], "with less patience")
    part.hits["core/a.c", "tests/unit/other/test_c"] = 9
    cases.check_equal(part.programs_of("core/a.c", 4, 10)[0], "tests/unit/other/test_c",
                      "one that noticed before")
    cases.check_equal(part.programs_of("core/a.c", 0, 10), [], "before all code")


def test_mutation_same_seed_gives_the_same_mutants():
    cases.check_equal(mutants.choose(30, 5, None), mutants.choose(30, 5, None), "the choice")
    cases.check(mutants.choose(30, 5, None) != mutants.choose(30, 6, None), "seeds do not matter")
    kinds = {mutant.kind for mutant in mutants.choose(30, 5, None)}
    cases.check_equal(kinds, {"arguments", "check", "constant", "relation", "statement", "sum"},
                      "kinds of mistakes")


def test_mutation_equivalents_have_a_reason():
    wrong = [key for key, reason in mutants.equivalents().items() if not reason]
    cases.check(not wrong, "\n".join(["no reason", *wrong]))


if __name__ == "__main__":
    cases.main(globals())

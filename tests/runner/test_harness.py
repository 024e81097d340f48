#!/usr/bin/python3
"""tests/support/t.h: a check that fails makes its case fail, in whichever file it is."""

import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests import cases  # noqa: E402

HELPER = """
#include "tests/support/t.h"
void check_u64(unsigned got, unsigned want);
void check_u64(unsigned got, unsigned want) { T_CHECK_U64(got, want); }
"""
PROGRAM = """
#include "tests/support/t.h"
void check_u64(unsigned got, unsigned want);
static void test_own(void) { T_CHECK(OWN); }
static void test_of_helper(void) { t_row("a row"); check_u64(HELPERS, 1); }
int main(void) { T_RUN(test_own); T_RUN(test_of_helper); return t_done(); }
"""


def run_program(own, helpers):
    """A program of two files, each with a check that passes (1) or fails (0)."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in (("helper.c", HELPER), ("program.c", PROGRAM)):
            paths.append(pathlib.Path(folder) / name)
            paths[-1].write_text(text, encoding="utf-8")
        program = pathlib.Path(folder) / "program"
        subprocess.run(["gcc", "-std=c11", "-iquote", ROOT, f"-DOWN={own}", f"-DHELPERS={helpers}",
                        "-o", program, *paths], check=True)
        return subprocess.run([program], capture_output=True, text=True, check=False)


def test_failing_check_of_any_file_fails_its_case():
    for own, helpers, total in ((1, 1, "2 passed, 0 failed"), (0, 1, "1 passed, 1 failed"),
                                (1, 0, "1 passed, 1 failed"), (0, 0, "0 passed, 2 failed")):
        done = run_program(own, helpers)
        row = f"own {own}, helper's {helpers}"
        cases.check_equal(done.stdout.splitlines()[-1], total, row)
        cases.check_equal(done.returncode, 0 if own and helpers else 1, f"{row}: exit status")


def test_failing_check_of_a_helper_names_the_row():
    cases.check("[a row]" in run_program(1, 0).stdout, "the row is not named")


if __name__ == "__main__":
    cases.main(globals())

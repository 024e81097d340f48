#!/usr/bin/python3
"""tests/run.py: a suite with a wrong total, that crashes, hangs or runs no case must fail."""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases, run  # noqa: E402
from tools.qemu.machine import Machine  # noqa: E402

# Suite (shell text) -> the total that the runner must come to, and a text it must show.
ROWS = {
    "passes": ("echo 'ok - a'; echo '1 passed, 0 failed'", "1 passed, 0 failed", "pass"),
    "fails": ("echo 'not ok - a: why'; echo '0 passed, 1 failed'; exit 1",
              "0 passed, 1 failed", "not ok - a: why"),
    "fails-with-0": ("echo 'not ok - a: why'; echo '0 passed, 1 failed'",
                     "0 passed, 1 failed", "not ok - a: why"),
    "empty": ("echo '0 passed, 0 failed'", "0 passed, 1 failed", "ran no case"),
    "silent": ("true", "0 passed, 1 failed", "did not end with its total"),
    "stops-early": ("echo 'ok - a'", "1 passed, 1 failed", "did not end with its total"),
    "miscounts": ("echo 'ok - a'; echo '2 passed, 0 failed'", "1 passed, 1 failed",
                  "but its lines say 1 passed"),
    "crashes": ("echo 'ok - a'; echo '1 passed, 0 failed'; kill -SEGV $$", "1 passed, 1 failed",
                "was ended by SIGSEGV"),
    "bad-status": ("echo 'ok - a'; echo '1 passed, 0 failed'; exit 3", "1 passed, 1 failed",
                   "exit status 3"),
    "lying-status": ("echo 'ok - a'; echo '1 passed, 0 failed'; exit 1", "1 passed, 1 failed",
                     "without a failing case"),
}


def run_suites(suites):
    """The runner over a project that holds only these suites: {file: text}."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in suites.items():
            path = pathlib.Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        return subprocess.run([sys.executable, run.__file__, "--root", root, "--build", "build"],
                              check=False, capture_output=True, text=True)


def test_runner_each_suite_is_judged_by_its_lines():
    for row, (script, total, text) in ROWS.items():
        done = run_suites({"tests/unit/test_row.sh": "#!/bin/bash\n" + script})
        cases.check_equal(done.stdout.splitlines()[-1], total, row)
        cases.check(text in done.stdout, f"{row}: no '{text}' in the output")
        cases.check_equal(done.returncode, 0 if row == "passes" else 1, f"{row}: exit status")


def test_runner_totals_add_up_over_suites():
    good = "#!/bin/bash\necho 'ok - a'; echo 'ok - b'; echo '2 passed, 0 failed'"
    bad = "#!/bin/bash\necho 'not ok - c: no'; echo '0 passed, 1 failed'; exit 1"
    done = run_suites({"tests/unit/test_a.sh": good, "tests/lint/anything": bad,
                       "tests/boot/test_b.sh": good})
    cases.check_equal(done.stdout.splitlines()[-1], "4 passed, 1 failed", "total")


def test_runner_c_test_that_was_not_built_fails():
    done = run_suites({"tests/unit/test_new.c": "int main(void) { return 0; }"})
    cases.check_equal(done.stdout.splitlines()[-1], "0 passed, 1 failed", "total")
    cases.check("was not built" in done.stdout, "the missing program is not named")


def test_runner_leaks_are_searched_for_where_every_verb_runs():
    for name, value in (("unit/test_a.sh", 1), ("interop/test_cli.py", 1),
                        ("interop/test_other.py", 0)):
        suite = run.Suite(f"tests/{name}", ["true"])
        cases.check_equal(run.wants_leaks(suite), value == 1, name)
    done = run_suites({"tests/unit/test_a.sh":
                       "#!/bin/bash\n[ $ASAN_OPTIONS = detect_leaks=1 ] && echo 'ok - leaks'\n"
                       "echo '1 passed, 0 failed'"})
    cases.check_equal(done.returncode, 0, done.stdout)


def test_runner_without_suites_fails():
    done = run_suites({"tests/nothing.txt": ""})
    cases.check_equal(done.stdout.splitlines()[-1], "0 passed, 1 failed", "total")
    cases.check_equal(done.returncode, 1, "exit status")


def test_runner_suite_that_hangs_is_ended_with_its_children():
    running = run.Running()
    suite = run.Suite("hangs", ["/bin/bash", "-c", "sleep 600 & wait"], timeout=1)
    result = run.run_suite(suite, pathlib.Path("/"), running)
    cases.check_equal((result.passed, result.failed), (0, 1), "cases")
    cases.check("longer than 1 s" in result.failures[0], result.failures[0])


def test_machine_escapes_are_removed_wherever_the_bytes_are_cut():
    data = b"\x1b[2J\x1b[01;01HBoot\x1b[0m \x1b[33mok\r\n\x1b[30;54Hvery\x1b[31;01Hlong"
    for cut in range(len(data) + 1):
        machine = Machine([])
        text = machine.readable(data[:cut]) + machine.readable(data[cut:])
        cases.check_equal(text, "\nBoot ok\nvery\nlong", f"cut at {cut}")


if __name__ == "__main__":
    cases.main(globals())

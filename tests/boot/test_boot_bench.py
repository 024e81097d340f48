#!/usr/bin/python3
"""metalcow.efi bench: it runs, and what it prints can be read. No time is judged."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools.bench import firmware  # noqa: E402

# Every row that applies to a small image with a data file: the ways that it must have.
WANTED = {
    "sequential-1M": {"ours", "beside", "bare", "queued", "queued-64K"},
    "sequential-64K": {"ours", "beside", "bare", "queued"},
    "sequential-4K": {"ours", "beside", "bare"},
    "random-4K": {"ours", "beside", "bare"},
    "open": {"ours", "fat"},
}


def test_bench_prints_times_of_every_way():
    with harness.stick(image="data-file", application="/metalcow.efi") as stick:
        with harness.shell(stick) as shell:
            image = r"fs0:\img\debian.qcow2"
            output = shell.shell(f"metalcow.efi bench {image} --rounds 2 --beside {image}")
            report = firmware.parse(output)
            for row, ways in WANTED.items():
                found = {result["way"] for result in report["results"] if result["row"] == row}
                cases.check(ways <= found, f"{row}: {found}")
            for result in report["results"]:
                cases.check_equal(len(result["ns"]), 2, f"rounds of {result}")
                cases.check(min(result["ns"]) > 0, f"no time: {result}")
            cases.check_equal(report["rounds"], 2, "rounds")
            cases.check("no disk is attached" in shell.shell("metalcow.efi list"),
                        "the bench leaves a disk behind")


if __name__ == "__main__":
    cases.main(globals())

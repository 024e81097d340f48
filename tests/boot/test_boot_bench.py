#!/usr/bin/python3
"""metalcow.efi bench: it runs, and what it prints can be read. No time is judged."""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tools.bench import firmware  # noqa: E402

# Every row that applies to a small image with a data file: the ways that it must have.
WANTED = {
    "sequential-1M": {"ours", "beside", "bare", "queued", "queued-64K", "queued-64K-8",
                      "events-64K"},
    "stream-1M": {"ours", "beside", "bare", "queued", "queued-64K", "queued-64K-8",
                      "events-64K"},
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


def test_bench_write_prints_times_of_every_way():
    scratch = harness.BUILD / f"boot/scratch-{os.getpid()}.qcow2"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([harness.BUILD / "host/metalcow", "create", "-q", "-f", "qcow2", scratch,
                    "128M"], check=True)
    try:
        with harness.stick(files={"/scratch.qcow2": scratch}, application="/metalcow.efi",
                           size=512 << 20) as stick:
            with harness.shell(stick) as shell:
                report = firmware.parse(shell.shell(
                    r"metalcow.efi bench fs0:\scratch.qcow2 --write scratch --rounds 1 --room 128M",
                    timeout=240))
    finally:
        scratch.unlink()
    found = {(result["row"], result["way"]) for result in report["results"] if result}
    cases.check_equal(found, {(row, way) for row in ("write-1M", "write-4K-random", "write-1M-new")
                              for way in ("ours", "disk-io")}, "rows and ways")
    for result in report["results"]:
        cases.check(min(result["ns"]) > 0 and min(result["least"]) > 0, f"no time: {result}")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""A power cut while the firmware makes the image's file longer: nothing is lost, and the next boot
attaches it in rw and writes.

One boot records every write to volumes of several geometries while images on them grow. A sample of
the states that a cut can leave is judged on the host and run in the firmware once more;
METALCOW_CUTS says how many states are judged on the host, or `all`, and METALCOW_CUT_BOOTS how many
boots run states in the firmware (make fat-cuts).
"""

import os
import pathlib
import random
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.boot import harness  # noqa: E402
from tests.boot.test_boot_fat import FAT_PROBE  # noqa: E402
from tests.fat import cuts, images  # noqa: E402
from tools.qemu.machine import Drive, Machine  # noqa: E402

READER = harness.BUILD / "san/tests/fat/fat_reader"
SEED = 11
NB_ON_HOST = os.environ.get("METALCOW_CUTS", "45")
NB_BOOTS = int(os.environ.get("METALCOW_CUT_BOOTS", "1"))
STATES_PER_BOOT = 36


def grow(extra, nb, log):
    """Boot and let every image grow. Returns the probe's lines."""
    files = {"/metalcowdxe.efi": harness.DRIVER, "/fat_probe.efi": FAT_PROBE}
    with harness.stick(application=None, files=files) as stick:
        with Machine([Drive(stick)], memory=1024, log=log, timeout=560, extra=extra) as machine:
            machine.enter_shell(timeout=240)
            for number in range(nb + 3):
                machine.shell(f"fs{number}:")
                if "fat_probe.efi" in machine.shell("ls fat_probe.efi"):
                    break
            machine.shell("load metalcowdxe.efi")
            text = machine.shell("fat_probe.efi grow", timeout=400)
    return re.findall(r"fat_probe: .*", text)


def record(folder):
    """The volumes, and the log of what was written to them."""
    image = cuts.make_image(folder / "grow.qcow2")
    volumes = [cuts.make_volume(folder, number, geometry, image)
               for number, geometry in enumerate(cuts.GEOMETRIES)]
    disk, log = folder / "disk.img", folder / "writes.log"
    cuts.make_disk(disk, volumes, [volume.base for volume in volumes])
    lines = grow(cuts.log_arguments(disk, log), len(volumes), harness.log_path())
    bad = [line for line in lines if not line.startswith("fat_probe: ok")]
    cases.check_equal(bad, [f"fat_probe: {len(volumes)} volumes"], "the recording")
    entries = cuts.read_log(log)
    log.unlink()
    disk.unlink()
    return volumes, entries


def all_states(volumes, entries):
    states = []
    for volume in volumes:
        own = cuts.states_of(volume, cuts.entries_of(volume, entries), SEED)
        print(f"# {volume.name}: {len(own)} states")
        states += [(volume, state) for state in own]
    return states


def judge_on_host(folder, states, reader):
    wrong = []
    for volume, state in states:
        path = cuts.write_state(volume, state, folder / "state.img")
        line = reader.look(path, 0, volume.size, cuts.IMAGE)
        why = cuts.judge_state(path, line, folder)
        if why:
            wrong.append(f"{volume.name} {state.what}: {why}")
    return wrong


def is_in_order(line):
    """Nothing is odd, or only that the chain is longer than the file: a cut while the file was made
    longer or shorter leaves that, until an image that needs the room takes it."""
    return line.startswith(("ok odd=0x0 ", "ok odd=0x200 "))


def judge_after_boot(folder, disk, subjects, reader):
    """The volumes after the firmware wrote to them once more."""
    wrong = []
    for volume, what in subjects:
        path = folder / "after.img"
        cuts.fs.make_sparse(path, volume.size)
        with open(disk, "rb") as file, open(path, "r+b") as writer:
            file.seek(volume.start)
            for at in range(0, volume.size, 1 << 20):
                data = file.read(1 << 20)
                if data.strip(b"\0"):
                    writer.seek(at)
                    writer.write(data)
        line = reader.look(path, 0, volume.size, cuts.IMAGE)
        why = cuts.judge_state(path, line, folder)
        if not why and not is_in_order(line):
            why = f"still odd: {line[:40]}"
        if why:
            wrong.append(f"{volume.name} {what}, after the next boot: {why}")
    return wrong


def run_in_firmware(folder, states, reader):
    """One boot with these states in partitions of one disk."""
    volumes, sources, subjects = [], [], []
    for number, (volume, state) in enumerate(states):
        path = cuts.write_state(volume, state, folder / f"state{number}.img")
        copy = cuts.Volume(volume.name, path, volume.size, bits=volume.bits)
        volumes.append(copy)
        sources.append(path)
        subjects.append((copy, state.what))
    disk = folder / "states.img"
    cuts.make_disk(disk, volumes, sources)
    for path in sources:
        path.unlink()
    extra = ["-drive", f"if=none,id=states,file={disk},format=raw,cache=unsafe",
             "-device", "virtio-blk-pci,drive=states"]
    lines = grow(extra, len(volumes), harness.log_path())
    wrong = [line for line in lines if line.startswith("fat_probe: failed")]
    if f"fat_probe: {len(volumes)} volumes" not in lines:
        wrong.append(f"not all volumes answered: {lines[-1:]}")
    wrong += judge_after_boot(folder, disk, subjects, reader)
    disk.unlink()
    return wrong


def test_fat_cuts_lose_nothing_and_the_next_boot_writes():
    rnd = random.Random(SEED)
    print(f"# seed {SEED}")
    with tempfile.TemporaryDirectory(dir=harness.BUILD) as name, images.Reader(READER) as reader:
        folder = pathlib.Path(name)
        states = all_states(*record(folder))
        cases.check(len(states) >= 500, f"only {len(states)} states")
        chosen = states if NB_ON_HOST == "all" else rnd.sample(states, int(NB_ON_HOST))
        wrong = judge_on_host(folder, chosen, reader)
        rnd.shuffle(states)
        for boot in range(NB_BOOTS):
            part = states[boot * STATES_PER_BOOT:(boot + 1) * STATES_PER_BOOT]
            wrong += run_in_firmware(folder, part, reader) if part else []
    for why in wrong[:40]:
        print(f"# {why}")
    cases.check_equal(len(wrong), 0, "states that are judged wrong")


if __name__ == "__main__":
    cases.main(globals())

#!/usr/bin/python3
"""Odd but readable FAT volumes on the host: our reader's map must be where the generator stored the
image, and the oddities those that it made. The boot tests ask the firmware's own reader."""

import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.fat import images, odd_fat  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
READER = ROOT / os.environ.get("BUILD", "build") / "san/tests/fat/fat_reader"
NB_VOLUMES = 200


def check_volume(reader, folder, volume):
    path = folder / "volume.img"
    with open(path, "w+b") as file:
        volume.write(file)
        file.truncate(volume.size)
    size = volume.template.size
    want = f"ok odd=0x{volume.odd:x} size={size} mapped={size} extents=" + ",".join(
        f"{at}:{place}:{length}" for at, place, length in volume.extents)
    got = reader.look(path, 0, volume.size, volume.path)
    if got == want:
        return None
    return f"seed {volume.seed} ({volume.theme}): got {got[:90]}, want {want[:90]}"


def test_odd_fat_every_volume_is_mapped_where_the_image_is():
    print(f"# seeds 0 to {NB_VOLUMES - 1}")
    wrong = []
    seen = 0
    with tempfile.TemporaryDirectory() as name, images.Reader(READER) as reader:
        folder = pathlib.Path(name)
        template = images.make_template(folder)
        for seed in range(NB_VOLUMES):
            volume = odd_fat.OddVolume(seed, template)
            wrong.append(check_volume(reader, folder, volume))
            seen |= volume.odd
    wrong = [text for text in wrong if text]
    for text in wrong:
        print(f"# {text}")
    cases.check_equal(len(wrong), 0, "volumes that are read otherwise")
    cases.check_equal(seen, 0x77f, "oddities that the volumes have between them")


if __name__ == "__main__":
    cases.main(globals())

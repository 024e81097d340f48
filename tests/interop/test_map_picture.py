#!/usr/bin/python3
"""`metalcow map --output=svg|html`: the picture says what `map --output=json` says, is well formed
whatever names the images carry, loads nothing, and stays small."""

import json
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cases import check, check_equal, main  # noqa: E402
from tests.interop import tool  # noqa: E402

CELLS = 480
CELL_WIDTH = 2
MARGIN = 20
CLUSTER = 65536
KINDS = ("data", "compressed", "zero")  # classes p0, p1, p2 are stacked in this order
NS = "{http://www.w3.org/2000/svg}"
folder = tool.Folder("picture")


def draw(name, *options, output="svg"):
    return folder.good("map", f"--output={output}", *options, name)


def parse(text):
    return xml.etree.ElementTree.fromstring(text)


def heights(path, bottom):
    """The step line of one path as a height per column."""
    columns = [0] * CELLS
    for x, y in re.findall(r"H(\d+)V(\d+)", path)[:-1]:
        first = (int(x) - MARGIN) // CELL_WIDTH
        columns[first:] = [bottom - int(y)] * (CELLS - first)
    return columns


def strips(root):
    """Each strip's columns: {class: heights}, and its height."""
    found = []
    for path in root.iter(f"{NS}path"):
        name, d = path.get("class"), path.get("d")
        if name == "p5":
            top, height = map(int, re.match(r"M\d+ (\d+)h\d+v(\d+)", d).groups())
            found.append({"height": height, "bottom": top + height, "texts": []})
        elif name.startswith("p"):
            found[-1][name] = heights(d, found[-1]["bottom"])
    return found


def kind_of(entry):
    if not entry["data"]:
        return "zero" if entry["present"] else "nothing"
    return "data" if "offset" in entry else "compressed"


def columns_of_map(name, layer):
    """What each column must be full of, in a disk with one cluster to a column; None: empty."""
    columns = [None] * CELLS
    for entry in json.loads(folder.good("map", "--output=json", name)):
        first, last = (at // CLUSTER for at in (entry["start"], entry["start"] + entry["length"]))
        kind = kind_of(entry) if entry["depth"] == layer else "covered"
        if kind == "nothing" or entry["depth"] > layer:
            kind = None
        columns[first:last] = [kind] * (last - first)
    return columns


def columns_of_strip(strip):
    columns = [None] * CELLS
    for kind, paint in zip((*KINDS, "covered"), ("p0", "p1", "p2", "p4")):
        for i, height in enumerate(strip.get(paint, [0] * CELLS)):
            if height and columns[i] is None:
                check_equal(height, strip["height"], f"height of column {i}")
                columns[i] = kind
    return columns


def make_chain():
    size = f"{CELLS * CLUSTER}"
    folder.qemu_img("create", "-q", "-f", "raw", "noise.raw", size)
    folder.qemu_io("raw", "noise.raw", "write -P 1 3M 6M", "write -P 2 20M 1M")
    folder.qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "noise.raw", "base.qcow2")
    folder.qemu_io("qcow2", "base.qcow2", "write 12M 2M")
    folder.qemu_img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    folder.qemu_io("qcow2", "top.qcow2", "write 4M 1M", "write -z 8M 5M", "write 29M 64k",
                   "write 0 64k", f"write {(CELLS - 1) * CLUSTER} 64k")


def test_columns_are_those_of_the_map():
    make_chain()
    found = strips(parse(draw("top.qcow2")))
    check_equal(len(found), 4, "strips: two layers, each with its file")
    for layer, strip in ((0, found[0]), (1, found[2])):
        check_equal(columns_of_strip(strip), columns_of_map("top.qcow2", layer), f"layer {layer}")
    kinds = set(columns_of_map("top.qcow2", 0)) | set(columns_of_map("top.qcow2", 1))
    check_equal(kinds, {None, "data", "zero", "compressed", "covered"}, "kinds in the test's image")


def test_a_file_shows_where_metadata_and_data_lie():
    """The file of an image with only data: metadata and data do not overlap and fill it."""
    folder.qemu_img("create", "-q", "-f", "qcow2", "full.qcow2", "30M")
    folder.qemu_io("qcow2", "full.qcow2", "write 0 30M")
    file_strip = strips(parse(draw("full.qcow2")))[1]
    height = file_strip["height"]
    data, metadata = file_strip["p0"], file_strip["p3"]
    check_equal(metadata[0], height, "the header")
    full = sum(1 for column in metadata if column == height)
    check(full >= CELLS - 2, f"{full} of {CELLS} columns are full")  # the L1 table's cluster is not
    check(sum(1 for column in data if column == height) > CELLS * 0.97, "data fill the file")
    check(data[0] == 0, "the header is not data")


def test_a_part_of_the_disk():
    make_chain()
    whole = columns_of_strip(strips(parse(draw("top.qcow2")))[0])
    part = columns_of_strip(strips(parse(draw("top.qcow2", "-s", "7680k", "-l", "7680k")))[0])
    check_equal(part, [whole[120 + i // 4] for i in range(CELLS)], "columns of a quarter")


def test_text_says_the_totals():
    make_chain()
    text = " ".join(parse(draw("top.qcow2")).itertext())
    for words in ("a disk of 30 MiB in 2 layers", "5 MiB, 16.7 %", "answers for 1.19 MiB of data "
                  "and 5 MiB of zeros"):
        check(words in text, f"{words!r} is not in {text!r}")


def test_hostile_names_stay_text():
    name = "<script>alert(1)</script>&amp;\"'\x1b[2J\u00fc.qcow2"
    name = name.replace("/", "\\")
    folder.qemu_img("create", "-q", "-f", "qcow2", "plain.qcow2", "1M")
    (folder.path / "plain.qcow2").rename(folder.path / name)
    text = draw(name)
    titles = [node.text for node in parse(text).iter(f"{NS}title")]
    check(titles[0].startswith("<script>alert(1)<"), f"title is {titles}")
    check("\\x1b[2J\\xc3\\xbc.qcow2" in titles[0], f"title is {titles}")
    for output in ("svg", "html"):
        text = draw(name, output=output)
        check("<script" not in text and "\x1b" not in text, f"{output} holds the name as it is")


def test_nothing_is_loaded():
    make_chain()
    for output in ("svg", "html"):
        text = draw("top.qcow2", output=output).replace("http://www.w3.org/2000/svg", "")
        for word in ("http:", "https:", "src=", "href", "url(", "@import", "<script", "onload"):
            check(word not in text, f"{output} holds {word}")
    page = draw("top.qcow2", output="html")
    check("default-src 'none'" in page and page.endswith("</svg>\n</html>\n"), "the page")
    check_equal(page[page.index("<svg"):page.index("</svg>")],
                draw("top.qcow2")[:-len("</svg>\n")], "the page's picture is the svg")


def test_a_huge_disk_gives_a_small_picture():
    folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", "huge.qcow2", "64T")
    folder.qemu_io("qcow2", "huge.qcow2", *(f"write {at}G 2M" for at in range(0, 65536, 4096)))
    text = draw("huge.qcow2")
    check(len(text) < 60000, f"the picture has {len(text)} bytes")
    columns = strips(parse(text))[0]["p0"]
    check_equal(sum(1 for column in columns if column), 16, "columns: a little data is still seen")


def test_an_empty_disk_and_a_raw_file():
    folder.qemu_img("create", "-q", "-f", "qcow2", "zero.qcow2", "0")
    parse(draw("zero.qcow2"))
    (folder.path / "raw.img").write_bytes(b"x" * 1000)
    found = strips(parse(draw("raw.img", "-f", "raw")))
    check_equal(len(found), 2, "strips of a raw file")
    check_equal(min(found[0]["p0"]), found[0]["height"], "all of it is data")


def test_a_map_that_cannot_be_read_prints_no_picture():
    make_chain()
    data = bytearray((folder.path / "top.qcow2").read_bytes())
    l1_table = int.from_bytes(data[40:48], "big")
    data[l1_table:l1_table + 8] = (0x8000000000000200).to_bytes(8, "big")
    (folder.path / "broken.qcow2").write_bytes(data)
    done = subprocess.run([str(tool.METALCOW), "map", "--output=svg", "broken.qcow2"],
                          cwd=folder.path, capture_output=True, check=False)
    check_equal((done.returncode, done.stdout), (1, b""), "status and output")
    check(b"broken.qcow2" in done.stderr, done.stderr)


if __name__ == "__main__":
    with folder:
        main(globals())

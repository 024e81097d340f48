#!/usr/bin/python3
"""Compare the engine on the host with other readers of the same images; `make bench` runs this.

    tools/bench/host.py --bench build/host/metalcow-bench --libqcow build/host/libqcow-read
        --out build/bench [--size 2G] [--rounds 5] [CASE ...]

Every case makes its images, lets each reader read them into nothing once per round, one after the
other, and deletes them. What is compared is CPU time, user plus system, of the whole process (of
the loop alone in bare loops, which know the image beforehand), scaled to 2 GiB; ratios are taken
within a round and the median of the rounds is shown. Images are in the page cache. Nothing fails
because something is slow.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import images  # noqa: E402
import plot  # noqa: E402

GIB = 1 << 30
SCALE = 2 * GIB
REQUEST = 256 * 1024
NB_RANDOM = 300_000
MIN_ROUNDS = 5
# One process that measures two readers in turns: our engine and the bare codec.
PAIR, PAIR_OURS, PAIR_BARE = "pair", "ours, in turns", "bare, in turns"
# Cases where a smaller image tells the same, since cost per byte does not depend on size.
QUARTER, SIXTEENTH = 4, 16


class Bench:
    """Where things are, and how each reader is started."""

    def __init__(self, args):
        self.program = args.bench
        self.libqcow_program = args.libqcow
        self.folder = pathlib.Path(args.out) / "images"
        self.pool = images.make_pool()

    def ours(self, mode, path, number=REQUEST):
        """A mode of our program."""
        return [self.program, mode, path, str(number)]

    def fill(self, size):
        """memset() of as many bytes."""
        return [self.program, "fill", str(size), str(REQUEST)]

    def convert(self, path, size, *options):
        """qemu-img convert into QEMU's null device."""
        return [self.program, "run", str(size), "qemu-img", "convert", "-n", "-f", "qcow2",
                *options, "--target-image-opts", path, f"driver=null-co,size={size}"]

    def qemu_bench(self, path, request, count, step):
        """qemu-img bench, one request at a time."""
        return [self.program, "run", str(request * count), "qemu-img", "bench", "-f", "qcow2",
                "-d", "1", "-c", str(count), "-s", str(request), "-S", str(step), path]

    def libqcow(self, *paths):
        """libqcow, top image first."""
        return [self.libqcow_program, str(REQUEST), *paths]

    def write(self, name, size, bits, kinds, backing=""):
        """An image of our own writer; returns its path."""
        path = self.folder / name
        images.write_qcow2(path, self.pool, size, bits, kinds, backing.encode())
        return str(path)

    def sequential(self, path, size):
        """The readers that any plain image is given to."""
        return {
            "ours": self.ours("disk", path),
            "bare": self.ours("bare", path),
            "convert": self.convert(path, size),
            "convert -S 0": self.convert(path, size, "-S", "0"),
            "qemu-img bench": self.qemu_bench(path, REQUEST, size // REQUEST, REQUEST),
            "libqcow": self.libqcow(path),
        }


def plain(bits):
    """A case: everything allocated, read in sequence."""
    def make(bench, size):
        path = bench.write("plain.qcow2", size, bits, images.everything("d"))
        return bench.sequential(path, size)
    return make


def small_clusters(bench, size):
    """512-byte clusters, whole size: QEMU's cost per cluster grows with the number of tables, and
    readers that take half a minute are not run twice. qemu-img bench reads a sixteenth of it."""
    readers = plain(9)(bench, size)
    del readers["convert -S 0"]
    readers["qemu-img bench"] = bench.qemu_bench(readers["ours"][2], REQUEST,
                                                 size // SIXTEENTH // REQUEST, REQUEST)
    return readers


def small_requests(bench, size):
    """64 KiB clusters in requests of 4 KiB."""
    path = bench.write("plain.qcow2", size // QUARTER, 16, images.everything("d"))
    return {"ours": bench.ours("disk", path, 4096), "bare": bench.ours("bare", path, 4096),
            "qemu-img bench": bench.qemu_bench(path, 4096, 65536, 4096)}


def random_requests(bench, size):
    """4 KiB anywhere; qemu-img bench knows no random, so it steps by the golden section."""
    path = bench.write("plain.qcow2", size, 16, images.everything("d"))
    step = int(size * 0.618) // 4096 * 4096
    return {"ours": bench.ours("random", path, NB_RANDOM),
            "bare": bench.ours("bare-random", path, NB_RANDOM),
            "qemu-img bench": bench.qemu_bench(path, 4096, 65536, step)}


def compressed(kind):
    """A case: everything compressed, 64 KiB clusters."""
    def make(bench, size):
        size //= SIXTEENTH
        raw, path = bench.folder / "raw", str(bench.folder / "compressed.qcow2")
        images.write_raw(raw, bench.pool, size)
        subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                        f"compression_type={kind}", raw, path], check=True)
        raw.unlink()
        readers = {"ours": bench.ours("disk", path), "bare": bench.ours("codec", path),
                   PAIR: bench.ours("pair", path),
                   "decode only": bench.ours("decode", path), "convert": bench.convert(path, size)}
        if kind == "zlib":
            readers["libqcow"] = bench.libqcow(path)
        return readers
    return make


def chain(bench, size):
    """Three layers of 64 KiB clusters that hold a third each."""
    names = ["layer0.qcow2", "layer1.qcow2", "layer2.qcow2"]
    paths = [bench.write(name, size, 16, images.one_layer(layer),
                         "".join(names[layer + 1:layer + 2]))
             for layer, name in enumerate(names)]
    return {**bench.sequential(paths[0], size), "libqcow": bench.libqcow(*paths)}


def zeros(bench, size):
    """Zero and unallocated clusters in turn; the bare loop is memset()."""
    path = bench.write("zeros.qcow2", size, 16, images.holes)
    return {**bench.sequential(path, size), "bare": bench.fill(size)}


CODEC_TARGETS = [(PAIR_OURS, PAIR_BARE, "<", 1.02), ("convert", "ours", ">", 1.0)]
# name, what it reads, [(what, reader, reader, best ratio or worst ratio)]: the first reader's time
# over the second's is to be at least ">" or at most "<" the number.
CASES = {
    "64K": (plain(16), [("convert", "ours", ">", 1.2)]),
    "512": (small_clusters, [("convert", "ours", ">", 10.0)]),
    "2M": (plain(21), [("convert", "ours", ">", 1.5)]),
    "4K-requests": (small_requests, []),
    "random-4K": (random_requests, [("ours", "bare", "<", 1.6)]),
    "zlib": (compressed("zlib"), CODEC_TARGETS),
    "zstd": (compressed("zstd"), CODEC_TARGETS),
    "chain-3": (chain, []),
    "zeros": (zeros, []),
}
PEAK_LIMIT_KIB = 4096


def measure(reader, command):
    """Run one reader once: {reader: measurement}; None in place of one that it cannot make (libqcow
    does not read every image)."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if done.returncode != 0:
        return {reader: None}
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for result in results:
        result["cpu"] = (result["user"] + result["sys"]) * SCALE / result["bytes"]
    return dict(zip([PAIR_OURS, PAIR_BARE] if reader == PAIR else [reader], results))


def run_case(bench, name, size, rounds):
    """All rounds of one case: {reader: [measurement per round]}."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    try:
        readers = CASES[name][0](bench, size)
        results = {}
        measure("ours", readers["ours"])  # fills the page cache
        for _ in range(rounds):
            for reader, command in readers.items():
                for name_of_one, value in measure(reader, command).items():
                    results.setdefault(name_of_one, []).append(value)
    finally:
        for path in bench.folder.iterdir():
            path.unlink()
    for reader, values in results.items():
        if None in values and reader != "libqcow":
            sys.exit(f"host.py: {reader} failed in case {name}")
    return {reader: values for reader, values in results.items() if None not in values}


def ratio(results, above, below):
    """Median over the rounds of one reader's time over another's."""
    pairs = zip(results.get(above, []), results.get(below, []))
    values = [a["cpu"] / b["cpu"] for a, b in pairs if b["cpu"] > 0]
    return statistics.median(values) if values else None


def summary(name, results):
    """What is printed and written of one case."""
    targets = []
    for above, below, way, number in CASES[name][1]:
        value = ratio(results, above, below)
        reached = value >= number if way == ">" else value <= number
        targets.append({"what": f"{above} / {below}", "value": value, "way": way,
                        "target": number, "reached": reached})
    peak = max(value["peak_kib"] for value in results["ours"])
    targets.append({"what": "peak KiB beside the workspace", "value": peak, "way": "<",
                    "target": PEAK_LIMIT_KIB, "reached": peak <= PEAK_LIMIT_KIB})
    return {
        "case": name,
        "seconds": {reader: statistics.median(v["cpu"] for v in values)
                    for reader, values in results.items()},
        "peak_kib": {reader: max(v["peak_kib"] for v in values)
                     for reader, values in results.items()},
        "ratios": {reader: ratio(results, reader, "ours") for reader in results
                   if reader != "ours"},
        "targets": targets,
        "rounds": results,
    }


COLUMNS = ["ours", "bare", "decode only", "convert", "convert -S 0", "qemu-img bench", "libqcow"]


def print_row(cells):
    """One line of the table."""
    print("| " + " | ".join(f"{cell:>{14 if i else 12}}" for i, cell in enumerate(cells)) + " |",
          flush=True)


def print_case(row):
    """Seconds for 2 GiB, and how many times ours that is."""
    cells = [row["case"]]
    for reader in COLUMNS:
        if reader not in row["seconds"]:
            cells.append("")
        elif reader == "ours":
            cells.append(f"{row['seconds'][reader]:.3f}")
        else:
            cells.append(f"{row['seconds'][reader]:.3f} {row['ratios'][reader]:6.2f}x")
    print_row(cells)


def print_targets(rows):
    """The targets of every case, with what was measured."""
    print(f"\n{'case':<12} {'what':<32} {'measured':>9}   target")
    for row in rows:
        for target in row["targets"]:
            sign = ">=" if target["way"] == ">" else "<="
            mark = "reached" if target["reached"] else "NOT REACHED"
            print(f"{row['case']:<12} {target['what']:<32} {target['value']:>9.2f}   "
                  f"{sign} {target['target']:<6} {mark}")


def size_of(text):
    """Bytes of `512M`, `2G`; whole multiples of 64 MiB."""
    units = {"M": 1 << 20, "G": 1 << 30}
    size = int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)
    if size < 64 << 20 or size % (64 << 20):
        raise argparse.ArgumentTypeError("a multiple of 64M")
    return size


def first_line(*command):
    """What a program says its version is."""
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return result.stdout.decode().split("\n")[0]


def main():
    """Run the cases, print, write JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bench", required=True)
    parser.add_argument("--libqcow", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--size", type=size_of, default=2 * GIB)
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown or args.rounds < MIN_ROUNDS:
        parser.error(f"unknown case {unknown}" if unknown else f"at least {MIN_ROUNDS} rounds")
    bench = Bench(args)
    print(f"CPU seconds (user + system) for 2 GiB, median of {args.rounds} rounds; Nx: times ours")
    print_row(["case", *COLUMNS])
    print_row(["---"] * (len(COLUMNS) + 1))
    rows = []
    for name in args.cases or CASES:
        rows.append(summary(name, run_case(bench, name, args.size, args.rounds)))
        print_case(rows[-1])
    print_targets(rows)
    out = pathlib.Path(args.out)
    report = {"qemu": first_line("qemu-img", "--version"), "kernel": os.uname().release,
              "size": args.size, "request": REQUEST, "cases": rows}
    (out / "host.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "host.svg").write_text(plot.bars("CPU seconds for 2 GiB to nothing, one thread",
                                            [(r["case"], r["seconds"]) for r in rows], COLUMNS))
    print(f"\nwritten: {out / 'host.json'}, {out / 'host.svg'}")


if __name__ == "__main__":
    main()

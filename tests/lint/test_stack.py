#!/usr/bin/python3
"""Stack: firmware gives 128 KiB, part of it used before us, and the same stack serves interrupts.
(HAZARDS.md, U3)

    no frame of ours in firmware reaches 1 KiB, and none grows at run time
    no function calls itself, by any way
    the deepest path through core/ stays within 4 KiB, through all of firmware's code within 8 KiB

Frames and calls are gcc's own account of the x64 objects (tests/lint/callgraph.py). What a call
into the firmware itself needs is not in these sums.
"""

import functools

import callgraph
import lint
from tests import cases

MAX_FRAME = 1024 - 1
MAX_CORE = 4 * 1024
MAX_FIRMWARE = 8 * 1024


@functools.cache
def graph():
    """Everything that firmware runs: ours and the third-party decoders."""
    facts = lint.facts()
    paths = lint.objects("x64", facts["firmware"])
    decoders = sorted((lint.BUILD / "x64" / "third_party").rglob("*.ci"))
    cases.check(decoders, "the third-party decoders were not built")
    return callgraph.Graph(paths + [path.with_suffix(".o") for path in decoders])


def titles_below(found, *folders):
    return {title for title, function in found.functions.items()
            if function.file.startswith(folders)}


def frame_complaints(functions):
    complaints = []
    for function in functions:
        if function.kind != "static":
            complaints.append(f"{function.place}: {function.name}: frame grows at run time")
        if function.frame > MAX_FRAME:
            complaints.append(f"{function.place}: {function.name}: frame of {function.frame} bytes")
    return complaints


def depth_complaints(found, titles, limit, what, say=print):
    """Cycles, else whether the deepest path is too deep; says which it is."""
    cycles = found.cycles(titles)
    if cycles:
        return [f"cycle in {what}: {' -> '.join(group)}" for group in cycles]
    size, path = found.deepest(titles)
    say(f"# deepest path in {what}: {size} of {limit} bytes")
    for title in path:
        say(f"#   {found.functions[title].frame:5} {title}")
    return [f"deepest path in {what} needs {size} bytes, more than {limit}"] if size > limit else []


def sample_complaints(path):
    flags = lint.facts()["x64_flags"]
    found = callgraph.Graph([lint.compile_sample(path.relative_to(lint.SAMPLES), *flags, "-Wno-vla",
                                                 "-fno-inline")])
    complaints = frame_complaints(found.functions.values()) + found.complaints
    return complaints + depth_complaints(found, set(found.functions), MAX_CORE, path.name,
                                         say=lambda line: None)


def test_stack_samples_are_refused():
    lint.check_samples("stack", sample_complaints)


def test_stack_frames_are_small_and_fixed():
    titles = titles_below(graph(), "core/", "drivers/", "efi/", "include/")
    cases.check(len(titles) > 100, f"only {len(titles)} functions were found")
    functions = [graph().functions[title] for title in titles]
    largest = max(functions, key=lambda function: function.frame)
    print(f"# {len(titles)} functions, largest frame {largest.frame} bytes: {largest.title}")
    lint.check_none(frame_complaints(functions), "frames")


def test_stack_third_party_frames_are_small_and_fixed():
    titles = titles_below(graph(), "build/", str(lint.BUILD / "third_party"))
    cases.check(titles, "no function of the decoders was found")
    lint.check_none(frame_complaints(graph().functions[title] for title in titles), "frames")


def test_stack_calls_through_pointers_are_known():
    lint.check_none(graph().complaints, "calls that lead nowhere")


def test_stack_core_has_no_cycle_and_is_shallow():
    titles = titles_below(graph(), "core/", "include/")
    lint.check_none(depth_complaints(graph(), titles, MAX_CORE, "core/"), "complaints")


def test_stack_firmware_has_no_cycle_and_is_shallow():
    titles = set(graph().functions)
    outside = sorted(graph().outside)
    print(f"# not in the sums: {', '.join(outside)}")
    lint.check_none(depth_complaints(graph(), titles, MAX_FIRMWARE, "firmware"), "complaints")


if __name__ == "__main__":
    cases.main(globals())

"""The call graph of objects, from what gcc writes beside them (-fcallgraph-info=su).

Nodes are functions with their frame; edges are calls that survived inlining. A call through a
pointer is looked up in the source: the method's name at that place, then every function that the
sources of the graph assign to it (`.read_at = memory_read_at`). A pointer that sits in a table
without field names leads to every function of that file whose address is taken.
"""

import dataclasses
import pathlib
import re

import lint
from tests import cases

GRAPH = re.compile(r'graph: \{ title: "([^"]+)"')
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]*)"( shape : ellipse)? \}')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)" label: "([^"]*)" \}')
FRAME = re.compile(r"\\n(\d+) bytes \(([a-z,]+)\)")
# The method in a call through a struct. An inlined call's place is where the outer one begins, so
# it is not always the first name there.
METHOD = re.compile(r"(?:->|\.)\s*(\w+)\s*\)?\s*\(")
MACRO = re.compile(r"(\w+)\s*\(")
INDIRECT = "__indirect_call"

# Names in third-party macros for the fields that they call.
ALIASES = {"ZALLOC": "zalloc", "ZFREE": "zfree"}
# Methods without an implementer in firmware, and why that is right.
NOT_IMPLEMENTED = {
    "customAlloc": "zstd's contexts are static: ZSTD_initStaticDCtx() leaves it NULL",
    "customFree": "the same",
    "choose": "only the host command has a passphrase for each image of a chain",
    "reserve": "sources of the host's files give room back and reserve it; firmware's do not",
    "punch": "the same",
    "truncate": "the same",
}
# Tables of methods that third-party sources fill by position: files whose calls go there, and the
# names that they reach.
POSITIONAL = (
    (re.compile(r"bearssl/src/mac/|drivers/crypto/luks_key"),
     r"bearssl/src/hash/.*br_(sha\w+|md5)_{method}$"),
)
# Where the general rule would see a file calling itself: a source over a source. file: {implementer
# files that its calls do not reach}, and why.
NARROWED = {
    # A file's extents lie on a whole volume, whose source is the device's own.
    "drivers/extents/source.c": {"drivers/extents/source.c", "efi/place/fat_check.c",
                                 "efi/place/fat_fresh.c"},
    # The guard of a file of a FAT volume is above the file's extents and is no source of its own.
    "efi/place/fat_check.c": {"efi/place/fat_check.c", "efi/place/fat_fresh.c"},
    # The fresh reading of a file is above the file system's own file.
    "efi/place/fat_fresh.c": {"drivers/extents/source.c", "efi/place/fat_check.c",
                              "efi/place/fat_fresh.c"},
}

# Calls of a function to itself that are known to end: (caller, callee), and why.
BOUNDED = {
    # A table header of less than 8 bytes is copied into 8 bytes and read again, so once.
    ("FSE_readNCount_bmi2", "FSE_readNCount"),
    ("FSE_readNCount", "FSE_readNCount"),
}


@dataclasses.dataclass(eq=False)
class Function:
    """A function that was compiled; `title` is its name, with the file in front if static."""

    title: str
    file: str   # that was compiled
    place: str  # of the function, or of its declaration
    frame: int = 0
    kind: str = "static"

    @property
    def name(self):
        """Without the file and without what the compiler adds to clones."""
        return self.title.split(":")[-1].split(".")[0]


class Graph:
    """Functions, who calls whom, and who is called that is not here."""

    def __init__(self, objects, root=lint.ROOT):
        self.root = root
        self.functions = {}
        self.calls = {}
        self.outside = {}
        self.complaints = []
        indirect = set()
        for path in objects:
            indirect |= self._read(path.with_suffix(".ci"))
        for caller, place in sorted(indirect):
            self._resolve(caller, place)
        self._cut_bounded()
        self._drop_outside()

    def _read(self, path):
        if not path.exists():
            raise cases.Failure(f"{path} is missing: compile with -fcallgraph-info=su")
        indirect = set()
        text = path.read_text()
        file = GRAPH.match(text)[1]
        for title, label, declared in NODE.findall(text):
            frame = FRAME.search(label)
            if not declared and frame:
                place = label.split("\\n")[1]
                self.functions[title] = Function(title, file, place, int(frame[1]), frame[2])
        for caller, callee, place in EDGE.findall(text):
            if callee == INDIRECT:
                indirect.add((caller, place))
            else:
                self.calls.setdefault(caller, set()).add(callee)
        return indirect

    def _cut_bounded(self):
        """Take known recursion out of the graph; its second round counts in the caller's frame."""
        for caller, callee in BOUNDED:
            if callee in self.calls.get(caller, ()):
                self.calls[caller].discard(callee)
                again = {caller, callee}
                self.functions[caller].frame += sum(self.functions[name].frame for name in again)

    def _drop_outside(self):
        for caller, callees in self.calls.items():
            for callee in callees - set(self.functions):
                self.outside.setdefault(callee, set()).add(caller)
            callees &= set(self.functions)

    def _resolve(self, caller, place):
        """Add the edges of one call through a pointer."""
        file, line, column = place.rsplit(":", 2)
        lines = (self.root / file).read_text().splitlines()[int(line) - 1:int(line) + 2]
        text = "\n".join(lines)[int(column) - 1:]
        method = method_at(text)
        if method[:1].isupper() and not self._is_ours(method):
            self.outside.setdefault(f"firmware's {method}", set()).add(caller)
            return
        targets = {target for target in self._implementers(method)
                   if target.file not in NARROWED.get(file, ())}
        targets = targets or self._positional(file, method)
        if not targets and method not in NOT_IMPLEMENTED:
            targets = self._address_taken(file)
        if not targets and method not in NOT_IMPLEMENTED:
            self.complaints.append(f"{place}: {caller} calls {method or text[:30]!r} through a "
                                   "pointer, and nothing implements it")
        self.calls.setdefault(caller, set()).update(target.title for target in targets)

    def _is_ours(self, method):
        """Whether it is a method of a protocol of ours, spelled as UEFI does."""
        declared = re.compile(rf"\(EFIAPI \*{method}\)")
        return any(declared.search(path.read_text())
                   for path in lint.files("*.h", folders=("efi", "drivers")))

    def _sources(self):
        """The files of the graph that are ours: they hold the tables of methods."""
        return {function.file for function in self.functions.values()
                if (self.root / function.file).is_file()}

    def _named(self, names, file=None):
        return {function for function in self.functions.values()
                if function.name in names and (file is None or function.file == file)}

    def _implementers(self, method):
        assigned = re.compile(rf"[.>]{re.escape(method)}\s*=\s*&?(\w+)\s*[,;}}\n]")
        found = set()
        for file in self._sources():
            names = set(assigned.findall((self.root / file).read_text()))
            found |= self._named(names, file) or self._named(names)
        return found

    def _positional(self, file, method):
        patterns = [pattern.format(method=re.escape(method)) for files, pattern in POSITIONAL
                    if files.search(file)]
        return {function for function in self.functions.values()
                if any(re.search(pattern, f"{function.file}:{function.name}")
                       for pattern in patterns)}

    def _address_taken(self, file):
        """Static functions of the file that are named without being called."""
        text = (self.root / file).read_text()
        return {function for function in self.functions.values()
                if function.file == file and ":" in function.title
                and re.search(rf"\b{function.name}\b(?!\s*\()", strip_comments(text))}

    def only(self, titles):
        """{caller: callees} among these functions."""
        return {title: self.calls.get(title, set()) & titles for title in titles}

    def cycles(self, titles):
        """Groups of functions that call each other, or themselves."""
        return [sorted(group) for group in components(self.only(titles))]

    def deepest(self, titles):
        """(bytes, path) of the path with the largest frames; there must be no cycle."""
        calls = self.only(titles)
        depth = {}
        for title in in_order(calls):
            below = max(calls[title], key=lambda callee: depth[callee][0], default=None)
            rest = depth[below] if below else (0, [])
            depth[title] = (self.functions[title].frame + rest[0], [title, *rest[1]])
        return max(depth.values(), default=(0, []))


def method_at(text):
    """The field that is called where an expression begins; "" if it cannot be told."""
    macro = MACRO.match(text)
    if macro and macro.group(1) in ALIASES:
        return ALIASES[macro.group(1)]
    match = METHOD.search(text)
    return match.group(1) if match else ""


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def in_order(calls):
    """Titles, callees before callers."""
    done, order = set(), []
    for root in sorted(calls):
        stack = [(root, iter(sorted(calls[root])))]
        while stack and root not in done:
            title, rest = stack[-1]
            callee = next((name for name in rest if name not in done), None)
            if callee is None:
                stack.pop()
                if title not in done:
                    done.add(title)
                    order.append(title)
            else:
                stack.append((callee, iter(sorted(calls[callee]))))
    return order


def components(calls):
    """Strongly connected components that hold a cycle (Tarjan, without recursion)."""
    index, low, on_stack, stack, found = {}, {}, set(), [], []
    for root in sorted(calls):
        work = [(root, None)] if root not in index else []
        while work:
            title, rest = work.pop()
            if rest is None:
                index[title] = low[title] = len(index)
                stack.append(title)
                on_stack.add(title)
                rest = iter(sorted(calls[title]))
            again = False
            for callee in rest:
                if callee not in index:
                    work += [(title, rest), (callee, None)]
                    again = True
                    break
                if callee in on_stack:
                    low[title] = min(low[title], index[callee])
            if again:
                continue
            if low[title] == index[title]:
                group = []
                while not group or group[-1] != title:
                    group.append(stack.pop())
                    on_stack.discard(group[-1])
                if len(group) > 1 or title in calls[title]:
                    found.append(group)
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[title])
    return found

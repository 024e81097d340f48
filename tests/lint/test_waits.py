#!/usr/bin/python3
"""Limits of time in tests follow the speed of the machine (tools/speed.py, CONTRIBUTING.md, 1.2).

Refused in Python, where the number is two seconds or more:

    subprocess.run(..., timeout=60)    process.communicate(timeout=30)    process.wait(timeout=10)
    socket.settimeout(10)              time.monotonic() + 10

and in shell scripts the command `timeout SECONDS`. Machine counts by a clock of its own, so its
limits are numbers. A poll of less than two seconds is no limit.
"""

import ast
import pathlib
import re

import lint
from tests import cases

CALLS = {"run", "check_call", "check_output", "call", "communicate", "wait"}
SHELL = re.compile(r"(?:^|[;&|(]|\b(?:if|then|do|!))\s*timeout\s+(?:-\S+\s+)*\d", re.M)
POLL = 2


def is_fixed(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and (
        node.value >= POLL)


def name_of(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def fixed_waits(tree):
    """Lines of a Python module with a fixed limit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if name_of(node) in CALLS and any(word.arg == "timeout" and is_fixed(word.value)
                                              for word in node.keywords):
                yield node.lineno
            if name_of(node) == "settimeout" and node.args and is_fixed(node.args[0]):
                yield node.lineno
        elif (isinstance(node, ast.BinOp) and isinstance(node.left, ast.Call)
              and name_of(node.left) in ("monotonic", "time") and is_fixed(node.right)):
            yield node.lineno


def complaints_of(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        lines = fixed_waits(ast.parse(text))
    else:
        code = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        lines = (code.count("\n", 0, match.end()) + 1 for match in SHELL.finditer(code))
    return [f"{path.relative_to(lint.ROOT)}:{line}: a fixed limit of time" for line in lines]


def test_waits_samples_are_refused():
    lint.check_samples("waits", complaints_of)


def test_waits_of_every_script():
    paths = [pathlib.Path(path) for path in lint.files("*.py", "*.sh", folders=("tests", "tools"))
             if "third_party" not in str(path)]
    cases.check(len(paths) > 50, f"only {len(paths)} scripts were found")
    lint.check_none([complaint for path in paths for complaint in complaints_of(path)], "waits")


if __name__ == "__main__":
    cases.main(globals())

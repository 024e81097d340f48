#!/usr/bin/python3
"""What `metalcow bench` prints in firmware."""
import json
import re

BEGIN, END = "metalcow-bench-begin", "metalcow-bench-end"


def parse(text):
    """The report that `metalcow bench` printed on a console."""
    found = re.search(rf"^{BEGIN}\n(.*?)^{END}$", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError("no report in the console's text")
    report = json.loads(found.group(1).replace("\n", ""))
    report["results"] = [result for result in report["results"] if result]
    return report

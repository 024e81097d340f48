"""Refused: deadline.py:8: a fixed limit of time

A busy machine takes longer.
"""

import time

DEADLINE = time.monotonic() + 10

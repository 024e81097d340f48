"""Refused: communicate.py:9: a fixed limit of time

A busy machine takes longer.
"""

import subprocess

PROCESS = subprocess.Popen(["true"])
PROCESS.communicate(timeout=30)

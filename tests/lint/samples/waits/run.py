"""Refused: run.py:8: a fixed limit of time

A busy machine takes longer.
"""

import subprocess

subprocess.run(["true"], check=True, timeout=60)

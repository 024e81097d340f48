"""Refused: settimeout.py:8: a fixed limit of time

A busy machine takes longer.
"""

import socket

socket.socket().settimeout(10)

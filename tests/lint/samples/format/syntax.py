# Refused: invalid syntax
"""A sample that no Python takes."""

x = = 1

"""Refused: 'conventions 9' names no text of the repository.

Functions are short (conventions 9 and 11).
"""

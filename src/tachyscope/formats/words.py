"""Numbers as people say them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number of things: 1 sample, 1,200 samples."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

"""re.sub calls a Python function for every match: C code, then a short function (`cap`, some 27 % of the time)."""

from __future__ import annotations

import re
from collections.abc import Callable

WORDS = re.compile(r"\w+")
NUMBERS = re.compile(r"\d+")
TEXT = "the quick brown fox 123 jumps over 456 lazy dogs " * 200


def cap(match: re.Match[str]) -> str:
    return match.group(0).capitalize()


def bump(match: re.Match[str]) -> str:
    return str(int(match.group()) + 1)


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(10):
            WORDS.sub(cap, TEXT)
            NUMBERS.sub(bump, TEXT)

    return iterate

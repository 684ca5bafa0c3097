"""C code calls a short Python function: `re.sub` with a function, once for each match."""

from __future__ import annotations

import re
from collections.abc import Callable

WORDS = re.compile(r"\w+")
TEXT = "how much wood would a woodchuck chuck " * 200


def cap(match: re.Match[str]) -> str:
    return match.group(0)


def work() -> str:
    return WORDS.sub(cap, TEXT)


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(15):
            work()

    return iterate

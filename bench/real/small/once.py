"""`once LOOPS`: functions that run once each, compiled a moment before, by the program's own clock.

A function of 500 loops takes some 20 us, one of 10,000 some 400 us. What is new has to count
like what is old.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import perf_counter
from typing import Any

CLOCKS = ("once",)
FUNCTIONS = 20
SOURCE = "def once(loops):\n    total = 0\n    for _ in range(loops):\n        total += 1\n"
clocks = [0.0]


def make(number: int) -> Callable[[int], None]:
    namespace: dict[str, Any] = {}
    exec(compile(SOURCE, f"<made {number}>", "exec"), namespace)
    made: Callable[[int], None] = namespace["once"]
    return made


def setup(loops: str = "500") -> Callable[[], object]:
    count = int(loops)
    numbers = itertools.count()

    def iterate() -> None:
        for _ in range(FUNCTIONS):
            made = make(next(numbers))
            start = perf_counter()
            made(count)
            clocks[0] += perf_counter() - start

    return iterate

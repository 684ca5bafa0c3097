"""`deep N`: half of the time a shallow function, half the same work below N frames, by the program's own clock.

N goes to 3,000 on every version, in the main thread and with the usual 8 MB of C stack: up to 3.10 each of these frames
takes half a kilobyte of it, from 3.11 on none. The way down and up counts for `deep`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

CLOCKS = ("shallow", "deep")
HALF_SECONDS = 0.01
clocks = [0.0, 0.0]


def shallow(until: float) -> None:
    while perf_counter() < until:
        for _ in range(100):
            pass


def bottom(until: float) -> None:
    while perf_counter() < until:
        for _ in range(100):
            pass


def down(levels: int, until: float) -> None:
    if levels:
        down(levels - 1, until)
    else:
        bottom(until)


def setup(depth: str = "1000") -> Callable[[], object]:
    levels = int(depth)
    sys.setrecursionlimit(levels + 1000)

    def iterate() -> None:
        start = perf_counter()
        shallow(start + HALF_SECONDS)
        middle = perf_counter()
        down(levels, middle + HALF_SECONDS)
        clocks[0] += middle - start
        clocks[1] += perf_counter() - middle

    return iterate

"""A generator expression that C code drives: `sum` pulls steps of some 50 ns."""

from __future__ import annotations

from collections.abc import Callable

DATA = list(range(2000))


def total() -> int:
    return sum(number * 2 for number in DATA)


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(60):
            total()

    return iterate

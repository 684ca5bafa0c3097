"""A generator that a Python `for` drives: short steps to and fro."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def count(end: int) -> Iterator[int]:
    number = 0
    while number < end:
        yield number
        number += 1


def add() -> int:
    total = 0
    for number in count(2000):
        total += number
    return total


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(40):
            add()

    return iterate

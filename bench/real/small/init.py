"""A class is called: `__init__` of many small objects."""

from __future__ import annotations

from collections.abc import Callable


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y


def make() -> None:
    for number in range(1000):
        Point(number, number)


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(40):
            make()

    return iterate

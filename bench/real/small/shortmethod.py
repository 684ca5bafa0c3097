"""A very short method called from a Python loop."""

from __future__ import annotations

from collections.abc import Callable


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def up(self) -> None:
        self.value ^= 1


def work(counter: Counter) -> None:
    for _ in range(1000):
        counter.up()


def setup() -> Callable[[], object]:
    counter = Counter()

    def iterate() -> None:
        for _ in range(100):
            work(counter)

    return iterate

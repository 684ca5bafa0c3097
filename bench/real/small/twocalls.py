"""Two calls of one short method in a row, from one line."""

from __future__ import annotations

from collections.abc import Callable


class Counter:
    def __init__(self) -> None:
        self.value = 1

    def get(self) -> int:
        return self.value


def work(counter: Counter) -> None:
    for _ in range(1000):
        counter.get() + counter.get()


def setup() -> Callable[[], object]:
    counter = Counter()

    def iterate() -> None:
        for _ in range(100):
            work(counter)

    return iterate

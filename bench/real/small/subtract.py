"""An operator written in Python, reached through C: `left - right` runs `__sub__`."""

from __future__ import annotations

from collections.abc import Callable


class Amount:
    def __init__(self, value: int) -> None:
        self.value = value

    def __sub__(self, other: Amount) -> int:
        return self.value - other.value


def work(left: Amount, right: Amount) -> None:
    for _ in range(1000):
        left - right


def setup() -> Callable[[], object]:
    left, right = Amount(5), Amount(3)

    def iterate() -> None:
        for _ in range(60):
            work(left, right)

    return iterate

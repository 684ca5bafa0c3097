"""C code calls a short Python function in a row: the key of `sorted`."""

from __future__ import annotations

from collections.abc import Callable

DATA = list(range(2000))


def key(value: int) -> int:
    return -value


def order() -> list[int]:
    return sorted(DATA, key=key)


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(50):
            order()

    return iterate

"""A context manager made of a generator: contextlib's `__enter__` and `__exit__` around its two halves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def tag() -> Iterator[int]:
    yield 1


def use() -> None:
    for _ in range(1000):
        with tag():
            pass


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(10):
            use()

    return iterate

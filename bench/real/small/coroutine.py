"""A chain of awaited short coroutines, driven by `send`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable


async def inner() -> int:
    return 1


async def middle() -> int:
    return await inner() + 1


async def outer() -> None:
    for _ in range(500):
        await middle()


def drive() -> None:
    coroutine = outer()
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(60):
            drive()

    return iterate

"""Half of the time easy(), half hard(), by the program's own clock; hard is fifty tasks of short coroutines.

However hard the stacks of hard() are to read: easy() has to get half of the samples.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import Any

CLOCKS = ("easy", "hard")
HALF_SECONDS = 0.004
clocks = [0.0, 0.0]


@types.coroutine
def pause() -> Generator[None, None, None]:
    yield


def touch() -> int:
    return 1


async def put() -> int:
    touch()
    return touch()


async def get() -> int:
    touch()
    await pause()
    return touch()


async def task() -> None:
    while True:
        await put()
        await get()


TASKS: list[Coroutine[Any, None, None]] = [task() for _ in range(50)]


def easy(until: float) -> None:
    while perf_counter() < until:
        for _ in range(200):
            pass


def hard(until: float) -> None:
    while perf_counter() < until:
        for each in TASKS:
            each.send(None)


def iterate() -> None:
    start = perf_counter()
    easy(start + HALF_SECONDS)
    middle = perf_counter()
    hard(middle + HALF_SECONDS)
    clocks[0] += middle - start
    clocks[1] += perf_counter() - middle


def setup() -> Callable[[], object]:
    return iterate

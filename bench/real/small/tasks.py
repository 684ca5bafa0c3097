"""Fifty coroutines that are stepped in turn. A step takes a microsecond or so and awaits two short coroutines."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def pause() -> Generator[None, None, None]:
    yield


def fill() -> int:
    return 1


def drain() -> int:
    return 2


async def put() -> int:
    fill()
    return fill()


async def get() -> int:
    drain()
    await pause()
    return drain()


async def task() -> None:
    while True:
        await put()
        await get()


def drive(tasks: list[Coroutine[Any, None, None]]) -> None:
    for each in tasks:
        each.send(None)


def setup() -> Callable[[], object]:
    tasks = [task() for _ in range(50)]

    def iterate() -> None:
        for _ in range(200):
            drive(tasks)

    return iterate

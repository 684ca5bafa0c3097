"""asyncio: a hundred tasks in pairs over queues of one place that are never full, so `put` never has to wait.

A `create_future` below `put` is an impossible stack.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

ROUNDS = 15


async def ping(there: asyncio.Queue[int], back: asyncio.Queue[int]) -> None:
    for _ in range(ROUNDS):
        await there.put(1)
        await back.get()


async def pong(there: asyncio.Queue[int], back: asyncio.Queue[int]) -> None:
    for _ in range(ROUNDS):
        await back.put(await there.get())


async def play() -> None:
    tasks = []
    for _ in range(50):
        there: asyncio.Queue[int] = asyncio.Queue(1)
        back: asyncio.Queue[int] = asyncio.Queue(1)
        tasks += [ping(there, back), pong(there, back)]
    await asyncio.gather(*tasks)


def setup() -> Callable[[], object]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return lambda: loop.run_until_complete(play())

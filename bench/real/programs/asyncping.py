"""asyncio: a hundred tasks in pairs that send to and fro over queues; Handle._run, futures, short coroutines.

Up to 3.11 each look for the running loop calls getpid: a stop finds 82 % of the time in `_get_loop`, a signal 8 %.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

NEAR_SYSTEM_CALLS = True
PAIRS = 50
ROUNDS = 15


async def ping(there: asyncio.Queue[int], back: asyncio.Queue[int]) -> None:
    for number in range(ROUNDS):
        await there.put(number)
        await back.get()


async def pong(there: asyncio.Queue[int], back: asyncio.Queue[int]) -> None:
    for _ in range(ROUNDS):
        await back.put(await there.get())


async def play() -> None:
    players = []
    for _ in range(PAIRS):
        there: asyncio.Queue[int] = asyncio.Queue(1)
        back: asyncio.Queue[int] = asyncio.Queue(1)
        players += [ping(there, back), pong(there, back)]
    await asyncio.gather(*players)


def setup() -> Callable[[], object]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return lambda: loop.run_until_complete(play())

"""Coroutines: await chains driven by hand and by asyncio, asynchronous generators and context managers."""

import asyncio
import contextlib

from _point import point


class Awaitable:
    def __await__(self):
        point()
        yield "suspended"
        point()
        return 7


async def leaf():
    point()
    value = await Awaitable()
    point()
    return value


async def chain(depth):
    if depth:
        return await chain(depth - 1)
    return await leaf()


def by_hand():
    coroutine = chain(4)
    coroutine.send(None)
    point()
    try:
        coroutine.send(None)
    except StopIteration as done:
        point(done.value)


async def ticks(count):
    for each in range(count):
        point()
        await asyncio.sleep(0)
        yield each


@contextlib.asynccontextmanager
async def managed():
    point()
    yield
    point()


async def worker(level):
    async with managed():
        async for _ in ticks(1):
            point()
    await asyncio.sleep(0)
    if level:
        await asyncio.gather(worker(level - 1), worker(0))
    return [value async for value in ticks(1)]


async def main():
    point()
    asyncio.get_running_loop().call_soon(point)
    await worker(1)
    await asyncio.wait_for(worker(0), 60)
    point()


by_hand()
asyncio.run(main())
point()

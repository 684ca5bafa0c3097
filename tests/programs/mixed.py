"""A busy program with a bit of everything, to be stopped anywhere; runs until it is killed."""

import asyncio
import functools
import re


class Thing:
    def __init__(self, value):
        self.value = self.prepare(value)

    def prepare(self, value):
        return value + 1

    def __lt__(self, other):
        return self.value < other.value


def fib(number):
    return number if number < 2 else fib(number - 1) + fib(number - 2)


def counting(depth):
    if depth:
        yield from counting(depth - 1)
    for each in range(3):
        yield each + depth


class Pause:
    def __await__(self):
        yield 1
        return 2


async def waiting(depth):
    return await waiting(depth - 1) if depth else await Pause()


def driven():
    coroutine = waiting(3)
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


def raising(depth):
    try:
        if depth == 0:
            raise ValueError(depth)
        raising(depth - 1)
    finally:
        len("")


def caught():
    try:
        raising(5)
    except ValueError:
        return


def deep(depth):
    return deep(depth - 1) if depth else 0


def made():
    namespace = {}
    exec("def temporary(value):\n    return [each for each in range(value)]\n", namespace)
    return namespace["temporary"](5)


async def sleeping():
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))


def once():
    fib(7)
    sum(counting(4))
    driven()
    caught()
    made()
    deep(150)
    sorted([Thing(3), Thing(1), Thing(2)])
    sorted(range(10), key=lambda each: -each)
    re.sub("a", lambda match: match.group().upper(), "banana")
    functools.reduce(lambda total, each: total + each, map(lambda each: each * 2, range(5)))  # noqa: C417
    "".join(str(each) for each in range(10))


def main():
    loop = asyncio.new_event_loop()
    print("ready", flush=True)
    while True:
        for _ in range(20):
            once()
        loop.run_until_complete(sleeping())


main()

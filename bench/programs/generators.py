"""Generators inside generators, some long-lived, some made anew all the time.

main -> nested -> outer (lives for one round) -> inner (lives for some items) -> item
     -> summed -> a generator expression, run by C code -> item
"""

from __future__ import annotations

from collections.abc import Iterator


def item(number: int) -> int:
    for _ in range(8):
        pass
    return number


def inner(start: int) -> Iterator[int]:
    for number in range(start, start + 12):
        yield item(number)


def outer() -> Iterator[int]:
    for start in range(40):
        yield from inner(start)


def nested() -> int:
    total = 0
    for number in outer():
        total += number
    return total


def summed() -> int:
    total = 0
    for start in range(40):
        total += sum(item(number) for number in range(start, start + 12))
    return total


def main() -> None:
    while True:
        nested()
        summed()


print("ready", flush=True)
main()

"""Recursion whose depth changes all the time: even calls odd, odd calls even, never the same twice in a row."""

import sys

DEPTHS = [3, 40, 7, 25, 12, 60, 1, 33]


def even(levels: int) -> None:
    return odd(levels - 1) if levels else leaf()


def odd(levels: int) -> None:
    return even(levels - 1) if levels else leaf()


def leaf() -> None:
    for _ in range(15):
        pass


def main() -> None:
    while True:
        for depth in DEPTHS:
            even(depth)


sys.setrecursionlimit(1000)
print("ready", flush=True)
main()

"""A deep stack that works at its end, and goes up and down a little: `python deep.py DEPTH`."""

import sys


def leaf() -> None:
    for _ in range(15):
        pass


def swing(levels: int) -> None:
    if levels:
        swing(levels - 1)
    else:
        leaf()


def work() -> None:
    print("ready", flush=True)  # at the bottom, so that no sample meets the way down
    while True:
        swing(6)


def down(levels: int) -> None:
    if levels:
        down(levels - 1)
    else:
        work()


depth = int(sys.argv[1])
sys.setrecursionlimit(depth + 1000)
down(depth)

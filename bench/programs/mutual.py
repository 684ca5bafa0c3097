"""Four functions that call each other along the ways given, such as `acdb`, in turn: python mutual.py WAY..."""

from __future__ import annotations

import sys
from typing import Any


def leaf() -> None:
    for _ in range(15):
        pass


def a(steps: list[Any], level: int) -> None:
    steps[level](steps, level + 1)


def b(steps: list[Any], level: int) -> None:
    steps[level](steps, level + 1)


def c(steps: list[Any], level: int) -> None:
    steps[level](steps, level + 1)


def d(steps: list[Any], level: int) -> None:
    steps[level](steps, level + 1)


def end(steps: list[Any], level: int) -> None:
    leaf()


def main() -> None:
    programs = [[globals()[name] for name in way] + [end] for way in sys.argv[1:]]
    print("ready", flush=True)
    while True:
        for steps in programs:
            steps[0](steps, 1)


sys.setrecursionlimit(1000)
main()

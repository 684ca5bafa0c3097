"""Four functions that call each other along one of six fixed ways: a stack that mixes two of them cannot be.

`python mutual.py` runs; the ways are drawn from SEED, so whoever checks can draw them, too.
"""

from __future__ import annotations

import random
import sys
from typing import Any

SEED, WAYS, SHORTEST, LONGEST = 20, 6, 8, 40


def ways() -> list[str]:
    """The names of the functions from the outermost on, for each way."""
    chance = random.Random(SEED)
    return ["".join(chance.choice("abcd") for _ in range(chance.randint(SHORTEST, LONGEST))) for _ in range(WAYS)]


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
    programs = [[globals()[name] for name in way] + [end] for way in ways()]
    print("ready", flush=True)
    while True:
        for steps in programs:
            steps[0](steps, 1)


if __name__ == "__main__":
    sys.setrecursionlimit(1000)
    main()

"""Makes garbage in cycles beside objects that live for a while, and clocks its collections by `gc.callbacks`.

The clock runs from the end of the first call of `clock` to the begin of the second: what the calls themselves take (a
microsecond or two for a collection) is not in it. A rare collection of many objects keeps that below one percent.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter
from typing import Any

CLOCKS = ("collecting",)
clocks = [0.0]
YOUNG_OBJECTS = 10_000
KEPT = 40_000
began = 0.0


class Node:
    def __init__(self) -> None:
        self.other: Any = None


def clock(phase: str, facts: dict[str, int]) -> None:
    global began
    now = perf_counter()
    if phase == "start":
        began = perf_counter()
    else:
        clocks[0] += now - began


def make_pair() -> Node:
    node = Node()
    node.other = Node()
    node.other.other = node
    return node


def plain() -> None:
    for _ in range(60):
        pass


def make(kept: list[Node | None], slots: range) -> None:
    for slot in slots:
        for _ in range(4):
            make_pair()
        kept[slot] = make_pair()
        plain()


def setup() -> Callable[[], object]:
    gc.set_threshold(YOUNG_OBJECTS, 5, 5)
    gc.callbacks.append(clock)
    kept: list[Node | None] = [None] * KEPT
    place = 0

    def iterate() -> None:
        nonlocal place
        make(kept, range(place, place + 4000))
        place = (place + 4000) % KEPT

    for _ in range(2 * KEPT // 4000):
        iterate()
    return iterate

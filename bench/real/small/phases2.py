"""Half of the time easy(), half hard(), by the program's own clock; hard is recursive generators and a visitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

CLOCKS = ("easy", "hard")
HALF_SECONDS = 0.004
clocks = [0.0, 0.0]


class Node:
    def __init__(self, height: int) -> None:
        self.children = [Node(height - 1) for _ in range(3)] if height else []

    def __iter__(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child


class Visitor:
    def visit(self, node: Node) -> None:
        getattr(self, "visit_" + type(node).__name__)(node)

    def visit_Node(self, node: Node) -> None:  # noqa: N802
        for child in node.children:
            self.visit(child)


TREE = Node(4)
VISITOR = Visitor()


def easy(until: float) -> None:
    while perf_counter() < until:
        for _ in range(200):
            pass


def hard(until: float) -> None:
    while perf_counter() < until:
        for _ in TREE:
            pass
        VISITOR.visit(TREE)


def iterate() -> None:
    start = perf_counter()
    easy(start + HALF_SECONDS)
    middle = perf_counter()
    hard(middle + HALF_SECONDS)
    clocks[0] += middle - start
    clocks[1] += perf_counter() - middle


def setup() -> Callable[[], object]:
    return iterate

"""A visitor as in `ast`: recursion over a tree, dispatch by name, and children from a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class Node:
    def __init__(self, children: list[Node]) -> None:
        self.children = children


class Even(Node):
    pass


class Odd(Node):
    pass


class Visitor:
    def visit(self, node: Node) -> None:
        getattr(self, "visit_" + type(node).__name__)(node)

    def visit_Even(self, node: Node) -> None:  # noqa: N802
        for child in self.children_of(node):
            self.visit(child)

    def visit_Odd(self, node: Node) -> None:  # noqa: N802
        for child in self.children_of(node):
            self.visit(child)

    def children_of(self, node: Node) -> Iterator[Node]:
        for child in node.children:  # noqa: UP028  # a loop of its own is the point
            yield child


def grow(height: int) -> Node:
    kind = Odd if height % 2 else Even
    return kind([grow(height - 1) for _ in range(3)] if height else [])


def setup() -> Callable[[], object]:
    tree = grow(5)
    visitor = Visitor()

    def iterate() -> None:
        for _ in range(40):
            visitor.visit(tree)

    return iterate

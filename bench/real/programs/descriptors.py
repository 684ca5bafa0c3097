"""Attributes that run Python: descriptors, nested properties, `__getattr__`, `__eq__`, `__hash__` and more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Typed:
    """A descriptor that keeps its value in the owner's dict."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = "_" + name

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return owner.__dict__[self.name]

    def __set__(self, owner: Any, value: Any) -> None:
        owner.__dict__[self.name] = value


class Node:
    left = Typed()
    right = Typed()

    def __init__(self, left: int, right: int, child: Node | None) -> None:
        self.left = left
        self.right = right
        self.child = child

    @property
    def total(self) -> int:
        return int(self.left + self.right)

    @property
    def depth_total(self) -> int:
        return self.total + (self.child.depth_total if self.child else 0)

    def __getattr__(self, name: str) -> int:
        if name.startswith("extra_"):
            return 1
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.left == other.left

    def __hash__(self) -> int:
        return hash(self.left)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        if index > 2:
            raise IndexError
        return index


def use(node: Node, twin: Node, number: int) -> None:
    node.total  # noqa: B018
    node.depth_total  # noqa: B018
    node.extra_weight  # noqa: B018
    node == twin  # noqa: B015
    hash(node)
    len(node)
    list(node)  # type: ignore[call-overload]  # by __len__ and __getitem__ alone
    getattr(node, "absent", None)
    {node: number}[twin]
    node.right = number


def make() -> Node:
    node = None
    for number in range(8):
        node = Node(number, number + 1, node)
    assert node is not None
    return node


def setup() -> Callable[[], object]:
    node, twin = make(), make()

    def iterate() -> None:
        for number in range(600):
            use(node, twin, number)

    return iterate

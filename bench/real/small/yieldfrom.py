"""Recursive generators by `yield from`, a walk through a balanced tree that is 12 deep."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class Branch:
    def __init__(self, left: Branch | None, value: int, right: Branch | None) -> None:
        self.left = left
        self.value = value
        self.right = right

    def __iter__(self) -> Iterator[int]:
        if self.left is not None:
            yield from self.left
        yield self.value
        if self.right is not None:
            yield from self.right


def grow(low: int, high: int) -> Branch | None:
    if low >= high:
        return None
    middle = (low + high) // 2
    return Branch(grow(low, middle), middle, grow(middle + 1, high))


def walk(tree: Branch) -> None:
    for _ in tree:
        pass


def setup() -> Callable[[], object]:
    tree = grow(0, 4000)
    assert tree is not None

    def iterate() -> None:
        for _ in range(5):
            walk(tree)

    return iterate

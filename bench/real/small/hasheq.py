"""`__hash__` and `__eq__` in Python, called by the dict's C code."""

from __future__ import annotations

from collections.abc import Callable


class Key:
    def __init__(self, value: int) -> None:
        self.value = value

    def __hash__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.value == other.value


def look_up(table: dict[Key, int], keys: list[Key]) -> None:
    for key in keys:
        table[key]


def setup() -> Callable[[], object]:
    table = {Key(number): number for number in range(100)}
    keys = [Key(number) for number in range(100)]  # equal to those of the table, not the same: __eq__ is asked

    def iterate() -> None:
        for _ in range(400):
            look_up(table, keys)

    return iterate

"""A descriptor written in Python: reading an attribute runs its `__get__`, through C."""

from __future__ import annotations

from collections.abc import Callable


class Stored:
    def __get__(self, owner: Row, kind: type | None = None) -> int:
        value: int = owner.__dict__["_value"]
        return value


class Row:
    value = Stored()

    def __init__(self) -> None:
        self.__dict__["_value"] = 1


def double(row: Row) -> int:
    return row.value + row.value


def setup() -> Callable[[], object]:
    row = Row()

    def iterate() -> None:
        for _ in range(30_000):
            double(row)

    return iterate

"""One call that reaches the methods of four classes in turn: it never stays specialised."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Circle:
    def area(self) -> int:
        return 3


class Square:
    def area(self) -> int:
        return 4


class Polygon:
    def area(self) -> int:
        total = 0
        for side in range(3):
            total += side
        return total


class Line:
    def area(self) -> int:
        return 0


def call(shapes: Sequence[Circle | Square | Polygon | Line]) -> None:
    for _ in range(250):
        for shape in shapes:
            shape.area()


def setup() -> Callable[[], object]:
    shapes: list[Circle | Square | Polygon | Line] = [Circle(), Square(), Polygon(), Line()]

    def iterate() -> None:
        for _ in range(60):
            call(shapes)

    return iterate

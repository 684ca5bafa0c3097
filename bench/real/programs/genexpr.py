"""C code that pulls generator expressions and calls lambdas: sum, any, sorted, join, dict, min, map, filter."""

from __future__ import annotations

from collections.abc import Callable

DATA = list(range(2000))
WORDS = [str(number) for number in DATA]


def total() -> int:
    return sum(number * 2 for number in DATA)


def reached() -> bool:
    return any(number > 1990 for number in DATA)


def ordered() -> list[int]:
    return sorted(DATA, key=lambda number: -number)


def joined() -> str:
    return ",".join(word for word in WORDS)


def counted() -> dict[str, int]:
    return dict((word, 1) for word in WORDS)  # noqa: C402  # what dict() pulls is the point


def nearest() -> int:
    return min(DATA, key=lambda number: abs(number - 1000))


def mapped() -> int:
    return len(list(filter(lambda number: number & 1, map(lambda number: number + 1, DATA))))  # noqa: C417


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(15):
            total()
            reached()
            ordered()
            joined()
            counted()
            nearest()
            mapped()

    return iterate

"""Recursion with two places that call: Fibonacci numbers."""

from __future__ import annotations

from collections.abc import Callable


def fib(number: int) -> int:
    return number if number < 2 else fib(number - 1) + fib(number - 2)


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(6):
            fib(20)

    return iterate

"""Vectors and fractions whose operators are written in Python (`__sub__`, `__mul__`, `__lt__`, `__bool__`), reached
through C."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction


class Vector:
    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.x + other.x, self.y + other.y)

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.x - other.x, self.y - other.y)

    def __mul__(self, factor: float) -> Vector:
        return Vector(self.x * factor, self.y * factor)

    def __abs__(self) -> float:
        return math.sqrt(self.x * self.x + self.y * self.y)

    def __lt__(self, other: Vector) -> bool:
        return abs(self) < abs(other)

    def __bool__(self) -> bool:
        return self.x != 0 or self.y != 0

    def __neg__(self) -> Vector:
        return Vector(-self.x, -self.y)


def relax(points: list[Vector]) -> Vector:
    """Pull each point towards its neighbours."""
    shift = Vector(0.0, 0.0)
    for left, middle, right in zip(points, points[1:], points[2:]):  # noqa: B905  # 3.8 has no strict
        pull = (left - middle) + (right - middle)
        if pull:
            shift += pull * 0.25
    return -shift


def harmonic(terms: int) -> Fraction:
    total = Fraction(0)
    for number in range(1, terms):
        total += Fraction(1, number)
    return total


def setup() -> Callable[[], object]:
    points = [Vector(number % 7, number % 5) for number in range(400)]

    def iterate() -> None:
        for _ in range(8):
            relax(points)
            sorted(points)
            harmonic(25)

    return iterate

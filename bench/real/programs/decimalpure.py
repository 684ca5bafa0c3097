"""The Python version of decimal computes digits of pi and a table of interest: long methods, many small objects."""

from __future__ import annotations

import _pydecimal as decimal
from collections.abc import Callable
from typing import Any

DIGITS = 40
YEARS = 30


def pi() -> Any:
    """By the recipe of the documentation of decimal."""
    last: Any = 0
    total = term = decimal.Decimal(3)
    numerator, add, denominator, double = 1, 0, 0, 24
    while total != last:
        last = total
        numerator, add = numerator + add, add + 8
        denominator, double = denominator + double, double + 32
        term = (term * numerator) / denominator
        total += term
    return +total


def interest() -> Any:
    amount, rate = decimal.Decimal("1000.00"), decimal.Decimal("1.035")
    for _ in range(YEARS):
        amount = (amount * rate).quantize(decimal.Decimal("0.01"))
    return amount


def setup() -> Callable[[], object]:
    def iterate() -> None:
        decimal.getcontext().prec = DIGITS
        for _ in range(4):
            pi()
            interest()

    return iterate

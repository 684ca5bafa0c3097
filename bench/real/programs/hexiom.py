"""pyperformance's hexiom: a puzzle solved by search, loops over lists, methods of middling length, recursion."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def setup() -> Callable[[], object]:
    solve = import_module("bm_hexiom.run_benchmark").main
    return lambda: solve(1, 25)

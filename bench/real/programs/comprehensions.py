"""pyperformance's comprehensions: lists, dicts and sets built in one method, any() over a generator expression."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def setup() -> Callable[[], object]:
    bench = import_module("bm_comprehensions.run_benchmark").bench_comprehensions
    return lambda: bench(400)

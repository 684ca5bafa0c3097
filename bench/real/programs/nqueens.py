"""pyperformance's n queens: a generator of permutations, generator expressions that set() and tuple() pull."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def setup() -> Callable[[], object]:
    bench = import_module("bm_nqueens.run_benchmark").bench_n_queens
    return lambda: bench(7)

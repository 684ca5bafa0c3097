"""pyperformance's deltablue: a solver of one-way constraints, inheritance, methods that are overridden, short calls."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def setup() -> Callable[[], object]:
    delta_blue = import_module("bm_deltablue.run_benchmark").delta_blue
    return lambda: delta_blue(100)

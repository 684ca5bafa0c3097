"""pyperformance's raytrace: short methods of vectors and points, __init__ of many small objects."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def setup() -> Callable[[], object]:
    bench = import_module("bm_raytrace.run_benchmark").bench_raytrace
    return lambda: bench(1, 24, 24, None)

"""pyperformance's richards: an operating system's scheduler, methods of small objects, a polymorphic call."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def setup() -> Callable[[], object]:
    richards = import_module("bm_richards.run_benchmark").Richards()
    return lambda: richards.run(1)

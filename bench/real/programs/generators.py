"""pyperformance's generators: a walk through a tree, recursive generators 14 deep by `yield from`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module


def setup() -> Callable[[], object]:
    tree = import_module("bm_generators.run_benchmark").tree(range(20_000))

    def iterate() -> None:
        for _ in tree:
            pass

    return iterate

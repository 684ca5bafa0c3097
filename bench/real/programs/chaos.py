"""pyperformance's chaos: a fractal from splines, short methods and operators of a vector class."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

POINTS = [(1.60, 3.30), (1.58, 4.12), (1.31, 5.29), (1.62, 5.33), (2.89, 5.50), (2.37, 4.38), (1.66, 4.36)]
KNOTS = [0, 0, 0, 1, 1, 1, 2, 2, 2]


def setup() -> Callable[[], object]:
    chaos = import_module("bm_chaos.run_benchmark")
    spline = chaos.Spline([chaos.GVector(x, y, 0.0) for x, y in POINTS], 3, KNOTS)

    def iterate() -> None:
        game = chaos.Chaosgame([spline], 0.25)
        game.create_image_chaos(100, 100, 1000, None, 1234)

    return iterate

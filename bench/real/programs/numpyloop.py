"""NumPy on small arrays in a Python loop: heat spreads over a plate, clusters are found; short C calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

PACKAGES = ("numpy",)


def laplacian(np: Any, plate: Any) -> Any:
    around = [np.roll(plate, shift, axis) for shift in (1, -1) for axis in (0, 1)]
    return np.add.reduce(around) - 4 * plate


def spread(np: Any, plate: Any, steps: int) -> Any:
    for _ in range(steps):
        plate = plate + 0.1 * laplacian(np, plate)
        plate[0, :] = plate[-1, :] = 0.0
    return plate


def nearest(np: Any, points: Any, centres: Any) -> Any:
    distances = [np.linalg.norm(points - centre, axis=1) for centre in centres]
    return np.argmin(np.stack(distances), axis=0)


def cluster(np: Any, points: Any, rounds: int) -> Any:
    centres = points[:4].copy()
    for _ in range(rounds):
        labels = nearest(np, points, centres)
        for number in range(len(centres)):
            own = points[labels == number]
            if len(own):
                centres[number] = np.mean(own, axis=0)
    return centres


def setup() -> Callable[[], object]:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy as np

    random = np.random.RandomState(3)
    plate, points = random.rand(12, 12), random.rand(60, 2)

    def iterate() -> None:
        spread(np, plate, 60)
        cluster(np, points, 15)

    return iterate

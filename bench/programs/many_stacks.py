"""A program with a great many distinct stacks: it walks at random through functions that call each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

generator = random.Random(3)
functions: list[Callable[[int], None]] = []


def wander(levels: int) -> None:
    for _ in range(3):
        pass
    if levels:
        functions[int(generator.random() * len(functions))](levels - 1)


for letter in "abcdefghijkl":
    names: dict[str, Any] = {"wander": wander}
    exec(f"def step_{letter}(levels):\n    wander(levels)\n", names)
    functions.append(names[f"step_{letter}"])

print("ready", flush=True)
while True:
    wander(4)  # 12 + 144 + 1,728 + 20,736 ways down, and the lines on each

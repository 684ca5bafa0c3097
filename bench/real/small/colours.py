"""Chains of functions, each chain of one colour: `step_0_c17` calls `step_1_c17`. A stack of two colours is torn.

All chains have the same bytecode and frames of the same sizes, in code objects and functions of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

COLOURS = 200
LENGTH = 9
STEP = """
def step_{number}():
    for _ in range(8):
        pass
    {following}
    for _ in range(8):
        pass
"""


def compiled() -> list[CodeType]:
    """Return the code of the steps, without colour."""
    names: dict[str, Any] = {}
    for number in range(LENGTH):
        following = f"step_{number + 1}()" if number + 1 < LENGTH else "pass"
        exec(compile(STEP.format(number=number, following=following), __file__, "exec"), names)
    return [names[f"step_{number}"].__code__ for number in range(LENGTH)]


def coloured(code: CodeType, colour: str) -> CodeType:
    name = f"{code.co_name}_{colour}"
    if hasattr(code, "co_qualname"):
        return code.replace(co_name=name, co_qualname=name)
    return code.replace(co_name=name)


def chain(steps: list[CodeType], colour: str) -> Callable[[], None]:
    names: dict[str, Any] = {"range": range}
    for code in steps:
        names[code.co_name] = FunctionType(coloured(code, colour), names)
    first: Callable[[], None] = names["step_0"]
    return first


def setup() -> Callable[[], object]:
    steps = compiled()
    chains = [chain(steps, f"c{number}") for number in range(COLOURS)]
    chains = random.Random(5).sample(chains * 10, COLOURS * 10)

    def iterate() -> None:
        for first in chains:
            first()

    return iterate

"""Hands a fresh object down a chain of functions, first argument of each: `witness [LENGTH] [plain|mixed]`.

`localsplus[0]` of all frames named `step_...` of one sample is the same object (without the two lowest bits from 3.14
on), or the sample is torn. LENGTH is 12 by default, 32 at most. `plain` steps call each other directly, all with frames
of one size; `mixed` ones in turn through C, operators, properties, generators and coroutines.
An object lives on for the next 2,048 chains, so that none of those has its address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CHAINS_KEPT = 2048
STEP = """
{head} step_{number}(token, other=None):
    for _ in range(6):
        pass
    {reach}
    for _ in range(6):
        pass
    {tail}
"""
OPERATORS = (("-", "__sub__"), ("+", "__add__"), ("*", "__mul__"), ("/", "__truediv__"))

# How the step with a number is reached, by kind; a step returns or yields what its kind asks for.
REACH = {
    "call": "step_{number}(token)",
    "key": "sorted((token,), key=step_{number})",
    "generator": "for _ in step_{number}(token): pass",
    "operator": "token {sign} 1",
    "coroutine": """
    try:
        step_{number}(token).send(None)
    except StopIteration:
        pass""",
    "map": "list(map(step_{number}, (token,)))",
    "pulled": "any(step_{number}(token))",
    "property": "token.attribute_{number}",
}
HEADS = {"coroutine": "async def"}
TAILS = {"generator": "yield", "pulled": "yield"}
KINDS = {"plain": ("call",), "mixed": tuple(REACH)}


def make_chain(length: int, kinds: tuple[str, ...]) -> tuple[Callable[[Any], object], type]:
    """Return the first step, and the class of the objects."""
    names: dict[str, Any] = {}
    token: type[Any] = type("Token", (), {})
    order = [kinds[number % len(kinds)] for number in range(length)]
    signs = [OPERATORS[number // len(REACH) % len(OPERATORS)] for number in range(length)]
    for number, kind in enumerate(order):
        reach = "pass"
        if number + 1 < length:
            reach = REACH[order[number + 1]].format(number=number + 1, sign=signs[number + 1][0])
        source = STEP.format(head=HEADS.get(kind, "def"), number=number, reach=reach, tail=TAILS.get(kind, "return 0"))
        exec(compile(source, __file__, "exec"), names)
        if kind == "operator":
            setattr(token, signs[number][1], names[f"step_{number}"])
        if kind == "property":
            setattr(token, f"attribute_{number}", property(names[f"step_{number}"]))
    first: Callable[[Any], object] = names["step_0"]
    return first, token


def setup(length: str = "12", kind: str = "plain") -> Callable[[], object]:
    first, token = make_chain(int(length), KINDS[kind])
    kept: list[object] = [None] * CHAINS_KEPT

    def iterate() -> None:
        for number in range(CHAINS_KEPT):
            kept[number] = fresh = token()
            first(fresh)

    return iterate

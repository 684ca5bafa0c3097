"""Hands a fresh object down a chain of functions, first argument of each: `witness [LENGTH] [plain|mixed]`.

`localsplus[0]` of all frames named `step_...` of one sample is the same object (without the two lowest bits from 3.14
on), or the sample is torn. LENGTH is 12 by default. `plain` steps call each other directly, all with frames of one
size; `mixed` ones in turn through C, operators, properties, generators and coroutines.
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
COROUTINE = """
    try:
        step_{number}(token).send(None)
    except StopIteration:
        pass"""

# How a step is reached, and what makes it that kind of function.
PLAIN = (("step_{number}(token)", "def", ""),)
MIXED = (
    *PLAIN,
    ("sorted((token,), key=step_{number})", "def", "return 0"),
    ("for _ in step_{number}(token): pass", "def", "yield"),
    ("token - 1", "def", ""),
    (COROUTINE, "async def", ""),
    ("list(map(step_{number}, (token,)))", "def", ""),
    ("any(step_{number}(token))", "def", "yield"),
    ("token.attribute", "def", ""),
)


def make_chain(length: int, kinds: tuple[tuple[str, str, str], ...]) -> tuple[Callable[[Any], object], type]:
    """Return the first step, and the class of the objects."""
    names: dict[str, Any] = {}
    token: type[Any] = type("Token", (), {})
    for number in range(length):
        _, head, tail = kinds[number % len(kinds)]
        reach = kinds[(number + 1) % len(kinds)][0].format(number=number + 1) if number + 1 < length else "pass"
        source = STEP.format(number=number, head=head, tail=tail or "pass", reach=reach)
        exec(compile(source, __file__, "exec"), names)
        if kinds[number % len(kinds)][0] == "token - 1":
            token.__sub__ = names[f"step_{number}"]
        if kinds[number % len(kinds)][0] == "token.attribute":
            token.attribute = property(names[f"step_{number}"])
    first: Callable[[Any], object] = names["step_0"]
    return first, token


def setup(length: str = "12", kind: str = "plain") -> Callable[[], object]:
    first, token = make_chain(int(length), {"plain": PLAIN, "mixed": MIXED}[kind])
    kept: list[object] = [None] * CHAINS_KEPT

    def iterate() -> None:
        for number in range(CHAINS_KEPT):
            kept[number] = fresh = token()
            first(fresh)

    return iterate

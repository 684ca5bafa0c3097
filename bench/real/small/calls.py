"""How a body is called times how long it is: `calls KIND N`, where KIND is a key of CALLS.

The body loops N times. `caller` loops as often between two calls: half of the time less what a call costs the caller is
the callee's. Callees are all functions but `caller` (and `iterate`, which only calls that); by KIND: `body` (direct,
cfunc), `body` and `other_body` (poly), `__init__`, `__sub__`, `__next__`, `weight` (property), `__getattr__`,
`generator` (forgen, nextgen), `coroutine`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

CALLS_PER_CALLER = 1000

# The statements by which `caller` calls; `turn` counts the calls, `n` is N.
CALLS = {
    "direct": "body(n)",
    "init": "Plain(n)",
    "initkw": "Keywords(n)",
    "operator": "thing - n",
    "cfunc": "partial(n)",
    "poly": "(body, other_body)[turn & 1](n)",
    "next": "next(thing)",
    "property": "thing.weight",
    "getattr": "thing.absent",
    "forgen": "pass",
    "nextgen": "next(steps)",
    "coroutine": """
        try:
            coroutine(n).send(None)
        except StopIteration:
            pass""",
}
CALLER = """
def caller(n):
    for turn in {turns}:
        {call}
        for _ in range(n):
            pass
"""


def body(n: int) -> None:
    for _ in range(n):
        pass


def other_body(n: int) -> None:
    for _ in range(n):
        pass


def generator(n: int, steps: int) -> Iterator[None]:
    while steps:
        for _ in range(n):
            pass
        yield
        steps -= 1


async def coroutine(n: int) -> None:
    for _ in range(n):
        pass


class Plain:
    def __init__(self, n: int) -> None:
        for _ in range(n):
            pass


class Keywords:
    def __init__(self, n: int, **more: int) -> None:
        for _ in range(n):
            pass


class Thing:
    length = 0

    def __sub__(self, n: int) -> None:
        for _ in range(n):
            pass

    def __next__(self) -> None:
        for _ in range(Thing.length):
            pass

    def __getattr__(self, name: str) -> None:
        for _ in range(Thing.length):
            pass

    @property
    def weight(self) -> None:
        for _ in range(Thing.length):
            pass


def make_caller(kind: str, n: int) -> Callable[[int], None]:
    names = dict(globals())
    names.update(thing=Thing(), partial=functools.partial(body), steps=generator(n, -1))
    turns = "generator(n, CALLS_PER_CALLER)" if kind == "forgen" else "range(CALLS_PER_CALLER)"
    exec(compile(CALLER.format(turns=turns, call=CALLS[kind]), __file__, "exec"), names)
    caller: Callable[[int], None] = names["caller"]
    return caller


def setup(kind: str, length: str) -> Callable[[], object]:
    n = Thing.length = int(length)
    caller = make_caller(kind, n)
    repeat = 3 + 60 // (n + 2)

    def iterate() -> None:
        for _ in range(repeat):
            caller(n)

    return iterate

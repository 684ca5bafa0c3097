"""Bodies of classes, each run once for some 10 to 20 us, as when a program imports: clocked from inside.

What a body takes before and after its clock (storing two names) is not in it: below 2 % of a body.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import perf_counter

CLOCKS = ("Body",)
CLASSES = 100
SOURCE = """\
class Body:
    start = clock()
    squares = [each * each for each in (1, 2, 3)]
    names = {"first": 1, "second": 2}
    def one(self): return 1
    def two(self): return 2
    total = sum(range(600))
    clocks[0] += clock() - start
"""
clocks = [0.0]


def setup() -> Callable[[], object]:
    numbers = itertools.count()
    names = {"clock": perf_counter, "clocks": clocks}

    def iterate() -> None:
        code = compile(SOURCE * CLASSES, f"<made {next(numbers)}>", "exec")
        exec(code, dict(names))

    return iterate

"""Comparing what is read of a running target with what stopping it shows, in the same run.

Now and then a sample is taken with the target stopped. Beside each such sample stand the ones that were taken a few
ticks before, while it ran: at the same times and as many, so that what the program did meanwhile is in both. How far
the latter are from each other is what chance does.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tachyscope._core.batch import Batch, Status
from tachyscope.profile.collector import Collector

BEFORE = range(3, 23)
"""Which ticks before a stop are compared with it."""
TOLERANCE = 0.03
"""A difference of shares that does not matter."""
NAMED, SEEN = 2.2, 1.8
"""Standard errors: so far beyond the tolerance has a difference to be to be named, which chance alone does to some of
a program's functions in fewer than one of twenty runs; and so far beyond that a true one has to be to be seen in 19 of
20."""
WORTH = 0.05
"""The difference that a run should be long enough to see."""
MOSTLY = 0.5

Span = tuple[int, int, int, int, int]
"""Track, node, first tick, ticks, status."""


class Checker:
    """A sink: finds the stopped samples in the batches of one sampler, and those to compare them with."""

    def __init__(self) -> None:
        self.stopped = Counter[int]()
        self.in_calls = Counter[int]()
        self.before = [Counter[int]() for _ in BEFORE]
        self._last: list[Span] = []  # of the batch before

    def add(self, batch: Batch) -> None:
        """Take over a batch."""
        columns = batch.spans
        spans = self._last + list(
            zip(
                array("I", columns.track), array("I", columns.node), array("Q", columns.tick),
                array("Q", columns.ticks), array("H", columns.status), strict=True,
            )
        )  # fmt: skip
        for place in range(len(self._last), len(spans)):
            if spans[place][4] & Status.STOPPED:
                self._compare(spans, place)
        self._last = spans[-2 * BEFORE.stop :]

    def _compare(self, spans: Sequence[Span], place: int) -> None:
        track, node, tick, _, status = spans[place]
        self.stopped[node] += 1
        self.in_calls[node] += bool(status & Status.IN_SYSCALL)
        for counts, before in zip(self.before, BEFORE, strict=True):
            while place and (spans[place][0] != track or spans[place][2] > tick - before):
                place -= 1
            its, node, first, ticks, status = spans[place]
            covers = its == track and first <= tick - before < first + ticks
            if covers and not status & (Status.STOPPED | Status.FAILED):
                counts[node] += 1


@dataclass(frozen=True, slots=True)
class Difference:
    """A function whose own share differs: between 0 and 1, as sampled while it ran and as stopping it shows."""

    function: str
    running: float
    stopped: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the own shares of functions are apart (`distance`, between 0 and 1), how far chance alone takes them (in
    the mean, and in all but one of twenty runs), the least difference of a function that would have been seen
    (`resolution`), for how long that takes for a difference of `WORTH`, the functions that differ beyond chance and
    `TOLERANCE`, and those that were left out: they are mostly in system calls, where stopping comes late."""

    stops: int
    distance: float
    chance: float
    chance_most: float
    resolution: float
    enough_s: float
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...]


def compare(checkers: Sequence[tuple[Checker, Collector]], duration_s: float) -> Comparison | None:
    """Return the comparison of all that a process ran; None if it was never stopped."""
    stopped, in_calls = Counter[str](), Counter[str]()
    before = [Counter[str]() for _ in BEFORE]
    for checker, collector in checkers:
        names = _names(collector)
        for counts, by_node in ((stopped, checker.stopped), (in_calls, checker.in_calls)):
            _add(counts, by_node, names)
        for counts, by_node in zip(before, checker.before, strict=True):
            _add(counts, by_node, names)
    left_out = tuple(sorted(name for name, count in in_calls.items() if count > MOSTLY * stopped[name]))
    for counts in (stopped, *before):
        for name in left_out:
            del counts[name]
    running = sum(before, Counter[str]())
    if not stopped or not running:
        return None
    return _compared(stopped, running, before, duration_s, left_out)


def _names(collector: Collector) -> list[str]:
    """Return the function of each node, as it is told to a person."""
    told = ["no Python code"]
    for _, code, _, _ in collector.node_rows()[1:]:
        name, qualname, filename, first_line, _ = collector.codes[code]
        told.append(f"{filename}:{first_line}({qualname})" if first_line else name)
    return told


def _add(counts: Counter[str], by_node: Mapping[int, int], names: Sequence[str]) -> None:
    for node, count in by_node.items():
        counts[names[node]] += count


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    whole = sum(counts.values())
    return {name: count / whole for name, count in counts.items()} if whole else {}


def _distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Total variation distance."""
    return sum(abs(one.get(name, 0) - other.get(name, 0)) for name in one.keys() | other.keys()) / 2


def _sigma(share: float, count: int) -> float:
    """Of the difference between a share of so many stops and that of the samples before them."""
    return math.sqrt(share * (1 - share) * (1 + 1 / len(BEFORE)) / count)


def _compared(
    stopped: Counter[str], running: Counter[str], before: Sequence[Counter[str]], duration_s: float,
    left_out: tuple[str, ...],
) -> Comparison:  # fmt: skip
    shown, seen, count = _shares(stopped), _shares(running), stopped.total()
    by_chance = sorted(_distance(_shares(each), _shares(running - each)) for each in before if each)
    beyond = (NAMED + SEEN) * max(_sigma(share, count) for share in (shown | seen).values())
    differences = [
        Difference(name, seen.get(name, 0.0), shown.get(name, 0.0))
        for name in shown.keys() | seen.keys()
        if abs(shown.get(name, 0.0) - seen.get(name, 0.0))
        > TOLERANCE + NAMED * _sigma((shown.get(name, 0.0) + seen.get(name, 0.0)) / 2, count)
    ]
    return Comparison(
        stops=count,
        distance=_distance(shown, seen),
        chance=sum(by_chance) / len(by_chance),
        chance_most=by_chance[min(len(by_chance) * 19 // 20, len(by_chance) - 1)],
        resolution=TOLERANCE + beyond,
        enough_s=duration_s * (beyond / (WORTH - TOLERANCE)) ** 2,
        differences=tuple(sorted(differences, key=lambda each: -abs(each.running - each.stopped))),
        left_out=left_out,
    )

"""How far two sets of samples are apart, and how far chance alone would put them.

Samples of one program differ by chance, and by the program's own phases: a turn may meet more of one phase than the
next. Both follow from the reference's own turns, never from the candidate's, whose faults may come and go. The chance
part shrinks with the number of samples, the phases' part with the time that was looked at.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.real.stacks import Shares

HALVES = 20
"""Random splits of the reference's turns."""

LEAST_SHARE = 0.01
SELF_POINTS, TOTAL_POINTS, STANDARD_ERRORS = 2.0, 3.0, 3.0
"""A function of 1 % and more is off from 2 points (3 with all below it) and 3 standard errors on."""


@dataclass(frozen=True)
class Turn:
    """The shares that one turn showed, of how many samples, in which time."""

    shares: Shares
    samples: int
    seconds: float


@dataclass(frozen=True)
class Off:
    """A function whose share is wrong; shares in percent."""

    function: str
    share: float
    true_share: float

    def __str__(self) -> str:
        return f"{self.function} {self.true_share:.1f} → {self.share:.1f} %"


def distance(left: Shares, right: Shares) -> float:
    """The total variation distance: the part of the time, in points, that is at the wrong functions."""
    return 50 * sum(abs(left.get(name, 0) - right.get(name, 0)) for name in left.keys() | right.keys())


def joined(turns: Sequence[Turn]) -> Turn:
    """All turns as one; each counts by its samples."""
    samples = sum(turn.samples for turn in turns)
    shares: Shares = {}
    for turn in turns:
        for name, share in turn.shares.items():
            shares[name] = shares.get(name, 0) + share * turn.samples / max(samples, 1)
    return Turn(shares, samples, sum(turn.seconds for turn in turns))


def chance(reference: Sequence[Turn], candidate: Turn) -> float:
    """The distance, in points, that chance would put between the reference and an honest candidate of this size."""
    whole = joined(reference)
    phases = _phases(reference, whole) * math.sqrt(_inverse(whole.seconds, candidate.seconds) * whole.seconds / 4)
    return math.hypot(_drawn(whole.shares, whole.samples, candidate.samples), phases)


def excess(reference: Sequence[Turn], candidate: Turn) -> float:
    """The distance less what chance would do, in points; below zero where it is smaller than that."""
    return distance(joined(reference).shares, candidate.shares) - chance(reference, candidate)


def off(
    reference: Sequence[Turn], candidate: Sequence[Turn], points: float, ignored: frozenset[str] = frozenset()
) -> list[Off]:
    """The functions whose shares are off, worst first."""
    true, seen = joined(reference), joined(candidate)
    inflation = max(1.0, chance(reference, seen) / max(_drawn(true.shares, true.samples, seen.samples), 1e-9))
    found = []
    for name in sorted((true.shares.keys() | seen.shares.keys()) - ignored):
        share, true_share = seen.shares.get(name, 0), true.shares.get(name, 0)
        error = max(inflation * _drawn_error(name, true, seen), _turns_error(name, reference, seen))
        if max(share, true_share) >= LEAST_SHARE and 100 * abs(share - true_share) > points + STANDARD_ERRORS * error:
            found.append(Off(name, 100 * share, 100 * true_share))
    return sorted(found, key=lambda each: -abs(each.share - each.true_share))


def halves(turns: Sequence[Turn], count: int = HALVES, seed: int = 1) -> Iterator[tuple[list[Turn], list[Turn]]]:
    """Random splits of turns into two equal parts; one is left out where the number is odd."""
    chosen, middle = random.Random(seed), len(turns) // 2
    for _ in range(count):
        order = chosen.sample(list(turns), len(turns))
        yield order[:middle], order[middle : 2 * middle]


def _phases(reference: Sequence[Turn], whole: Turn) -> float:
    """What is between halves of the reference beyond chance, in points."""
    if len(reference) < 2:
        return 0.0
    between, drawn = 0.0, 0.0
    for left, right in halves(reference):
        one, other = joined(left), joined(right)
        between += distance(one.shares, other.shares)
        drawn += _drawn(whole.shares, one.samples, other.samples)
    return math.sqrt(max(between**2 - drawn**2, 0.0)) / HALVES


def _drawn(shares: Shares, samples: int, others: int) -> float:
    """The mean distance of two draws of independent samples: of each share, the mean absolute normal deviation."""
    return 50 * sum(
        math.sqrt(2 / math.pi * max(share * (1 - share), 0) * _inverse(samples, others)) for share in shares.values()
    )


def _drawn_error(name: str, true: Turn, seen: Turn) -> float:
    """One standard error of a difference of shares, in points, if samples were independent."""
    share = (true.shares.get(name, 0) * true.samples + seen.shares.get(name, 0) * seen.samples) / max(
        true.samples + seen.samples, 1
    )
    return 100 * math.sqrt(max(share * (1 - share), 0) * _inverse(true.samples, seen.samples))


def _turns_error(name: str, reference: Sequence[Turn], seen: Turn) -> float:
    """The same from how much the reference's turns differ, scaled to both times."""
    if len(reference) < 2:
        return 0.0
    values = [turn.shares.get(name, 0) for turn in reference]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    seconds = sum(turn.seconds for turn in reference)
    return 100 * math.sqrt(variance / len(values) * seconds * _inverse(seconds, seen.seconds))


def _inverse(one: float, other: float) -> float:
    return 1 / max(one, 1e-9) + 1 / max(other, 1e-9)

"""Is what the core says true? Short versions; bench/ has the long ones.

Programs here can only be in a few stacks, or know how long they spent where. Bounds are those of DESIGN.md.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from core_support import BENCH_PROGRAMS, PROGRAMS, attach, go_on, line_of, names_of, run_for, run_until
from support import Target, spawn_target

from tachyscope._core.sampler import SLICE_OVER, Sampler
from tachyscope.sampling.scheduling import Priority

ONE_MICROSECOND_LOOPS = 40
FAILED, TORN = 0.005, 0.0015  # what may fail, and be mixed of two moments, at most
TORN_OBJECTS = 0.06  # the same inside a recursion to 3.10, where frames are objects that change places
UNCERTAIN = "<uncertain>"
SIGMAS = 3.29  # of a 99.9 % interval
MACHINE = 0.004  # what else moves a share: the time between the program's clock and its blocks, and time not measured
GAPS = 0.5  # of the missed ticks: on a busy machine they come in long gaps, and each may fall into one function
SHARE_INTERVAL_NS = 100_000
LOCKED_INTERVAL_NS = 1_000_000


# Stacks that cannot be


def impossible(names: tuple[str, ...]) -> bool:
    """Whether a stack has frames of both chains, or a frame below one that does not call it."""
    chains = {name[-2:] for name in names if name[-3:] in ("_aa", "_bb")}
    if len(chains) > 1:
        return True
    below = [name.partition("_")[0] for name in names if name[-3:] in ("_aa", "_bb")]
    return below != ["a", "b", "c", "leaf"][: len(below)]


def sampled(python: Path, kind: str, loops: int, samples: int) -> Counter[tuple[str, ...]]:
    with spawn_target(python, PROGRAMS / "alternating.py", kind, str(loops)) as target:
        sampler = attach(target.pid).sampler()
        run_until(sampler, lambda: sampler.counters["reads"] >= samples, 0.05)
    assert sampler.counters["failed"] <= FAILED * sampler.counters["hits"]
    names = Counter[tuple[str, ...]]()
    for stack, count in names_of(sampler).items():
        names[tuple(name for name in stack if name not in ("<lambda>", "__await__"))] += count
    return names


def check_possible(stacks: Counter[tuple[str, ...]]) -> None:
    """Of the stacks that claim their callers."""
    claimed = {names: count for names, count in stacks.items() if names[:1] != (UNCERTAIN,)}
    wrong = {names: count for names, count in claimed.items() if impossible(names)}
    assert sum(wrong.values()) <= TORN * sum(claimed.values()), wrong


def check_leaves_are_seen(stacks: Counter[tuple[str, ...]]) -> None:
    for chain in ("aa", "bb"):
        leaves = sum(count for names, count in stacks.items() if names and names[-1] == f"leaf_{chain}")
        assert leaves > 0, stacks


def test_few_impossible_stacks_with_leaves_of_a_microsecond(python: Path) -> None:
    stacks = sampled(python, "calls", ONE_MICROSECOND_LOOPS, 100_000)
    check_possible(stacks)
    check_leaves_are_seen(stacks)


def test_few_impossible_stacks_with_empty_leaves(python: Path) -> None:
    stacks = sampled(python, "calls", 0, 50_000)
    check_possible(stacks)


def test_few_stacks_mix_two_ways_of_a_recursion(python: Path) -> None:
    ways = ("dbadccab", "aabcbdacdbbadcdd", "cbdaacdbadbcabdcadcbbd", "acdbcbbadcbdabcaaddcbcbadb")
    possible = {("<module>",), ("<module>", "main")}
    for way in ways:
        whole = ("<module>", "main", *way, "end", "leaf")
        possible |= {whole[:length] for length in range(len(whole) + 1)}
    with spawn_target(python, BENCH_PROGRAMS / "mutual.py", *ways) as target:
        at = attach(target.pid)
        sampler = at.sampler()
        run_until(sampler, lambda: sampler.counters["reads"] >= 40_000, 0.05)
    stacks = {stack: count for stack, count in names_of(sampler).items() if stack[:1] != (UNCERTAIN,)}
    wrong = {stack: count for stack, count in stacks.items() if stack not in possible}
    torn = TORN if at.runtime.version >= (3, 11) else TORN_OBJECTS
    assert sum(wrong.values()) <= torn * sum(stacks.values()), wrong
    assert max(map(len, stacks)) > 12, stacks
    assert sampler.counters["failed"] <= FAILED * sampler.counters["hits"]


@pytest.mark.parametrize("kind", ["generators", "coroutines"])
def test_no_frame_of_the_wrong_generator(python: Path, kind: str) -> None:
    stacks = sampled(python, kind, ONE_MICROSECOND_LOOPS, 40_000)
    check_possible(stacks)
    check_leaves_are_seen(stacks)


# Shares of time


class Shares(NamedTuple):
    """Shares of time by function, and how far they may be apart because of what the machine did."""

    sampled: dict[str, float]
    measured: dict[str, float]
    samples: int
    machine: float

    def worst(self) -> float:
        """Return by how much the worst share exceeds its bound, which is what chance and the machine explain."""
        return max(abs(self.sampled[name] - self.measured[name]) - self._bound(name) for name in self.measured)

    def _bound(self, name: str) -> float:
        expected = self.measured[name]
        return SIGMAS * math.sqrt(expected * (1 - expected) / self.samples) + self.machine


def shares_of(target: Target, seconds: float, interval_ns: int) -> Shares:
    """Let a parked program work, sample it, and ask it for its own measurement."""
    sampler = attach(target.pid).sampler(interval_ns=interval_ns)
    go_on(target)
    with Priority(interval_ns):
        assert run_for(sampler, seconds + 0.1) == SLICE_OVER
    spent = json.loads(line_of(target))
    counts, counters = own_samples(sampler, set(spent)), sampler.counters
    samples, total = sum(counts.values()), sum(spent.values())
    missed = counters["missed"] / (counters["hits"] + counters["missed"])
    return Shares(
        {name: counts[name] / samples for name in spent},
        {name: time / total for name, time in spent.items()},
        samples,
        MACHINE + GAPS * missed,
    )


def own_samples(sampler: Sampler, functions: set[str]) -> Counter[str]:
    counts = Counter[str]()
    for names, count in names_of(sampler).items():
        if names and names[-1] in functions:
            counts[names[-1]] += count
    return counts


@pytest.mark.parametrize("loops", [250, 25_000], ids=["calls-of-20us", "calls-of-2ms"])
def test_shares_of_known_work(python: Path, loops: int) -> None:
    """Samples are at random moments, so shares are off by chance as in a binomial distribution."""
    with spawn_target(python, PROGRAMS / "shares.py", str(loops), "2") as target:
        shares = shares_of(target, 2, SHARE_INTERVAL_NS)
    assert shares.samples > 500
    assert shares.worst() <= 0, shares


def test_a_period_of_the_sampling_interval_does_not_matter(python: Path) -> None:
    """At 1 kHz: a busy machine wakes us up late by a good part of a shorter interval, and then it does matter."""
    with spawn_target(python, PROGRAMS / "phase_locked.py", str(LOCKED_INTERVAL_NS), "3") as target:
        shares = shares_of(target, 3, LOCKED_INTERVAL_NS)
    assert shares.worst() <= 0, shares

"""Is the judge right? Stopped samples against stopped ones, and samples that were spoilt on purpose.

    python -m bench.real.judge [PROGRAM ...] [--version 3.13] [--keep DIR]

Each program is sampled in many turns by the reference. In each of 100 runs the turns are dealt to a "reference" and a
"candidate", and judged as everything is: there must be nothing wrong. Then half of the samples of one function are
dropped, delayed (another sample stands in for each) or swapped (they count for the function's caller): the table must
name that function.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.real import distance, measure, samplers
from bench.real.distance import Turn
from bench.real.measure import Limits, Measured, Program
from bench.real.samplers import STOPPED, Take
from bench.real.stacks import Stack, added, self_shares, total_shares
from bench.targets import Unavailable

RUNS = 100
TURNS, SHORTER = 12, 0.6
MOST_EXCESS = 1.0
LEAST_RIGHT = 0.95
SHARE, AROUND = 0.10, (0.085, 0.15)
"""The function that is spoilt has 10 % of the samples, or is the one in this range that is nearest to it."""

Spoil = Callable[[Counter[Stack], str, random.Random], Counter[Stack]]


def dropped(stacks: Counter[Stack], function: str, chosen: random.Random) -> Counter[Stack]:
    """Half of the function's samples are lost."""
    kept = Counter(stacks)
    for stack, count in _of(stacks, function):
        kept[stack] = count - _half(count, chosen)
    return +kept


def delayed(stacks: Counter[Stack], function: str, chosen: random.Random) -> Counter[Stack]:
    """Instead of half of the function's samples stand others: what a reader takes that waits until it is certain."""
    others = [stack for stack in stacks if not stack or stack[-1] != function]
    spoilt = dropped(stacks, function, chosen)
    lost = stacks.total() - spoilt.total()
    spoilt.update(chosen.choices(others, weights=[stacks[stack] for stack in others], k=lost))
    return spoilt


def swapped(stacks: Counter[Stack], function: str, chosen: random.Random) -> Counter[Stack]:
    """Half of the function's samples count for its caller."""
    spoilt = Counter[Stack]()
    for stack, count in stacks.items():
        moved = _half(count, chosen) if stack and stack[-1] == function else 0
        spoilt[stack] += count - moved
        spoilt[stack[:-1]] += moved
    return +spoilt


SPOILS: dict[str, Spoil] = {"dropped": dropped, "delayed": delayed, "swapped": swapped}


def _of(stacks: Counter[Stack], function: str) -> list[tuple[Stack, int]]:
    return [(stack, count) for stack, count in stacks.items() if stack and stack[-1] == function]


def _half(count: int, chosen: random.Random) -> int:
    return sum(chosen.random() < 0.5 for _ in range(count))


@dataclass(frozen=True)
class Shown:
    """What a turn showed, of functions by themselves and of all below them."""

    own: Turn
    total: Turn

    @classmethod
    def of(cls, take: Take) -> Shown:
        """Count a turn's stacks."""
        samples, seconds = take.samples, take.seconds
        return cls(Turn(self_shares(take.stacks), samples, seconds), Turn(total_shares(take.stacks), samples, seconds))


@dataclass(frozen=True)
class Verdict:
    """What came of all runs with one program."""

    program: str
    excess: float
    clean: int
    named: dict[str, int]
    function: str


def verdict(measured: Measured, runs: int) -> Verdict:
    """Deal its turns `runs` times."""
    takes = measured.turns[STOPPED]
    function = spoilable(added(take.stacks for take in takes))
    chosen, excesses, clean = random.Random(7), [], 0
    turns = [Shown.of(take) for take in takes]
    spoilt = {
        name: [Shown.of(Take(spoil(take.stacks, function, chosen), take.seconds)) for take in takes]
        for name, spoil in SPOILS.items()
        if function
    }
    named = Counter[str](dict.fromkeys(SPOILS, 0) if function else {})
    for _ in range(runs):
        order = chosen.sample(range(len(takes)), len(takes))
        reference, candidate = (sorted(part) for part in (order[: len(order) // 2], order[len(order) // 2 :]))
        true, seen = [turns[number] for number in reference], [turns[number] for number in candidate]
        excesses.append(distance.excess([each.own for each in true], distance.joined([each.own for each in seen])))
        clean += not wrong(true, seen)
        for name, each in spoilt.items():
            named[name] += function in wrong(true, [each[number] for number in candidate])
    return Verdict(measured.program, statistics.mean(excesses), clean, dict(named), function)


def spoilable(stacks: Counter[Stack]) -> str:
    """The function whose share is nearest to 10 %; "" where none is near."""
    shares = self_shares(stacks)
    name = min(shares, key=lambda name: abs(shares[name] - SHARE))
    return name if AROUND[0] <= shares[name] <= AROUND[1] else ""


def wrong(reference: Sequence[Shown], candidate: Sequence[Shown]) -> set[str]:
    """All functions that are said to be off, by themselves or with what is below them."""
    own = distance.off([each.own for each in reference], [each.own for each in candidate], distance.SELF_POINTS)
    total = distance.off([each.total for each in reference], [each.total for each in candidate], distance.TOTAL_POINTS)
    return {each.function for each in (*own, *total)}


def main() -> int:
    """Judge the judge; 0 if it is right."""
    options = _parser().parse_args()
    verdicts = []
    for program in [Program(name) for name in options.programs] or measure.programs():
        try:
            verdicts.append(verdict(_stopped(program, options.version, options.keep), RUNS))
        except (Unavailable, RuntimeError) as error:
            print(f"{program.name}: {error}")
            continue
        print(line(verdicts[-1]), flush=True)
    return conclude(verdicts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.real.judge", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    parser.add_argument("--version", default="3.13")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the turns there, and use those that are there")
    return parser


def _stopped(program: Program, version: str, keep: Path | None) -> Measured:
    kept = keep / f"judge-{program.name}-{version}.json" if keep else None
    if kept is not None and kept.exists():
        return measure.load(kept)
    reference = samplers.reference(samplers.pinned(), program.all_threads)
    measured = measure.measure(program, version, Limits(TURNS, 1e9, turns=SHORTER), [reference], enough=False)
    if kept is not None:
        measure.save(measured, kept)
    return measured


def line(verdict: Verdict) -> str:
    """A line for people."""
    spoilt = ", ".join(f"{name} {count}" for name, count in verdict.named.items())
    return f"{verdict.program:16} excess {verdict.excess:5.2f}  clean {verdict.clean} of {RUNS}  " + (
        f"named of {RUNS} ({verdict.function}): {spoilt}" if spoilt else "no function of 10 %"
    )


def conclude(verdicts: Sequence[Verdict]) -> int:
    """Say whether the judge is right."""
    near = sum(each.excess <= MOST_EXCESS for each in verdicts)
    clean = sum(each.clean for each in verdicts) / max(RUNS * len(verdicts), 1)
    spoilt = [count for each in verdicts for count in each.named.values()]
    named = min(spoilt, default=0) / RUNS
    print(f"excess of at most {MOST_EXCESS:.0f} point: {near} of {len(verdicts)} programs")
    print(f"no function named: {100 * clean:.1f} % of the runs")
    print(f"spoilt function named: {100 * named:.0f} % of the runs at least")
    right = near >= LEAST_RIGHT * len(verdicts) and clean >= LEAST_RIGHT and named >= LEAST_RIGHT
    return 0 if right and verdicts else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the turns of a program say about each sampler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.real import distance, measure, samplers, stacks
from bench.real.contexts import Contexts
from bench.real.distance import Off, Turn
from bench.real.measure import Measured, Program
from bench.real.samplers import PYSPY, SIGNALS, STDLIB, STOPPED, Take
from bench.real.stacks import Shares, Stack

IGNORED = frozenset({stacks.UNCERTAIN})
"""No function: samples whose callers are not known stand below it."""

COUNTED = ("failed", "missed", "interrupted", "uncertain", "reconstructed", "recalled")
"""Of a sampler's own figures; those that it does not have are left out."""


@dataclass(frozen=True)
class Figures:
    """How one sampler did on one program. Distances in points, parts in percent.

    `impossible` is what the reference shows of it taken off; None where it cannot be told. `coverage` are distinct
    possible stacks against the peer's, at equal numbers of samples.
    """

    sampler: str
    judge: str
    samples: int
    distance: float
    chance: float
    off_self: list[Off]
    off_total: list[Off]
    impossible: float | None = None
    coverage: float | None = None
    counted: dict[str, float] = field(default_factory=dict)

    @property
    def excess(self) -> float:
        """The distance less what chance would do."""
        return self.distance - self.chance


def figures(measured: Measured) -> list[Figures]:
    """All samplers but the judge, the reference among them where it is not the judge."""
    wanted = Program(measured.program).judge
    judge = wanted if measured.turns.get(wanted) else STOPPED
    contexts = measure.exact(Program(measured.program), measured.version)
    names = [name for name in (*samplers.RATES, PYSPY, STDLIB, SIGNALS, STOPPED) if name != judge]
    return [_figures(measured, contexts, judge, name) for name in names if measured.turns.get(name)]


def _figures(measured: Measured, contexts: Contexts | None, judge: str, name: str) -> Figures:
    form = _common_form({judge, name})
    true, seen = measured.turns[judge], measured.turns[name]
    reference, candidate = _turns(true, form, stacks.self_shares), _turns(seen, form, stacks.self_shares)
    whole = distance.joined(candidate)
    return Figures(
        name,
        judge,
        whole.samples,
        distance.distance(distance.joined(reference).shares, whole.shares),
        distance.chance(reference, whole),
        distance.off(reference, candidate, distance.SELF_POINTS),
        distance.off(
            _turns(true, form, stacks.total_shares),
            _turns(seen, form, stacks.total_shares),
            distance.TOTAL_POINTS,
            IGNORED,
        ),
        _impossible(measured, contexts, name),
        _coverage(measured, contexts, name),
        _counted(seen),
    )


Form = Callable[[Counter[Stack]], Counter[Stack]]


def _common_form(names: set[str]) -> Form:
    """What stacks of two samplers have in common: others than tachyscope know no frames for C code and garbage."""
    if STDLIB in names:
        return lambda counted: stacks.without_lines(stacks.python_only(counted))
    return stacks.python_only if names & {PYSPY, SIGNALS} else Counter


def _turns(takes: list[Take], form: Form, shares: Callable[[Counter[Stack]], Shares]) -> list[Turn]:
    return [Turn(shares(form(take.stacks)), take.samples, take.seconds) for take in takes]


def _impossible(measured: Measured, contexts: Contexts | None, name: str) -> float | None:
    """Percent of the samples that claim their callers whose stack cannot exist, less the stopped samples'."""
    if contexts is None or name == STDLIB:
        return None
    ours, theirs = (_impossible_part(measured, contexts, each) for each in (name, STOPPED))
    return 100 * max(ours - theirs, 0.0)


def _impossible_part(measured: Measured, contexts: Contexts, name: str) -> float:
    verdicts = Counter[bool]()
    for stack, count in stacks.python_only(_all(measured, name)).items():
        verdict = contexts.possible(stack)
        if verdict is not None:
            verdicts[verdict] += count
    return verdicts[False] / max(verdicts.total(), 1)


def _coverage(measured: Measured, contexts: Contexts | None, name: str) -> float | None:
    """Distinct possible stacks against py-spy's, each drawn down to as many samples as the other has."""
    if contexts is None or name == PYSPY or not measured.turns.get(PYSPY):
        return None
    ours, theirs = (_possible(contexts, _all(measured, each)) for each in (name, PYSPY))
    equal = min(ours.total(), theirs.total())
    return expected_distinct(ours, equal) / max(expected_distinct(theirs, equal), 1e-9)


def expected_distinct(counted: Counter[Stack], samples: int) -> float:
    """How many different stacks so many of these samples would show in the mean."""
    total = max(counted.total(), 1)
    return sum(1 - (1 - count / total) ** samples for count in counted.values())


def _possible(exact: Contexts, counted: Counter[Stack]) -> Counter[Stack]:
    plain = stacks.python_only(counted)
    return Counter({stack: count for stack, count in plain.items() if exact.possible(stack)})


def _all(measured: Measured, name: str) -> Counter[Stack]:
    return stacks.added(take.stacks for take in measured.turns[name])


def _counted(takes: list[Take]) -> dict[str, float]:
    """Percent of the ticks, by what became of them."""
    ticks = sum(take.figures.get("ticks", 0) for take in takes)
    return {
        name: 100 * sum(take.figures[name] for take in takes) / ticks
        for name in COUNTED
        if ticks and all(name in take.figures for take in takes)
    }

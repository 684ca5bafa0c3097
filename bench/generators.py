"""Generators in generators: who calls whom changes with every item. Are the stacks possible, and the shares true?

Frames of generators lie on the heap and are linked into the stack only while they run, so a sampler that loses them
favours their callers. The truth is a stopped target: how often it is inside a generator. `streams` makes them anew
all the time, and what becomes of that differs from process to process: so there are several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bench import core, hard, stopped, truth
from bench.common import Options, Report, Row, main, percent
from bench.profilers import Recording, Stack
from bench.targets import Interpreter, interpreter, running
from bench.truth import Possible

BAR_POINTS = 2.0
GENERATORS = {"outer", "inner", "split", "<genexpr>"}
PROGRAMS: dict[str, Possible] = {"generators": truth.generators, "streams": truth.streams}


def _inside(stacks: Mapping[Stack | None, int]) -> float:
    """The share of stacks with a generator in them."""
    return sum(count for stack, count in stacks.items() if GENERATORS & set(stack or ())) / sum(stacks.values())


def _share_row(what: str, recordings: list[Recording], true: list[float]) -> Row:
    ours = [_inside(Counter[Stack | None](recording.stacks)) for recording in recordings]
    worst = max(abs(our - their) for our, their in zip(ours, true, strict=True))
    return Row(
        f"{what}: share inside generators",
        ", ".join(percent(share, 1) for share in ours),
        reference=f"{', '.join(percent(share, 1) for share in true)} in a stopped target",
        bar=f"within {BAR_POINTS:.0f} points in every process",
        met=worst <= BAR_POINTS / 100,
    )


def _rows(python: Interpreter, program: str, options: Options) -> list[Row]:
    true: list[float] = []
    recordings: dict[str, list[Recording]] = {rate: [] for rate in hard.RATES}
    for _ in range(options.pick(5, 3)):
        with running(python, program) as target:
            true.append(_inside(stopped.stacks(target, options.pick(6.0, 2.0))))
            for rate, rate_hz in hard.RATES.items():
                recordings[rate].append(core.record(target, rate_hz, options.pick(8.0, 2.0)))
    rows = []
    for rate, each in recordings.items():
        what = f"{program}, {rate}, {python.version}"
        rows += [hard.judge(what, each, PROGRAMS[program]), _share_row(what, each, true)]
    return rows


def benchmark(options: Options) -> Report:
    """Each version, each program, at both rates."""
    report = Report()
    for version in hard.versions(options):
        for program in PROGRAMS:
            report.rows += _rows(interpreter(version), program, options)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

"""Are the printed intervals honest? How often the true share of a function lies within share ± its 95 % interval.

The target measures what each of its four functions took, between the same moments that are sampled: 200 short runs.
"""

from __future__ import annotations

from bench import core
from bench.common import Options, Report, Row, main, percent
from bench.shares import FUNCTIONS, RATES
from bench.targets import Target, interpreter, running
from tachyscope.profile.model import wilson_interval

RUNS = 200
BAR = 0.93


def _inside(target: Target, rate_hz: float, seconds: float) -> list[bool]:
    """For each function of one run: is the truth within the interval?"""
    before = target.report()
    recording = core.record(target, rate_hz, seconds)
    spent = target.spent_since(before)
    counts = [round(recording.share(name) * recording.samples) for name in FUNCTIONS]
    total, whole = sum(counts), sum(spent.values())
    bounds = [wilson_interval(count, total) for count in counts]
    return [low <= spent[name] / whole <= high for name, (low, high) in zip(FUNCTIONS, bounds, strict=True)]


def _row(target: Target, rate: str, runs: int, seconds: float) -> Row:
    inside = [each for _ in range(runs) for each in _inside(target, RATES[rate], seconds)]
    share = sum(inside) / len(inside)
    what = f"true share within the 95 % interval, {runs} runs, {rate}, {target.interpreter.version}"
    return Row(what, percent(share, 1), bar=f"at least {percent(BAR, 0)}", met=share >= BAR)


def benchmark(options: Options) -> Report:
    """At two rates."""
    report = Report()
    with running(interpreter(options.python or "3.13"), "shares", "20") as target:
        runs = options.pick(RUNS, 20)
        report.rows += [_row(target, rate, runs, seconds) for rate, seconds in (("1 kHz", 0.4), ("10 kHz", 0.3))]
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

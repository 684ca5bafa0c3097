"""Deep stacks: all frames there in every sample, however many, and what rate is left."""

from __future__ import annotations

from dataclasses import replace

from bench import core, hard, truth
from bench.common import Options, Report, Row, main
from bench.targets import Target, interpreter, running

DEPTHS, QUICK_DEPTHS = (100, 1000, 5000, 15000), (100, 5000)
DEEPEST_BEFORE_3_11 = 5000  # there every Python call is a C call too, and the C stack has its limit


def _row(target: Target, depth: int, rate: str, options: Options) -> Row:
    recording = core.record(target, hard.RATES[rate], options.pick(20.0, 3.0))
    what = f"depth {depth:,}, {rate}, {target.interpreter.version}"
    return _with_rate(hard.judge(what, [recording], truth.deep(depth)), recording.rate_hz)


def _with_rate(row: Row, rate_hz: float) -> Row:
    return replace(row, ours=f"{rate_hz:,.0f}/s; {row.ours}")


def benchmark(options: Options) -> Report:
    """Each version at each depth that it can reach."""
    report = Report()
    for version in hard.versions(options):
        python = interpreter(version)
        for depth in options.pick(DEPTHS, QUICK_DEPTHS):
            if depth > DEEPEST_BEFORE_3_11 and tuple(map(int, python.version.split(".")[:2])) < (3, 11):
                report.note(f"depth {depth:,} is too deep for the C stack of Python {python.version}")
                continue
            with running(python, "deep", str(depth)) as target:
                report.rows += [_row(target, depth, rate, options) for rate in hard.RATES]
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

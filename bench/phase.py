"""A program whose period is the sampling interval: 20 % of each millisecond in one function, sampled at 1 kHz.

A clock without chance in it meets the same point of every period, and reports 0 or 100 %.
"""

from __future__ import annotations

from bench import core
from bench.common import Options, Report, Row, alternate, main, percent
from bench.profilers import Profiler, PySpy, Recording, available
from bench.targets import Target, interpreter, running

RATE_HZ = 1000
PERIOD_US, SHARE = "1000", "0.2"
BAR_POINTS = 1.0


def _share(recording: Recording) -> float:
    return recording.share_below("part_a")


def _our_error(target: Target, seconds: float) -> tuple[float, float]:
    """Our share, and the true one of the same seconds."""
    before = target.report()
    recording = core.record(target, RATE_HZ, seconds)
    spent = target.spent_since(before)
    return _share(recording), spent["part_a"] / (spent["part_a"] + spent["part_b"])


def _row(target: Target, peers: list[Profiler], options: Options) -> Row:
    seconds = options.pick(25.0, 8.0)
    ours = [_our_error(target, seconds) for _ in range(options.pick(6, 2))]
    measures = {peer.name: lambda peer=peer: _share(peer.record(target, RATE_HZ, 5.0)) for peer in peers}
    theirs = alternate(options.pick(4, 2), measures)
    worst = max(100 * abs(share - true) for share, true in ours)
    return Row(
        f"1 ms period, 1 kHz, {target.interpreter.version}",
        ", ".join(percent(share, 1) for share, _ in ours),
        "; ".join(f"{name} {', '.join(percent(share, 1) for share in each)}" for name, each in theirs.items()) or "–",
        ", ".join(percent(true, 1) for _, true in ours),
        f"within {BAR_POINTS:.0f} point, every run",
        worst <= BAR_POINTS,
    )


def benchmark(options: Options) -> Report:
    """One version, then 3.15 beside the standard library's profiler."""
    report = Report()
    with running(interpreter(options.python or "3.13"), "period", PERIOD_US, SHARE) as target:
        report.rows.append(_row(target, available(report.notes, PySpy), options))
    beside = core.beside_stdlib(report.notes)
    if beside:
        with running(beside[0], "period", PERIOD_US, SHARE) as target:
            report.rows.append(_row(target, beside[1], options))
    if options.quick:
        report.note("runs of 8 s have a standard deviation of 0.45 points: 1 run in 35 is over a point by chance")
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

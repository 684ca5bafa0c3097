"""All threads of a program: CPU, failed samples and missed ticks, from 1 to 1,000 threads; 10 of them compute.

At 100 threads beside the peers: py-spy on 3.13, the standard library's profiler on its own version. What is missed
counts beyond a bare clock loop in the same run: computing threads leave little of two CPUs to anybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import core
from bench.common import Options, Report, Row, alternate, main, median, percent
from bench.profilers import Ours, Profiler, PySpy, available
from bench.targets import Interpreter, Target, interpreter, running

CURVE = (1, 10, 100, 1000)
BUSY = 10
RATES = {"1 kHz": 1000, "10 kHz": 10_000}
CPU_AT_1_KHZ, POINTS_MISSED_AT_10_KHZ, FAILED = 0.15, 1.0, 0.001


@dataclass(frozen=True)
class Cost:
    """What one run of a profiler cost and missed; all are shares."""

    cpu: float
    missed: float
    failed: float


def _cost(profiler: Profiler, target: Target, rate_hz: float, seconds: float) -> Cost:
    with profiler.at_work(target, rate_hz) as at_work:
        cpu, start = at_work.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        cpu, elapsed = at_work.cpu_seconds() - cpu, time.monotonic() - start
        recording = at_work.stop()
    return Cost(cpu / elapsed, (recording.missed or 0) / max(recording.ticks, 1), recording.failed_share)


def _bare(rate_hz: float, seconds: float) -> Cost:
    bare = core.bare_clock(rate_hz, seconds)
    return Cost(bare.cpu_share, bare.missed_share, 0.0)


def _text(costs: Sequence[Cost]) -> str:
    cpu, missed, failed = (median(getattr(cost, name) for cost in costs) for name in ("cpu", "missed", "failed"))
    return f"CPU {percent(cpu, 1)}, missed {percent(missed)}, failed {percent(failed, 3)}"


def _judge(threads: int, rate: str, ours: Sequence[Cost], bare: Sequence[Cost]) -> tuple[str, bool | None]:
    """The bars are for 100 threads."""
    if threads != 100:
        return "–", None
    failed = median(cost.failed for cost in ours) <= FAILED
    if rate == "1 kHz":
        cheap = median(cost.cpu for cost in ours) <= CPU_AT_1_KHZ
        return f"at most {percent(CPU_AT_1_KHZ, 0)} CPU, {percent(FAILED, 1)} failed", cheap and failed
    beyond = 100 * (median(cost.missed for cost in ours) - median(cost.missed for cost in bare))
    return (
        f"missed 1 point over the bare clock, {percent(FAILED, 1)} failed",
        beyond <= POINTS_MISSED_AT_10_KHZ and failed,
    )


def _row(python: Interpreter, threads: int, rate: str, peers: Sequence[Profiler], options: Options) -> Row:
    seconds, rate_hz = options.pick(3.0, 1.5), RATES[rate]
    with running(python, "threads", str(threads), str(min(BUSY, threads - 1))) as target:
        measures: dict[str, Callable[[], Cost]] = {"bare": lambda: _bare(rate_hz, seconds)}
        for profiler in (Ours(all_threads=True), *peers):
            measures[profiler.name] = lambda each=profiler: _cost(each, target, rate_hz, seconds)  # type: ignore[misc]
        costs = alternate(options.pick(3, 2), measures)
    ours, bare = costs.pop("tachyscope"), costs.pop("bare")
    bar, met = _judge(threads, rate, ours, bare)
    theirs = "; ".join(f"{name}: {_text(each)}" for name, each in costs.items())
    what = f"{threads:,} thread{'s' * (threads > 1)}, {rate}, {python.version}"
    return Row(what, _text(ours), theirs or "–", f"bare clock: {_text(bare)}", bar, met)


def benchmark(options: Options) -> Report:
    """The curve on one version, and 100 threads beside the standard library's profiler."""
    report = Report()
    python = interpreter(options.python or "3.13")
    for threads in CURVE:
        peers = available(report.notes, PySpy) if threads == 100 else []
        report.rows += [_row(python, threads, rate, peers, options) for rate in RATES]
    beside = core.beside_stdlib(report.notes)
    if beside:
        for profiler in beside[1]:
            profiler.all_threads = True
        report.rows += [_row(beside[0], 100, rate, beside[1], options) for rate in RATES]
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

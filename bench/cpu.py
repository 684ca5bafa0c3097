"""CPU time of the profiler, one thread, at 1 and 10 kHz: its whole process as the kernel counts it, as it samples."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench import core
from bench.common import Options, Report, Row, alternate, main, median, percent
from bench.profilers import Ours, Profiler, PySpy, available
from bench.targets import Interpreter, Target, interpreter, running

SHARE_AT_1_KHZ = 0.04
POINTS_OVER_BARE_AT_10_KHZ = 0.10
RATES = {"1 kHz": 1000, "10 kHz": 10_000}


def _cpu_share(profiler: Profiler, target: Target, rate_hz: float, seconds: float) -> float:
    with profiler.at_work(target, rate_hz) as running_profiler:
        cpu, start = running_profiler.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        cpu, elapsed = running_profiler.cpu_seconds() - cpu, time.monotonic() - start
    return cpu / elapsed


def _bar(rate: str, ours: float, bare: float) -> tuple[str, bool]:
    if rate == "1 kHz":
        return f"at most {percent(SHARE_AT_1_KHZ, 0)}", ours <= SHARE_AT_1_KHZ
    return "at most 10 points over the bare clock", ours - bare <= POINTS_OVER_BARE_AT_10_KHZ


def _row(target: Target, rate: str, peers: list[Profiler], options: Options) -> Row:
    seconds, rate_hz = options.pick(4.0, 2.0), RATES[rate]
    measures: dict[str, Callable[[], float]] = {"bare": lambda: core.bare_clock(rate_hz, seconds).cpu_share}
    for profiler in (Ours(), *peers):
        measures[profiler.name] = lambda each=profiler: _cpu_share(each, target, rate_hz, seconds)  # type: ignore[misc]
    shares = {name: median(each) for name, each in alternate(options.pick(3, 2), measures).items()}
    ours, bare = shares.pop("tachyscope"), shares.pop("bare")
    bar, met = _bar(rate, ours, bare)
    theirs = ", ".join(f"{name} {percent(share, 1)}" for name, share in shares.items())
    what = f"CPU at {rate}, depth 25, {target.interpreter.version}"
    return Row(what, percent(ours, 1), theirs or "–", f"bare clock {percent(bare, 1)}", bar, met)


def _rows(python: Interpreter, peers: list[Profiler], options: Options) -> list[Row]:
    with running(python, "busy", "25") as target:
        return [_row(target, rate, peers, options) for rate in RATES]


def benchmark(options: Options) -> Report:
    """Both rates; the standard library's profiler beside us on its own version."""
    report = Report()
    report.rows += _rows(interpreter(options.python or "3.13"), available(report.notes, PySpy), options)
    beside = core.beside_stdlib(report.notes)
    if beside:
        report.rows += _rows(*beside, options)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

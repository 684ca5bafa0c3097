"""Ticks missed, one thread, 10 kHz: the command line in turns with a clock loop that reads nothing.

A virtual machine loses milliseconds now and then, for everybody; only what we miss beyond that is ours.
"""

from __future__ import annotations

from collections.abc import Callable

from bench import core
from bench.common import Options, Report, Row, alternate, main, median, spread
from bench.profilers import Ours, Profiler
from bench.targets import Interpreter, Target, interpreter, running

RATE_HZ = 10_000
BAR_POINTS = 1.0


def _missed(profiler: Profiler, target: Target, seconds: float) -> float:
    recording = profiler.record(target, RATE_HZ, seconds)
    return (recording.missed or 0) / max(recording.ticks, 1)


def _row(python: Interpreter, peers: list[Profiler], options: Options) -> Row:
    seconds = options.pick(5.0, 2.0)
    with running(python, "busy", "25") as target:
        measures: dict[str, Callable[[], float]] = {
            "tachyscope": lambda: _missed(Ours(), target, seconds),
            "bare": lambda: core.bare_clock(RATE_HZ, seconds).missed_share,
        }
        for peer in peers:
            measures[peer.name] = lambda peer=peer: _missed(peer, target, seconds)  # type: ignore[misc]
        shares = alternate(options.pick(5, 4), measures)
    ours, bare = median(shares["tachyscope"]), median(shares["bare"])
    return Row(
        f"ticks missed, 10 kHz, depth 25, {python.version}",
        spread(shares["tachyscope"], " %", 100, 2),
        ", ".join(f"{peer.name} {spread(shares[peer.name], ' %', 100)}" for peer in peers) or "–",
        f"bare clock {spread(shares['bare'], ' %', 100, 2)}",
        f"at most {BAR_POINTS:.0f} point over the bare clock",
        100 * (ours - bare) <= BAR_POINTS,
    )


def benchmark(options: Options) -> Report:
    """One version, then 3.15 beside the standard library's profiler; py-spy does not say what it misses."""
    report = Report()
    report.rows.append(_row(interpreter(options.python or "3.13"), [], options))
    beside = core.beside_stdlib(report.notes)
    if beside:
        report.rows.append(_row(*beside, options))
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

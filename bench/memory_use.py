"""Memory of the profiler after 10 million samples, its peak from the start to the finished file, for each format."""

from __future__ import annotations

import signal
import time

from bench.common import Options, Report, Row, main
from bench.profilers import HIGHEST_HZ, Ours, Profiler, Running, Stdlib, available
from bench.targets import Target, interpreter, running

SAMPLES, QUICK_SAMPLES = 10_000_000, 500_000
LONGEST_SECONDS = 240.0
BAR_BYTES = 100e6
FORMATS = ("pstats", "collapsed")
PROGRAMS = {"depth 25": ("busy", "25"), "many stacks": ("many_stacks",)}


def _peak_until_end(at_work: Running) -> int:
    """Watch it write its output."""
    peak = at_work.peak_memory()
    at_work.process.send_signal(signal.SIGINT)
    while at_work.process.poll() is None:
        peak = max(peak, at_work.peak_memory())
        time.sleep(0.005)
    return peak


def _peak(profiler: Profiler, target: Target, seconds: float) -> tuple[int, int]:
    """The peak in bytes, and how many samples there were."""
    with profiler.at_work(target, HIGHEST_HZ) as at_work:
        time.sleep(seconds)
        peak = _peak_until_end(at_work)
        at_work.said += at_work.process.communicate()[0]
        return peak, profiler.read(at_work, seconds).samples


def _row(target: Target, name: str, output_format: str, options: Options) -> Row:
    probe = Ours().record(target, HIGHEST_HZ, 1.0)
    wanted = options.pick(SAMPLES, QUICK_SAMPLES)
    seconds = min(1.15 * wanted / probe.rate_hz, LONGEST_SECONDS)
    peak, samples = _peak(Ours(output_format), target, seconds)
    return Row(
        f"{name}, {output_format}, {target.interpreter.version}",
        f"{peak / 1e6:.0f} MB after {samples:,} samples",
        bar=f"under {BAR_BYTES / 1e6:.0f} MB after {SAMPLES:,}",
        met=None if samples < SAMPLES and peak < BAR_BYTES else peak < BAR_BYTES,
    )


def _peer_row(target: Target, name: str, peer: Profiler, options: Options) -> Row:
    peak, samples = _peak(peer, target, options.pick(60.0, 5.0))
    return Row(f"{name}, peer, {target.interpreter.version}", "–", f"{peer.name} {peak / 1e6:.0f} MB after {samples:,}")


def benchmark(options: Options) -> Report:
    """A program with a handful of stacks and one with many."""
    report = Report()
    for name, (program, *arguments) in PROGRAMS.items():
        with running(interpreter(options.python or "3.13"), program, *arguments) as target:
            report.rows += [_row(target, name, each, options) for each in FORMATS]
        for peer in available(report.notes, Stdlib):
            with running(interpreter("3.15"), program, *arguments) as target:
                report.rows.append(_peer_row(target, name, peer, options))
    if options.quick:
        report.note(f"quick: {QUICK_SAMPLES:,} samples instead of {SAMPLES:,}: only a bar missed already counts")
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

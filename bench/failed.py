"""Failed samples at 10 kHz: of programs that call all the time, and of one that is often interrupted.

A target that the kernel takes off its CPU stands still wherever it is, also in the middle of a call: what cannot be
read there cannot be read for milliseconds. `shared CPU` makes that happen often: a second program on the same CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench import core
from bench.common import Options, Report, Row, main, percent
from bench.profilers import Profiler, Recording
from bench.targets import Interpreter, Target, interpreter, pinned, running

RATE_HZ = 10_000
BAR = 0.001
PROGRAMS = {
    "depth 5": ("busy", "5"),
    "depth 25": ("busy", "25"),
    "alternating chains, empty leaves": ("alternating", "0"),
    "generators": ("generators",),
    "recursion": ("recursion",),
}


@contextmanager
def _on_shared_cpu(target: Target, python: Interpreter) -> Iterator[None]:
    cpu = max(os.sched_getaffinity(0))
    with running(python, "busy", "5") as other, ExitStack() as stack:
        stack.enter_context(pinned(target.pid, cpu))
        stack.enter_context(pinned(other.pid, cpu))
        yield


def _row(what: str, ours: Recording, peer: str = "–") -> Row:
    text = f"{percent(ours.failed_share, 3)} ({ours.failed:,} of {ours.samples + ours.failed:,})"
    return Row(what, text, peer, bar=f"at most {percent(BAR, 1)}", met=ours.failed_share <= BAR)


def _peer(target: Target, peers: list[Profiler], seconds: float) -> str:
    return ", ".join(f"{peer.name} {percent(peer.record(target, RATE_HZ, seconds).failed_share)}" for peer in peers)


def benchmark(options: Options) -> Report:
    """Each program on the chosen version, then on 3.15 beside the standard library's profiler."""
    report = Report()
    seconds = options.pick(20.0, 3.0)
    python = interpreter(options.python or "3.13")
    beside = core.beside_stdlib(report.notes)
    for name, (program, *arguments) in PROGRAMS.items():
        with running(python, program, *arguments) as target:
            report.rows.append(_row(f"{name}, {python.version}", core.record(target, RATE_HZ, seconds)))
            with _on_shared_cpu(target, python):
                ours = core.record(target, RATE_HZ, seconds)
            report.rows.append(_row(f"{name}, {python.version}, shared CPU", ours))
        if beside:
            newest, peers = beside
            with running(newest, program, *arguments) as target:
                ours = core.record(target, RATE_HZ, seconds)
                report.rows.append(_row(f"{name}, {newest.version}", ours, _peer(target, peers, seconds)))
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

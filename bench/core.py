"""Our sampler inside this process, for windows that begin and end exactly where the benchmark says."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from bench.profilers import Profiler, Recording, Stack, Stdlib, available
from bench.targets import Interpreter, Target, interpreter, running
from tachyscope import Profile, UnsupportedPython, attach
from tachyscope._core.memory import Reader, floor_rate
from tachyscope._core.sampler import Sampler
from tachyscope.sampling.scheduling import Priority
from tachyscope.target import runtime


def record(target: Target, rate_hz: float, seconds: float) -> Recording:
    """Profile a target for some seconds through the public API."""
    with attach(target.pid, interval_us=max(1e6 / rate_hz, 1.0)) as session:
        session.sample(seconds)
        return _recording(session.profile())


def _recording(profile: Profile) -> Recording:
    stacks = Counter[Stack]()
    for _, frames, count in profile.stacks():
        stacks[tuple(frame.function.name for frame in frames)] += count
    said = profile.accuracy
    return Recording(said.samples, said.failed, said.duration_s, said.missed, said.ticks, stacks)


@dataclass(frozen=True)
class Bare:
    """What a clock loop that reads nothing did."""

    missed_share: float
    cpu_share: float


def bare_clock(rate_hz: float, seconds: float) -> Bare:
    """Let only the clock run."""
    interval_ns = round(1e9 / rate_hz)
    sampler = Sampler(0, None, 0, interval_ns=interval_ns, bare=True)
    with Priority(interval_ns):
        cpu, start = time.thread_time(), time.monotonic()
        sampler.run(time.monotonic_ns() + int(seconds * 1e9))
        cpu, elapsed = time.thread_time() - cpu, time.monotonic() - start
    counters = sampler.counters
    ticks = counters["hits"] + counters["missed"]
    return Bare(counters["missed"] / max(ticks, 1), cpu / elapsed)


def ranges(target: Target) -> list[tuple[int, int]]:
    """What one sample of a target reads: (address, size in bytes)."""
    reader = Reader(target.pid)
    found = runtime.find_runtime(target.pid, reader)
    thread = runtime.main_thread(found, reader)
    sampler = Sampler(target.pid, found.layout, thread, interval_ns=1000)
    sampler.run(time.monotonic_ns() + 200_000_000)  # learn what there is to read
    return sampler.ranges()


def floor(target: Target, seconds: float) -> float:
    """How many times a second the bytes of one sample could be read at most, by a loop that does nothing else."""
    return floor_rate(target.pid, ranges(target), seconds)


def beside_stdlib(notes: list[str]) -> tuple[Interpreter, list[Profiler]] | None:
    """Return the interpreter on which we and the standard library's profiler can be compared, and that profiler."""
    peers = available(notes, Stdlib)
    if not peers:
        return None
    python = interpreter("3.15")
    try:
        with running(python, "busy", "5") as target:
            attach(target.pid).close()
    except UnsupportedPython as reason:
        notes.append(f"skipped the comparison with {peers[0].name}: {reason}")
        return None
    return python, peers

"""What the tests of the core share: attaching to a target, and stacks in one form, whoever read them.

A stack is a tuple of `Seen`, leaf first.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from support import READY_TIMEOUT_SECONDS, Target

from tachyscope._core import reference
from tachyscope._core.batch import Batch, Status
from tachyscope._core.memory import Reader
from tachyscope._core.sampler import SLICE_OVER, Sampler, tick_times
from tachyscope.profile.collector import Collector, RawNode
from tachyscope.profile.locations import CodeLines, TableKind
from tachyscope.target import runtime
from tachyscope.target.opcodes import opcodes_of
from tachyscope.target.runtime import Runtime

PROGRAMS = Path(__file__).parent / "programs"
BENCH_PROGRAMS = Path(__file__).parent.parent / "bench" / "programs"
MILLISECOND_NS = 1_000_000


class Seen(NamedTuple):
    """A frame as the core and its twin report it."""

    name: str
    qualname: str
    filename: str
    first_line: int
    table: bytes
    offset: int


Stack = tuple[Seen, ...]


@dataclass
class Attached:
    """A target whose interpreter was found, and the thread of it that is looked at."""

    runtime: Runtime
    read: Reader
    thread: int

    def sampler(self, **options: Any) -> Sampler:
        """Return a new sampler, by default as fast as it can."""
        table = opcodes_of(self.runtime.version)
        options = {"interval_ns": 1, "caches": table.caches, "roles": table.roles, **options}
        return Sampler(self.runtime.pid, self.runtime.layout, self.thread, **options)

    def reference_stack(self, max_depth: int = reference.MAX_DEPTH) -> Stack:
        """Return what the twin reads now."""
        located = reference.stack(self.read, self.runtime.layout, self.thread, max_depth)
        return tuple(
            Seen(code.name, code.qualname, code.filename, code.first_line, code.lines, offset)
            for code, offset in located
        )

    def lines(self, stack: Stack) -> list[int]:
        """Return the executing lines of a stack."""
        kind = TableKind.for_version(*self.runtime.version)
        return [CodeLines(kind, seen.table, seen.first_line).at(seen.offset).line for seen in stack]


def attach(pid: int, ident: int = 0) -> Attached:
    """Find the interpreter of a process and its thread with a pthread id, by default the main one."""
    read = Reader(pid)
    found = runtime.find_runtime(pid, read)
    thread = runtime.main_thread(found, read)
    if ident:
        threads = runtime.threads(found, read, runtime.main_interpreter(found, read))
        (thread,) = [each.address for each in threads if each.thread_id == ident]
    return Attached(found, read, thread)


_collectors: dict[int, tuple[Sampler, Collector]] = {}


def collected(sampler: Sampler) -> Collector:
    """Return what a sampler has brought in so far."""
    _, collector = _collectors.setdefault(id(sampler), (sampler, Collector((3, 0))))
    collector.add(sampler.drain(whole=True))
    return collector


def counts_of(sampler: Sampler) -> list[int]:
    """Return the samples of each node, of all threads, as ticks."""
    return list(counts_by_track(sampler).get(None, []))


def counts_by_track(sampler: Sampler) -> dict[int | None, list[int]]:
    """Return the samples of each node for each track, and for all together (None)."""
    collector = collected(sampler)
    size = len(collector.node_rows())
    counts: dict[int | None, list[int]] = {}
    for track, node, status, _, ticks in collector.states():
        for key in (track, None) if not status & Status.FAILED else ():
            if key not in counts:
                counts[key] = [0] * size
            counts[key][node] += ticks
    return counts


def ticks_with(sampler: Sampler, bits: Status) -> int:
    """Return for how many ticks of all threads the status had one of these bits."""
    return sum(ticks for _, _, status, _, ticks in collected(sampler).states() if status & bits)


def stacks_of(sampler: Sampler) -> Counter[Stack]:
    """Return how often each stack was sampled."""
    counts, collector = counts_of(sampler), collected(sampler)
    codes, nodes = collector.codes, collector.node_rows()
    stacks: Counter[Stack] = Counter()
    for node, count in enumerate(counts):
        if count:
            stacks[tuple(path(codes, nodes, node))] += count
    return stacks


def path(codes: list[tuple[str, str, str, int, bytes]], nodes: list[RawNode], node: int) -> list[Seen]:
    """Return the frames of a node, leaf first."""
    frames = []
    while node:
        node, code, offset, _ = nodes[node]
        frames.append(Seen(*codes[code], offset))
    return frames


def names_of(sampler: Sampler) -> Counter[tuple[str, ...]]:
    """Return how often each stack was sampled, by the names of its functions, root first."""
    return named(collected(sampler), counts_of(sampler))


def named(collector: Collector, counts: list[int]) -> Counter[tuple[str, ...]]:
    """Return samples per node as samples per stack, by the names of its functions, root first."""
    paths: list[tuple[str, ...]] = [()]  # parents come before children
    for parent, code, _, _ in collector.node_rows()[1:]:
        paths.append((*paths[parent], collector.codes[code][0]))
    stacks: Counter[tuple[str, ...]] = Counter()
    for names, count in zip(paths, counts, strict=False):
        if count:
            stacks[names] += count
    return stacks


def due_times(batch: Batch, interval_ns: int, ticks: int) -> list[int]:
    """Return when each of the first ticks of a sampler was due."""
    times: list[int] = []
    for anchor in batch.anchors:
        del times[anchor.tick :]
        times += array("Q", tick_times(anchor, interval_ns, ticks - len(times)))
    return times


def times_of(batch: Batch, interval_ns: int, ticks: int) -> list[int]:
    """Return when each of the first ticks of a sampler was: when it was due, or later where the stream says so."""
    times = due_times(batch, interval_ns, ticks)
    for tick, late_ns in zip(*(array("Q", column) for column in batch.corrections), strict=True):
        times[tick] += late_ns
    return times


def run_for(sampler: Sampler, seconds: float) -> int:
    """Sample for that long; return why it ended."""
    return sampler.run(time.monotonic_ns() + int(seconds * 1e9))


def run_until(sampler: Sampler, done: Callable[[], bool], slice_seconds: float = 0.002) -> None:
    """Sample in slices until `done`."""
    give_up = time.monotonic() + READY_TIMEOUT_SECONDS
    while not done() and time.monotonic() < give_up:
        assert run_for(sampler, slice_seconds) == SLICE_OVER
    assert done(), sampler.counters


def line_of(target: Target) -> bytes:
    """Return the next line of output, b"" at its end; nothing of the one after it may have been written yet."""
    assert target.process.stdout is not None
    pieces = [b""]
    while not pieces[-1].endswith(b"\n"):
        piece = os.read(target.process.stdout.fileno(), 1 << 20)
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


class Told(NamedTuple):
    """What a program says about itself at a point."""

    ident: int
    tid: int
    stack: list[tuple[str, str, int, str]]  # file name, name, line, qualified name; leaf first


def next_point(target: Target) -> Told | None:
    """Wait until the program waits at its next point; None when it has ended well."""
    line = line_of(target)
    if not line:
        assert target.process.wait() == 0
        return None
    told = json.loads(line)
    wait_until_reading(target.pid, told["tid"])
    return Told(told["ident"], told["tid"], [tuple(frame) for frame in told["stack"]])


def go_on(target: Target) -> None:
    """Let the program leave its point."""
    assert target.process.stdin is not None
    os.write(target.process.stdin.fileno(), b"\n")


def _wait_for_call(pid: int, tid: int, is_wanted: Callable[[list[str]], bool], what: str) -> None:
    """Wait until the system call that a thread is in is the wanted one: its number and arguments are given."""
    call = Path(f"/proc/{pid}/task/{tid}/syscall")
    give_up = time.monotonic() + READY_TIMEOUT_SECONDS
    while not is_wanted(call.read_text().split()):
        assert time.monotonic() < give_up, f"thread {tid} of process {pid} never came to {what}"
        time.sleep(0)


def wait_until_reading(pid: int, tid: int) -> None:
    """Wait until a thread waits for its standard input. That it sleeps is not enough: it may wait for the GIL."""
    number = {"x86_64": "0", "aarch64": "63"}[platform.machine()]
    _wait_for_call(pid, tid, lambda call: call[:2] == [number, "0x0"], "read")


def wait_until_locked(pid: int, tid: int) -> None:
    """Wait until a thread waits for a lock without a limit of time. Who waits for the GIL does so with one."""
    number = {"x86_64": "202", "aarch64": "98"}[platform.machine()]
    _wait_for_call(pid, tid, lambda call: call[0] == number and call[4] == "0x0", "wait for a lock")


def wait_for_state(pid: int, states: str, tid: int = 0) -> None:
    """Wait until the kernel has a thread in one of these states, such as S (asleep) or T (stopped)."""
    stat = Path(f"/proc/{pid}/task/{tid or pid}/stat")
    give_up = time.monotonic() + READY_TIMEOUT_SECONDS
    while stat.read_text().rpartition(") ")[2][0] not in states:
        assert time.monotonic() < give_up, f"process {pid} never came to state {states}"
        time.sleep(0)


def stop(pid: int) -> None:
    """Stop a process, and wait until it is."""
    os.kill(pid, signal.SIGSTOP)
    wait_for_state(pid, "Tt")


def resume(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)

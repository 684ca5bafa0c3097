"""All threads at once, and the modes: who is sampled, with which stack, and which samples count."""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from core_support import (
    PROGRAMS,
    Attached,
    attach,
    collected,
    counts_by_track,
    go_on,
    line_of,
    named,
    names_of,
    ticks_with,
    wait_until_locked,
    wait_until_reading,
)
from support import READY_TIMEOUT_SECONDS, Target, spawn, spawn_target

from tachyscope import attach as profile_of
from tachyscope._core.batch import Status
from tachyscope._core.sampler import SLICE_OVER, THREADS_NEW, Sampler
from tachyscope.profile.model import Profile, ThreadInfo
from tachyscope.target import runtime

KNOWN = 80  # ticks of a millisecond: the kernel is asked about six threads in turn, every 2 ms
WALL, CPU, GIL, EXCEPTION = range(4)
SIGMAS = 3.29  # of a 99.9 % interval
POINTS = 0.02  # what the clock, and time between two activities, may add

IDLE_THREAD = """
import ctypes, os
api = ctypes.PyDLL(None)
interpreter = getattr(api, "PyInterpreterState_Get", None) or api._PyInterpreterState_Get
interpreter.restype = api.PyThreadState_New.restype = ctypes.c_void_p
api.PyThreadState_New.argtypes = [ctypes.c_void_p]
api.PyThreadState_New(interpreter())
print("ready", flush=True)
os.read(0, 1)
"""

SUBINTERPRETER = """
import os, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
there = interpreters.create()
source = "import os\\ndef deep_inside():\\n    os.write(1, b'ready\\\\n')\\n    os.read(0, 1)\\ndeep_inside()"
interpreters.run_string(there, source)
"""


def all_threads(at: Attached, **options: Any) -> Sampler:
    pairs = runtime.interpreters(at.runtime, at.read)
    options = {"interval_ns": 100_000, "interpreters": pairs, **options}
    return Sampler(at.runtime.pid, at.runtime.layout, 0, **options)


def run_all(sampler: Sampler, seconds: float) -> None:
    """Sample for that long, whatever threads begin."""
    end = time.monotonic_ns() + int(seconds * 1e9)
    while (outcome := sampler.run(end)) == THREADS_NEW:
        sampler.new_threads()
    assert outcome == SLICE_OVER


def by_ident(sampler: Sampler) -> dict[int, Counter[tuple[str, ...]]]:
    """Return how often the thread with each pthread id had which stack, by names, root first."""
    counts, collector = counts_by_track(sampler), collected(sampler)
    return {
        track.ident: named(collector, counts[track.track])
        for track in collector.tracks.values() if track.track in counts
    }  # fmt: skip


@contextmanager
def parked(python: Path, waiting: int, running: int = 0) -> Iterator[tuple[Target, dict[str, Any]]]:
    with spawn_target(python, PROGRAMS / "parked.py", str(waiting), str(running)) as target:
        told = json.loads(line_of(target))
        for name, (_, tid, _) in told.items():
            if name.startswith("waits"):
                wait_until_locked(target.pid, tid)
        wait_until_reading(target.pid, target.pid)
        yield target, told


# Who


def test_every_thread_has_its_own_stack(python: Path) -> None:
    with parked(python, 12) as (target, told):
        sampler = all_threads(attach(target.pid))
        run_all(sampler, 0.2)
        counters = sampler.counters
        seen = by_ident(sampler)
    assert counters["failed"] == 0
    assert len(seen) == 13
    assert counters["samples"] == 13 * counters["hits"]
    for ident, _, stack in told.values():
        assert seen[ident] == {tuple(stack): counters["hits"]}


def test_threads_that_wait_cost_nothing(python: Path) -> None:
    """They are read once; what is read with each sample is the last one that ran."""
    with parked(python, 40) as (target, _):
        sampler = all_threads(attach(target.pid), interval_ns=1_000_000)
        run_all(sampler, 0.1)
        before = sampler.counters
        run_all(sampler, 0.3)
        after = sampler.counters
    assert after["samples"] - before["samples"] == 41 * (after["hits"] - before["hits"])
    assert after["late"] == before["late"]


def test_sleeping_threads_take_no_room_in_the_stream(python: Path) -> None:
    with parked(python, 200) as (target, _):
        sampler = all_threads(attach(target.pid))
        run_all(sampler, 0.5)
        sampler.drain(whole=True)
        size = 0
        for _ in range(20):
            run_all(sampler, 0.05)
            batch = sampler.drain()
            size += sum(len(column) for column in batch.spans) + len(batch.tracks)
        whole = sampler.drain(whole=True)
    assert size < 3_000  # a span is 36 bytes: none of each thread, at most some of the one that reads its input
    assert 201 <= len(whole.spans.track) // 4 <= 210


def test_threads_that_work_are_seen_working(python: Path) -> None:
    with parked(python, 4, 3) as (target, told):
        sampler = all_threads(attach(target.pid))
        run_all(sampler, 1.0)
        counters = sampler.counters
        seen = by_ident(sampler)
    assert counters["failed"] <= counters["samples"] / 200
    for name, (ident, _, stack) in told.items():
        found = seen[ident]
        if name.startswith("waits"):
            assert set(found) == {tuple(stack)}
        else:
            base = tuple(stack[: stack.index("work") + 1])
            assert set(found) <= {base, (*base, "leaf")}
            assert found[(*base, "leaf")] > 0.8 * found.total()
    held = ticks_with(sampler, Status.HOLDS)
    # While one lets the GIL go and the next one waits for a CPU, nobody has it.
    assert 0.2 * counters["hits"] < held <= counters["hits"]


def test_names_and_kernel_ids(python: Path) -> None:
    with parked(python, 5) as (target, told), profile_of(target.pid, interval_us=1000, all_threads=True) as session:
        session.sample(0.3)
        profile = session.profile()
    wanted = {(name, tid) for name, (_, tid, _) in told.items()} | {("MainThread", target.pid)}
    assert {(thread.name, thread.tid) for thread in profile.threads} == wanted
    assert [thread.tid for thread in profile.threads if thread.is_main] == [target.pid]


def test_threads_come_and_go(python: Path) -> None:
    with spawn_target(python, PROGRAMS / "coming.py") as target:
        sampler = all_threads(attach(target.pid))
        run_all(sampler, 1.0)
        counters, counts, collector = sampler.counters, counts_by_track(sampler), collected(sampler)
    assert counters["failed"] <= counters["samples"] / 200
    assert len(counts) > 50
    ended = [track for track in collector.tracks.values() if track.end]
    assert len(ended) > 20
    assert all(track.begin <= track.end for track in ended)
    for track, of_nodes in counts.items():
        for stack in named(collector, of_nodes) if track is not None else ():
            numbers = {name.rpartition("_")[2] for name in stack if name.startswith(("inner_", "body_"))}
            assert len(numbers) <= 1, stack


def test_thread_states_without_frames_spoil_nothing(python: Path) -> None:
    with spawn_target(python, IDLE_THREAD) as target:
        sampler = all_threads(attach(target.pid))
        run_all(sampler, 0.1)
        counters = sampler.counters
        counts = counts_by_track(sampler)
    assert len(counts) == 3
    assert counters["failed"] == 0
    assert counts[None][0] == counters["hits"]


def test_other_interpreters(python: Path) -> None:
    with spawn([str(python), "-c", SUBINTERPRETER]) as target:
        if target.process.stdout is not None and line_of(target) != b"ready\n":
            pytest.skip("this interpreter was built without subinterpreters for tests")
        sampler = all_threads(attach(target.pid))
        run_all(sampler, 0.2)
        names = {name for stack in names_of(sampler) for name in stack}
    assert "deep_inside" in names


# Which samples count


class Told(NamedTuple):
    """A profile of activities in turn, how long each took in all, and how late `sleep` woke up, in seconds."""

    profile: Profile
    spent: dict[str, float]
    late: float


def activities(python: Path, kinds: str, milliseconds: int, mode: str, seconds: float = 1.25, **options: Any) -> Told:
    arguments = (kinds, str(milliseconds), str(seconds + 0.05))
    with (
        spawn_target(python, PROGRAMS / "activities.py", *arguments) as target,
        profile_of(target.pid, mode=mode, **options) as session,
    ):
        go_on(target)
        session.sample(seconds)
        spent, late = json.loads(line_of(target))
        return Told(session.profile(), spent, late)


def missed_share(profile: Profile) -> float:
    return profile.accuracy.missed / profile.accuracy.ticks


def samples_of(profile: Profile) -> Counter[str]:
    """Return the samples of each activity: by the function that the program's own module calls."""
    counts = Counter[str]()
    for _, stack, count in profile.stacks():
        names = [frame.function.name for frame in stack]
        counts[names[1] if len(names) > 1 else ""] += count
    return counts


def check_share(profile: Profile, counted: int, expected: float) -> None:
    """A share of all samples, left out ones included, is what the program measured."""
    total = profile.accuracy.samples + profile.accuracy.left_out
    # A tick is missed rather while this machine runs something else than the target: more often while it computes.
    bound = SIGMAS * math.sqrt(expected * (1 - expected) / total) + POINTS + 0.5 * missed_share(profile)
    assert abs(counted / total - expected) <= bound, (counted / total, expected, profile.accuracy)


def test_wall_mode_counts_everything(python: Path) -> None:
    profile, spent, _ = activities(python, "compute,sleep", 10, "wall")
    assert profile.accuracy.left_out == 0
    check_share(profile, samples_of(profile)["sleep"], spent["sleep"] / sum(spent.values()))


def test_cpu_mode_leaves_out_what_sleeps(python: Path) -> None:
    profile, spent, late = activities(python, "compute,sleep,hash", 10, "cpu")
    whole, counts = sum(spent.values()), samples_of(profile)
    # On a busy machine who was asleep waits for a CPU before it runs: the kernel calls that running.
    total = profile.accuracy.samples + profile.accuracy.left_out
    assert counts["sleep"] / total <= late / whole + 0.05 + missed_share(profile)
    check_share(profile, counts["compute"], spent["compute"] / whole)
    check_share(profile, counts["hash"], spent["hash"] / whole)


def test_gil_mode_counts_the_holder(python: Path) -> None:
    profile, spent, _ = activities(python, "compute,sleep,hash", 10, "gil")
    whole, counts = sum(spent.values()), samples_of(profile)
    # Their few lines of Python hold it, too, and for long where the machine takes the CPU away at one of them.
    assert counts["sleep"] + counts["hash"] <= 0.3 * counts.total()
    check_share(profile, counts["compute"], spent["compute"] / whole)


def test_exception_mode_counts_handlers(python: Path) -> None:
    profile, spent, _ = activities(python, "compute,handle,sleep", 10, "exception")
    counts = samples_of(profile)
    assert counts["compute"] + counts["sleep"] == 0
    check_share(profile, counts["handle"], spent["handle"] / sum(spent.values()))


def test_c_code_has_a_frame(python: Path) -> None:
    """A machine that takes the CPU away between two calls of C code makes those few lines last long, too."""
    profile, _, _ = activities(python, "compute,sleep,hash", 10, "wall", native=True)
    inside, leaves = Counter[str](), Counter[str]()
    for _, stack, count in profile.stacks():
        names = [frame.function.name for frame in stack if frame.function.name != "<native>"]
        leaves[names[1] if len(names) > 1 else ""] += count
        inside[names[1] if len(names) > 1 else ""] += count * (stack[-1].function.name == "<native>")
    shares = {kind: inside[kind] / leaves[kind] for kind in ("compute", "sleep", "hash")}
    assert min(shares["sleep"], shares["hash"]) >= 0.7
    assert shares["compute"] < min(shares["sleep"], shares["hash"])  # it asks the clock every few microseconds


def test_a_collection_has_a_frame(python: Path) -> None:
    profile, spent, _ = activities(python, "compute,collect", 20, "wall")
    collecting = sum(count for _, stack, count in profile.stacks() if stack and stack[-1].function.name == "<GC>")
    check_share(profile, collecting, spent["collect"] / sum(spent.values()))
    assert abs(profile.threads[0].collecting - collecting) <= 2


def share_by_kind(profile: Profile, bit: Status) -> dict[str, tuple[float, float]]:
    """Return for each activity the share of its ticks at which a bit was looked at and set, and its share of all."""
    ticks, having, known = Counter[str](), Counter[str](), Counter[str]()
    for states in profile.states:
        for (node, status, looked), count in states.items():
            names = [frame.function.name for frame in profile.tree.stack(node)]
            kind = names[1] if len(names) > 1 else ""
            ticks[kind] += count
            known[kind] += count if looked & bit else 0
            having[kind] += count if status & bit else 0
    return {kind: (having[kind] / max(known[kind], 1), ticks[kind] / ticks.total()) for kind in ticks}


def test_the_status_of_each_function(python: Path) -> None:
    """What a function does is told beside its stack: whether the thread holds the GIL, is on a CPU, collects."""
    profile, spent, _ = activities(python, "compute,sleep,hash,collect", 20, "wall")
    holds, on_cpu = share_by_kind(profile, Status.HOLDS), share_by_kind(profile, Status.ON_CPU)
    collects = share_by_kind(profile, Status.COLLECTS)
    assert holds["compute"][0] > 0.9 > 0.3 > max(holds["sleep"][0], holds["hash"][0])  # they let it go meanwhile
    assert min(on_cpu["compute"][0], on_cpu["hash"][0]) > 0.8  # it is asked for every 2 ms, an activity takes 20
    assert collects["collect"][0] > 0.9
    assert max(collects[kind][0] for kind in ("compute", "sleep", "hash")) < 0.1
    for kind, seconds in spent.items():
        assert abs(holds[kind][1] - seconds / sum(spent.values())) < 0.05 + missed_share(profile)


def test_no_frame_for_collections_if_not_wanted(python: Path) -> None:
    profile, _, _ = activities(python, "collect", 20, "wall", 0.3, gc=False)
    assert all(frame.function.name != "<GC>" for _, stack, _ in profile.stacks() for frame in stack)
    assert profile.threads[0].collecting > 0


def test_who_waits_for_the_gil(python: Path) -> None:
    """One of three has it and the others wait; but who is let go waits for a CPU next, on a busy machine for long."""
    with parked(python, 2, 3) as (target, _), profile_of(target.pid, interval_us=1000, all_threads=True) as session:
        threads: list[ThreadInfo] = []
        give_up = time.monotonic() + READY_TIMEOUT_SECONDS
        while len(threads) < 6 or min(thread.cpu_known for thread in threads) < KNOWN:
            assert time.monotonic() < give_up, threads
            session.sample(0.5)
            threads = list(session.profile().threads)
    shares = {thread.name: thread.gil_waiting / thread.cpu_known for thread in threads}
    works = [share for name, share in shares.items() if name.startswith("works")]
    waits = [share for name, share in shares.items() if not name.startswith("works")]
    assert max(waits) < 0.05 < 0.1 < min(works) < max(works) < 0.9, shares


@pytest.mark.parametrize("mode", ["cpu", "gil", "exception"])
def test_modes_with_all_threads(python: Path, mode: str) -> None:
    with parked(python, 6, 2) as (target, _), profile_of(target.pid, mode=mode, all_threads=True) as session:
        session.sample(0.5)
        profile = session.profile()
    names = {thread.name for thread, _, _ in profile.stacks()}
    assert names == (set() if mode == "exception" else {"works 0", "works 1"})
    assert profile.accuracy.left_out > 0
    if mode == "gil":
        # While one lets it go and the next one waits for a CPU, nobody has it.
        assert 0.2 <= profile.accuracy.samples / (profile.accuracy.ticks - profile.accuracy.missed) <= 1


# Garbage


def test_many_threads_that_make_no_sense_do_not_hold_up_a_tick() -> None:
    """Each has a data stack whose chunks go round in a circle; to find that out of all of them takes seconds."""
    count, size = 20_000, 1024
    found = attach(os.getpid())
    layout = found.runtime.layout
    memory = ctypes.create_string_buffer((count + 3) * size)
    base = ctypes.addressof(memory)
    interpreter, chunk = (base + (count + extra) * size for extra in range(2))

    def put(place: int, value: int) -> None:
        ctypes.c_uint64.from_address(place).value = value

    put(interpreter + layout.interp_thread_head, base)
    put(chunk + layout.chunk_previous, chunk)
    for number in range(count):
        thread = base + number * size
        put(thread + layout.thread_next, thread + size if number < count - 1 else 0)
        put(thread + layout.thread_prev, thread - size if number else 0)
        put(thread + layout.thread_interp, interpreter)
        put(thread + layout.thread_chunk, chunk)
    sampler = Sampler(
        os.getpid(), layout, 0, interval_ns=1_000_000, interpreters=[(interpreter, 0, interpreter + size - 8)]
    )
    sampler.run(time.monotonic_ns() + 10_000_000)
    counters = sampler.counters
    assert counters["hits"] == 1
    assert counters["failed"] == count

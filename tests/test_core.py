"""The core by itself: its clock, why it stops, what it does with memory that is gone, forbidden, reused or garbage."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from core_support import (
    MILLISECOND_NS,
    PROGRAMS,
    Attached,
    Stack,
    attach,
    collected,
    counts_of,
    due_times,
    go_on,
    line_of,
    names_of,
    run_for,
    run_until,
    stacks_of,
    ticks_with,
    times_of,
    wait_for_state,
)
from support import INTERPRETERS, READY_TIMEOUT_SECONDS, WAITING, Target, spawn_target

from tachyscope._core.batch import Status
from tachyscope._core.memory import Reader, floor_rate
from tachyscope._core.sampler import (
    INTERRUPTED,
    SLICE_OVER,
    TARGET_DENIED,
    TARGET_FAULTS,
    TARGET_GONE,
    Sampler,
)
from tachyscope.errors import CorruptTarget
from tachyscope.target import runtime
from tachyscope.target.layouts import ABSENT, layout_for

NEWEST = list(INTERPRETERS.values())[-1]
UNMAPPED = 8
PAGE = 4096
NOBODY = 65534
CHURN_SAMPLES = 15_000
FUZZ_EXAMPLES = [100, pytest.param(400, marks=pytest.mark.long)]

EXEC = """
import os, sys
print("ready", flush=True)
sys.stdin.readline()
os.execv("/bin/sleep", ["sleep", "60"])
"""

RECURSION = """
import os
def down(depth):
    if depth:
        down(depth - 1)
    else:
        bottom()
def bottom():
    print("ready", flush=True)
    os.read(0, 1)
down(50)
"""


@contextmanager
def waiting(python: Path = NEWEST, source: str = WAITING) -> Iterator[tuple[Target, Attached]]:
    """Yield a target that waits, and what is known of it."""
    with spawn_target(python, source) as target:
        wait_for_state(target.pid, "S")
        yield target, attach(target.pid)


# The clock


def bare(interval_ns: int) -> Sampler:
    return Sampler(0, None, 0, interval_ns=interval_ns, bare=True)


@pytest.mark.parametrize("interval_ns", [20_000, 100_000, MILLISECOND_NS, 3 * MILLISECOND_NS])
def test_every_interval_is_hit_or_missed(interval_ns: int) -> None:
    """However the time is cut into slices, and whatever happens between them."""
    sampler = bare(interval_ns)
    for seconds in (0.05, 0.001, 0.0, 0.02):
        assert run_for(sampler, seconds) == SLICE_OVER
        time.sleep(0.01)
    until_ns = time.monotonic_ns() + 20 * MILLISECOND_NS
    assert sampler.run(until_ns) == SLICE_OVER
    over_ns = time.monotonic_ns()
    counters = sampler.counters
    ticks = counters["hits"] + counters["missed"]
    # Ticks wander up to eight intervals around a regular grid.
    assert (until_ns - counters["start_ns"]) / interval_ns - 10 <= ticks
    assert ticks <= (over_ns - counters["start_ns"]) / interval_ns + 9
    assert counters["missed"] >= 0.04e9 / interval_ns - 20  # the pauses were missed, not made up


def test_a_slice_ends_when_it_should() -> None:
    sampler = bare(10 * 1000 * MILLISECOND_NS)  # no tick within any slice
    start = time.monotonic_ns()
    assert sampler.run(start + 20 * MILLISECOND_NS) == SLICE_OVER
    assert time.monotonic_ns() >= start + 20 * MILLISECOND_NS
    assert sampler.run(start) == SLICE_OVER  # over before it begins


def test_the_seed_decides_the_ticks() -> None:
    """By how much a tick comes late on a busy machine does not matter."""
    interval_ns, seconds = 10 * MILLISECOND_NS, 0.1

    def ticks(sampler: Sampler) -> list[float]:
        run_for(sampler, seconds)
        times = due_times(sampler.drain(), interval_ns, 8)
        return [(each - sampler.counters["start_ns"]) / interval_ns for each in times]

    def distance(one: list[float], other: list[float]) -> float:
        return statistics.median(abs(a - b) for a, b in zip(one, other, strict=False))

    with waiting() as (_, at), ThreadPoolExecutor() as side_by_side:
        samplers = [at.sampler(interval_ns=interval_ns, seed=seed) for seed in (7, 7, 8)]
        first, same, other = side_by_side.map(ticks, samplers)
    assert distance(first, same) < 0.15 < distance(first, other)


def test_ticks_are_anywhere_in_their_interval() -> None:
    """Kolmogorov-Smirnov: at this bound one honest clock in 100,000 would fail."""
    interval_ns = 100_000
    with waiting() as (_, at):
        sampler = at.sampler(interval_ns=interval_ns)
        assert run_for(sampler, 1.5) == SLICE_OVER
    counters = sampler.counters
    ticks = counters["hits"] + counters["missed"]
    times = due_times(sampler.drain(), interval_ns, ticks)
    assert ticks > 300
    assert times == sorted(times)
    assert times[-1] <= counters["last_ns"]
    phases = sorted((each - counters["start_ns"]) % interval_ns / interval_ns for each in times)
    distance = max(abs(phase - (rank + 0.5) / len(phases)) for rank, phase in enumerate(phases))
    assert distance < 2.5 / len(phases) ** 0.5


def test_ticks_are_when_the_stream_says() -> None:
    """A program tells when it went from one function to the other: that is between two ticks."""
    interval_ns = MILLISECOND_NS
    with spawn_target(NEWEST, PROGRAMS / "clocked.py") as target:
        sampler = attach(target.pid).sampler(interval_ns=interval_ns)
        go_on(target)
        run_for(sampler, 1.6)
        told = json.loads(line_of(target))
    batch = sampler.drain(whole=True)
    times = times_of(batch, interval_ns, sampler.counters["hits"] + sampler.counters["missed"])
    names, codes = [code[0] for code in batch.codes], array("I", batch.nodes.code)
    began: dict[str, list[int]] = {"even": [], "odd": [], "<module>": []}
    for node, tick in zip(array("I", batch.spans.node), array("Q", batch.spans.tick), strict=True):
        began[names[codes[node]]].append(times[tick])
    late = []
    for number, begin in enumerate(told):
        nearest = min(began["odd" if number % 2 else "even"], key=lambda each: abs(each - begin))
        late.append((nearest - begin) / interval_ns)
    assert min(late) > -0.25, late
    assert statistics.median(late) < 1.75, late  # the gap between two ticks is up to one and a half intervals


def test_spans_add_up() -> None:
    """Those of a track follow each other; what lasts and what was drained before is the same as all at once."""
    with spawn_target(NEWEST, PROGRAMS / "mixed.py") as target:
        sampler = attach(target.pid).sampler(interval_ns=100_000)
        batches = []
        for whole in (False, True, False, False, True):
            run_for(sampler, 0.06)
            batches.append(sampler.drain(whole))
    end = weight = 0
    for batch in batches:
        spans = batch.spans
        for first, ticks, each in zip(*(array("Q", c) for c in (spans.tick, spans.ticks, spans.weight)), strict=True):
            assert first >= end
            assert 0 < each <= ticks
            end, weight = first + ticks, weight + each
    counters = sampler.counters
    assert weight == counters["hits"] == counters["samples"] + counters["failed"]
    assert end == counters["hits"] + counters["missed"]


def test_a_pause_is_not_missed() -> None:
    with waiting() as (_, at):
        sampler = at.sampler(interval_ns=MILLISECOND_NS)
        for _ in range(3):
            run_for(sampler, 0.05)
            sampler.pause()
            time.sleep(0.1)
    counters = sampler.counters
    assert 0.12e9 <= counters["sampled_ns"] <= 0.2e9
    assert 100 <= counters["hits"] + counters["missed"] <= 200
    assert len(sampler.drain().anchors) == 3


# Why a run ends


def test_a_signal_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    previous = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # again and again: the first may come before the run begins
        assert run_for(bare(10 * MILLISECOND_NS), READY_TIMEOUT_SECONDS) == INTERRUPTED
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_killed_target_is_gone(python: Path) -> None:
    with waiting(python) as (target, at):
        sampler = at.sampler(interval_ns=MILLISECOND_NS)
        assert run_for(sampler, 0.02) == SLICE_OVER
        samples = sampler.counters["samples"]
        target.process.kill()
        os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
        assert run_for(sampler, 5) == TARGET_GONE
        assert sampler.counters["samples"] == samples
        assert sampler.counters["failed"] == 0


def test_a_target_that_became_another_program_faults(python: Path) -> None:
    with waiting(python, EXEC) as (target, at):
        sampler = at.sampler(interval_ns=MILLISECOND_NS)
        assert run_for(sampler, 0.02) == SLICE_OVER
        assert target.process.stdin is not None
        target.process.stdin.write(b"\n")
        while Path(f"/proc/{target.pid}/exe").readlink() != Path("/bin/sleep").resolve():  # it goes with the memory
            time.sleep(0)
        assert run_for(sampler, 5) == TARGET_FAULTS
        failed = sampler.counters["failed"]
        assert failed > 0
        sampler.forgive_faults()
        assert sampler.counters["failed"] < failed


# Other users' processes

AS_NOBODY = """
import os, sys, time
from tachyscope._core import reference
from tachyscope._core.memory import Reader
from tachyscope._core.sampler import Sampler
from tachyscope.target import runtime
from tachyscope.target.layouts import layout_for
pid, address = int(sys.argv[1]), int(sys.argv[2])
read = Reader(pid)
sampler = Sampler(pid, layout_for((3, 8)), address, interval_ns=1)
read(address, 8)
os.setgid({nobody})
os.setuid({nobody})
try:
    read(address, 8)
except OSError as error:
    print(error.errno, read.by_file)
print(sampler.run(time.monotonic_ns() + 10**9))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_process_is_denied() -> None:
    with waiting() as (target, at):
        command = [sys.executable, "-c", AS_NOBODY.format(nobody=NOBODY), str(target.pid), str(at.thread)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=READY_TIMEOUT_SECONDS)
    assert (run.stdout, run.stderr) == (f"{errno.EPERM} False\n{TARGET_DENIED}\n", "")


# Memory


def test_reader_errors_have_the_kernels_number() -> None:
    with waiting() as (target, at):
        assert at.read(at.thread, 0) == b""
        assert len(at.read(at.thread, 16)) == 16
        with pytest.raises(OSError) as fault:
            at.read(UNMAPPED, 8)
        assert fault.value.errno == errno.EFAULT
        pid = target.pid
    for reader in (at.read, Reader(pid)):  # known before, or never seen
        with pytest.raises(ProcessLookupError):
            reader(at.thread, 8)


def test_reader_wants_all_or_nothing() -> None:
    with waiting() as (target, at):
        lines = Path(f"/proc/{target.pid}/maps").read_text().splitlines()
        bounds = [tuple(int(part, 16) for part in line.split()[0].split("-")) for line in lines]
        starts = {start for start, _ in bounds}
        end = next(end for line, (_, end) in zip(lines, bounds, strict=True) if "rw" in line and end not in starts)
        assert len(at.read(end - 16, 16)) == 16
        with pytest.raises(OSError) as fault:
            at.read(end - 16, 32)
        assert fault.value.errno == errno.EFAULT


def test_by_file_is_the_same(python: Path) -> None:
    with waiting(python, RECURSION) as (target, at):
        by_file = Reader(target.pid)
        by_file.use_file()
        assert by_file.by_file and by_file.fd >= 0
        for size in (1, 8, 200):
            assert by_file(at.thread, size) == at.read(at.thread, size)
        with pytest.raises(OSError):
            by_file(UNMAPPED, 8)
        assert seen(at.sampler(memory_fd=by_file.fd)) == seen(at.sampler()) == at.reference_stack()
        by_file.close()
        assert by_file.fd == -1
        by_file.close()


def seen(sampler: Sampler) -> Stack:
    run_until(sampler, lambda: sampler.counters["samples"] >= 3)
    (stack,) = stacks_of(sampler)
    return stack


def test_floor_rate_and_ranges() -> None:
    with waiting() as (target, at):
        sampler = at.sampler()
        seen(sampler)
        assert sampler.ranges()
        assert floor_rate(target.pid, sampler.ranges(), 0.02) > 0
        with pytest.raises(OSError):
            floor_rate(target.pid, [(UNMAPPED, 8)], 0.01)


# Stacks


def test_no_stack_of_a_running_program_is_longer_than_asked(python: Path) -> None:
    """Those whose outer frames were over before they were read are put together from two: that may be too long."""
    with spawn_target(python, PROGRAMS / "mixed.py") as target:
        sampler = attach(target.pid).sampler(max_depth=5)
        run_for(sampler, 0.3)
        assert max(len(stack) for stack in stacks_of(sampler)) == 5


@pytest.mark.parametrize("max_depth", [1, 5, 53])
def test_truncated_stacks_keep_the_innermost_frames(python: Path, max_depth: int) -> None:
    with waiting(python, RECURSION) as (_, at):
        whole = at.reference_stack()
        sampler = at.sampler(max_depth=max_depth)
        assert seen(sampler) == whole[:max_depth] == at.reference_stack(max_depth)
        truncated = ticks_with(sampler, Status.TRUNCATED)
        assert truncated == (sampler.counters["samples"] if max_depth < len(whole) else 0)


@pytest.mark.parametrize("stacks", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_many_stacks(stacks: int) -> None:
    """The tree, its hash table and the code table grow many times; nothing in it is impossible."""
    with spawn_target(NEWEST, PROGRAMS / "branching.py", "8") as target:
        sampler = attach(target.pid).sampler(interval_ns=20_000)
        run_until(sampler, lambda: len(collected(sampler).node_rows()) > stacks, 0.2)
    nodes, codes = collected(sampler).node_rows(), collected(sampler).codes
    assert all(parent < node for node, (parent, _, _, _) in enumerate(nodes) if node)
    assert len(set(nodes)) == len(nodes)
    assert sum(counts_of(sampler)) == sampler.counters["samples"]
    assert len({(name, filename, line) for name, _, filename, line, _ in codes}) == len(codes) < 40
    for names in names_of(sampler):
        below = [name for name in names if name == "descend" or name.startswith("way_")]
        assert below[0::2] == ["descend"] * len(below[0::2])
        assert all(name.startswith("way_") for name in below[1::2])
        assert len(below) <= 17


@pytest.mark.parametrize(("rounds", "least"), [(1, 0), (30, 20)])
def test_reused_addresses_get_their_own_names(python: Path, rounds: int, least: int) -> None:
    """Thousands of functions come and go at the same few addresses; see the target for what fits what."""
    with spawn_target(python, PROGRAMS / "churn.py", str(rounds)) as target:
        sampler = attach(target.pid).sampler(interval_ns=50_000)
        run_until(sampler, lambda: sampler.counters["hits"] > CHURN_SAMPLES, 0.1)
    numbers_seen = set()
    for stack in stacks_of(sampler):
        numbers = {frame.filename for frame in stack if frame.filename.isdigit()}
        numbers |= {frame.name.partition("_")[2] for frame in stack if frame.name[:2] in ("f_", "g_")}
        assert len(numbers) <= 1, stack
        numbers_seen |= numbers
        for frame in stack:
            if frame.name.startswith("f_"):
                assert frame.first_line == 10 * (int(frame.filename) % 1000) + 1
    assert len(numbers_seen) >= least  # a function that lives for 10 microseconds is hardly ever caught
    assert sampler.counters["reused"] > 0 or not least  # nor is its address when it is used again
    assert sampler.counters["failed"] <= sampler.counters["hits"] / 200 + 1


def test_retarget_takes_another_thread() -> None:
    source = (
        "import threading, os\n"
        "def block(): os.read(0, 1)\n"
        "threading.Thread(target=block, daemon=True).start()\n"
        "print('ready', flush=True)\n"
        "threading.Event().wait()\n"
    )
    with waiting(NEWEST, source) as (_, at):
        threads = runtime.threads(at.runtime, at.read, runtime.main_interpreter(at.runtime, at.read))
        (other,) = [each.address for each in threads if each.address != at.thread]
        sampler = at.sampler()
        seen(sampler)
        assert sampler.thread == at.thread
        sampler.retarget(other)
        assert sampler.thread == other
        samples = sampler.counters["samples"]
        run_until(sampler, lambda: sampler.counters["samples"] > samples)
        at.thread = other
        assert set(stacks_of(sampler)) > {at.reference_stack()}


# Garbage


def test_an_impossible_layout_is_refused() -> None:
    layout = layout_for((3, 11))
    for name in ("frame_code", "unicode_ascii_data", "code_size", "bytes_data", "frame_instr_kind"):
        with pytest.raises(CorruptTarget, match=name):
            Sampler(1, dataclasses.replace(layout, **{name: 1 << 20}), 0, interval_ns=1)


@pytest.mark.parametrize(("version", "name"), [((3, 8), "thread_frame"), ((3, 12), "thread_chunk")])
def test_a_layout_says_where_the_frames_are(version: tuple[int, int], name: str) -> None:
    with pytest.raises(CorruptTarget, match=name):
        Sampler(1, dataclasses.replace(layout_for(version), **{name: ABSENT}), 0, interval_ns=1)


def test_the_words_of_a_gil_are_in_order() -> None:
    layout = dataclasses.replace(layout_for((3, 12)), gil_holder=32)
    with pytest.raises(CorruptTarget, match="gil_holder"):
        Sampler(1, layout, 0, interval_ns=1)


GARBAGE = [2**64 - 1, 2**64 - 8, 2**64 - 4096, 2**63, 2**47, 1, 7, 4095, 4096]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("word", ["chunk", "size", "code", "previous", "instr"])
def test_garbage_words_are_no_frames(word: str, garbage: int) -> None:
    """A made-up thread in our own memory, one word of whose innermost chunk or frame makes no sense."""
    layout = layout_for((3, 12))
    memory = ctypes.create_string_buffer(PAGE * 6)
    base = ctypes.addressof(memory) + PAGE & -PAGE
    chunk, code = base + PAGE, base + 3 * PAGE
    frame = chunk + layout.chunk_data + 8
    words = {base + layout.thread_chunk: chunk, chunk + layout.chunk_size: PAGE, frame + layout.frame_code: code}
    words |= {frame + layout.frame_instr: code + layout.code_instructions}
    places = {"chunk": base + layout.thread_chunk, "size": chunk + layout.chunk_size}
    places |= {name: frame + getattr(layout, f"frame_{name}") for name in ("code", "previous", "instr")}
    words[places[word]] = garbage
    for address, value in words.items():
        ctypes.memmove(address, value.to_bytes(8, "little"), 8)
    sampler = Sampler(os.getpid(), layout, base, interval_ns=1)
    while not sampler.counters["hits"]:
        run_for(sampler, 0.005)
    counters = sampler.counters
    assert counters["samples"] == sum(counts_of(sampler)[:1])
    assert counters["failed"] > 0 or word in ("code", "previous", "instr")


def test_known_layouts_are_possible(python: Path) -> None:
    with waiting(python) as (_, at):
        at.sampler()


@pytest.mark.parametrize("examples", FUZZ_EXAMPLES)
def test_garbage_neither_crashes_nor_hangs(python: Path, examples: int) -> None:
    script = Path(__file__).parent / "fuzz_core.py"
    command = [sys.executable, str(script), str(python), str(examples)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=2 * READY_TIMEOUT_SECONDS)
    assert (run.returncode, run.stdout) == (0, "survived\n"), run.stderr

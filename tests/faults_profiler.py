"""Run by test_faults.py in a process of its own: sample targets whose memory goes away, at the highest rate.

Arguments: what happens to them (a function below), for how many seconds, their interpreter, and more words for that
function. Ends with status 0 and a JSON object of counts.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from core_support import PROGRAMS, Attached, attach, counts_of, go_on, run_for
from support import READY_TIMEOUT_SECONDS, Target, spawn, spawn_target

from tachyscope._core.sampler import SLICE_OVER, TARGET_FAULTS
from tachyscope.errors import TachyscopeError
from tachyscope.sampling.options import Sampling
from tachyscope.sampling.process import ProcessSampler
from tachyscope.target import runtime

INTERVAL_NS = 1
LONGEST_LIFE_S = 0.15
SLICE_S = 0.01
VANISHING_S = 0.6

chance = random.Random(1)
counts: Counter[str] = Counter()


def kill_later(target: Target, begin: threading.Event) -> threading.Thread:
    """Kill it at a random moment after `begin`; return the thread that does."""

    def kill() -> None:
        begin.wait(READY_TIMEOUT_SECONDS)
        time.sleep(chance.random() * LONGEST_LIFE_S)
        target.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    return killer


@contextmanager
def recording(target: Target) -> Iterator[ProcessSampler]:
    """Yield a recorder, and account for what it took."""
    sampling = Sampling(INTERVAL_NS, all_threads=chance.random() < 0.5)
    recorder = ProcessSampler(target.pid, sampling)
    try:
        yield recorder
        profile = recorder.profile()
        accuracy = profile.accuracy
    finally:
        recorder.close()
    if not sampling.all_threads:
        assert accuracy.ticks == accuracy.samples + accuracy.failed + accuracy.missed, accuracy
    assert sum(samples for _, _, samples in profile.stacks()) == accuracy.samples, accuracy
    counts.update(targets=1, samples=accuracy.samples, failed=accuracy.failed, programs=len(recorder._attachments))


def sample_to_the_end(recorder: ProcessSampler, begin: Callable[[], None] = lambda: None) -> None:
    """Sample until the target has ended; what is to happen to it begins after the first samples."""

    def stop() -> bool:
        if recorder.samples:
            begin()
        return False

    recorder.sample(READY_TIMEOUT_SECONDS, stop)
    assert recorder.gone


def killed(python: str) -> None:
    """While it is sampled."""
    begin = threading.Event()
    with spawn_target(python, PROGRAMS / "mixed.py") as target, recording(target) as recorder:
        recorder.attach()
        killer = kill_later(target, begin)
        sample_to_the_end(recorder, begin.set)
        killer.join()


def killed_early(python: str) -> None:
    """While it starts, is found, or has just been found."""
    begin = threading.Event()
    with spawn([python, str(PROGRAMS / "mixed.py")]) as target, recording(target) as recorder:
        begin.set()
        killer = kill_later(target, begin)
        if recorder.wait_for_python():
            sample_to_the_end(recorder)
        killer.join()
        assert recorder.gone


def killing(python: str) -> None:
    """Targets are killed."""
    killed(python)
    killed_early(python)


def becoming(python: str, *others: str) -> None:
    """Targets execute the same interpreter again, and others, and at last something else."""
    programs = [python, chance.choice(others), chance.choice(others), python, python]
    with spawn([python, str(PROGRAMS / "again.py"), *programs]) as target, recording(target) as recorder:
        assert recorder.wait_for_python() and target.process.stdin is not None
        sample_to_the_end(recorder, target.process.stdin.close)


def vanishing(python: str, *libraries: str) -> None:
    """The memory of a target vanishes while it runs on."""
    with spawn_target(python, PROGRAMS / "vanishing.py", *libraries) as target:
        with recording(target) as recorder:
            recorder.attach()
            here = attach(target.pid)
            go_on(target)
            recorder.sample(VANISHING_S)
            assert not recorder.gone
        sample_any_thread(here, VANISHING_S)
        assert target.process.poll() is None


def sample_any_thread(here: Attached, seconds: float) -> None:
    """Sample the threads that are there, and those that were."""
    sampler = here.sampler(interval_ns=INTERVAL_NS)
    addresses = [here.thread]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(TachyscopeError):
            threads = runtime.threads(here.runtime, here.read, runtime.main_interpreter(here.runtime, here.read))
            addresses = [*addresses[-8:], *(thread.address for thread in threads)]
        sampler.retarget(chance.choice(addresses))
        assert run_for(sampler, SLICE_S) in (SLICE_OVER, TARGET_FAULTS)
    counters = sampler.counters
    assert counters["hits"] == counters["samples"] + counters["failed"]
    assert sum(counts_of(sampler)) == counters["samples"]
    counts.update(any_thread_samples=counters["samples"], faults=counters["faults"])


def main(name: str, seconds: float, python: str, *more: str) -> None:
    """Let it happen for that long, and on a busy machine for longer: until it has been met."""
    happening = {"killing": killing, "becoming": becoming, "vanishing": vanishing}[name]
    to_meet = {"killing": ("samples",), "becoming": ("samples",), "vanishing": ("samples", "failed", "faults")}[name]
    end = time.monotonic() + seconds
    while time.monotonic() < end or not all(counts[each] for each in to_meet):
        happening(python, *more)
    print(json.dumps(counts))


main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])

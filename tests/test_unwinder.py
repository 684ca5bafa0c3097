"""Three witnesses of one stack: the program itself, the compiled core, and the readable twin of the core."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from core_support import (
    PROGRAMS,
    Attached,
    Stack,
    Told,
    attach,
    go_on,
    line_of,
    next_point,
    resume,
    run_for,
    run_until,
    stacks_of,
    stop,
)
from support import Target, spawn, spawn_target

from tachyscope._core import reference
from tachyscope._core.sampler import SLICE_OVER, Sampler
from tachyscope.errors import CorruptTarget

TRUTHS = ["calls", "generators", "coroutines", "reentry", "classes", "names", "long_code"]
SAMPLES_PER_POINT = 5
STOPS = [50, pytest.param(200, marks=pytest.mark.long)]
WARM_UP_SAMPLES = 2000

IDLE_THREAD_STATE = """
import ctypes, os
api = ctypes.PyDLL(None)
interpreter = getattr(api, "PyInterpreterState_Get", None) or api._PyInterpreterState_Get
interpreter.restype = api.PyThreadState_New.restype = ctypes.c_void_p
api.PyThreadState_New.argtypes = [ctypes.c_void_p]
print(api.PyThreadState_New(interpreter()), flush=True)
os.read(0, 1)
"""
"""Makes a thread state like that of C code that has not called any Python, and prints its address."""


@contextmanager
def program(python: Path, *command: str) -> Iterator[Target]:
    """Start a program of tests/programs; it is at none of its points yet."""
    with spawn([str(python), *command]) as target:
        yield target


def points(target: Target) -> Iterator[tuple[Told, Attached]]:
    """Yield every point of a program while it waits there."""
    while (told := next_point(target)) is not None:
        yield told, attach(target.pid, told.ident)
        go_on(target)


def core_stack(at: Attached, samples: int = SAMPLES_PER_POINT) -> Stack:
    """Return the one stack that the core sees of a thread that stands still."""
    sampler = at.sampler()
    run_until(sampler, lambda: sampler.counters["samples"] >= samples)
    stacks = stacks_of(sampler)
    assert len(stacks) == 1
    return next(iter(stacks))


def compare(told: Told, at: Attached) -> None:
    core = core_stack(at)
    assert core == at.reference_stack()
    seen = [
        (frame.filename, frame.name, line, frame.qualname) for frame, line in zip(core, at.lines(core), strict=True)
    ]
    assert seen == [(kept(file), kept(name), line, kept(full)) for file, name, line, full in told.stack]


def kept(text: str) -> str:
    """A text as the core keeps it: the first bytes only."""
    widest = max(text, default="")
    width = 1 if widest < "\u0100" else 2 if widest < "\U00010000" else 4
    return text[: reference.MAX_TEXT_BYTES // width]


# Targets that wait


@pytest.mark.parametrize("name", TRUTHS)
def test_three_witnesses_agree(python: Path, name: str) -> None:
    with program(python, str(PROGRAMS / f"{name}.py")) as target:
        compared = 0
        for told, at in points(target):
            compare(told, at)
            compared += 1
        assert compared >= 10


@pytest.mark.parametrize(("depth", "compared"), [(900, 100), (5000, 1)])
def test_deep_recursion(python: Path, depth: int, compared: int) -> None:
    """Only the first `compared` points are looked at, as thousands of frames take their time."""
    with program(python, str(PROGRAMS / "deep.py"), str(depth)) as target:
        for number, (told, at) in enumerate(points(target)):
            if number < compared:
                assert number or len(told.stack) > depth
                compare(told, at)


def test_optimized_program_in_an_oddly_named_file(python: Path, tmp_path: Path) -> None:
    odd = tmp_path / "каталог \U0001f40d é"
    odd.mkdir()
    shutil.copy(PROGRAMS / "_point.py", odd)
    shutil.copy(PROGRAMS / "classes.py", odd / "скрипт.py")
    with program(python, "-OO", str(odd / "скрипт.py")) as target:
        for told, at in points(target):
            compare(told, at)


def test_one_sampler_follows_a_program(python: Path) -> None:
    """What was learned at one point must not be believed at the next one, but for samples that say so themselves."""
    sampler = None
    with program(python, str(PROGRAMS / "reentry.py")) as target:
        for _, at in points(target):
            sampler = sampler or at.sampler()
            stacks, counters = stacks_of(sampler), sampler.counters
            wanted = counters["samples"] + SAMPLES_PER_POINT
            run_until(sampler, lambda: sampler.counters["samples"] >= wanted)  # noqa: B023
            grown = stacks_of(sampler) - stacks
            assert grown.pop(at.reference_stack(), 0) > 0
            assert not grown


def test_a_thread_that_runs_no_python_has_an_empty_stack(python: Path) -> None:
    with spawn([str(python), "-c", IDLE_THREAD_STATE]) as target:
        idle = int(line_of(target))
        at = attach(target.pid)
        at.thread = idle
        assert core_stack(at) == at.reference_stack() == ()


def test_c_code_between_two_functions(python: Path) -> None:
    """Where C code called a function, and was called by one, there is a frame for it; without it the stack is the
    same."""
    between = 0
    with program(python, str(PROGRAMS / "reentry.py")) as target:
        for _, at in points(target):
            sampler = at.sampler(native=True)
            run_until(sampler, lambda: sampler.counters["samples"] >= SAMPLES_PER_POINT)  # noqa: B023
            (stack,) = stacks_of(sampler)
            assert tuple(frame for frame in stack if frame.name != "<native>") == at.reference_stack()
            assert stack[-1].name != "<native>" != stack[0].name
            between += sum(frame.name == "<native>" for frame in stack)
    assert (between > 0) == (at.runtime.version >= (3, 11))


# Targets that are stopped anywhere


def seen_now(sampler: Sampler, attempts: int) -> Stack | None:
    """Return the one stack that a sampler sees of a stopped thread, None if all samples fail."""
    before, samples = stacks_of(sampler), sampler.counters["samples"]
    for _ in range(attempts):
        assert run_for(sampler, 0.001) == SLICE_OVER
        if sampler.counters["samples"] > samples:
            break
    stacks = list(stacks_of(sampler) - before)
    assert len(stacks) <= 1
    return stacks[0] if stacks else None


def twin_now(at: Attached) -> tuple[Stack | None, bool]:
    """Return what the twin sees, None for a frame on its way in or out, and whether a frame says that it runs."""
    try:
        stack = at.reference_stack()
        unwound = reference.unwind(at.read, at.runtime.layout, at.thread)
    except (CorruptTarget, OSError):
        return None, False
    return stack, unwound.running


@pytest.mark.parametrize("stops", STOPS)
def test_stopped_at_random_moments(python: Path, stops: int) -> None:
    """Core and twin agree where a frame says that it runs. Where a frame is on its way in or out the core goes by the
    marks, the twin by the thread's current frame; they may differ there, which are few moments."""
    chance = random.Random(1)
    differ = differ_while_running = 0
    with spawn_target(python, PROGRAMS / "mixed.py") as target:
        at = attach(target.pid)
        experienced = at.sampler(interval_ns=100_000)
        run_until(experienced, lambda: experienced.counters["samples"] >= WARM_UP_SAMPLES, 0.1)
        for _ in range(stops):
            time.sleep(chance.random() * 0.002)
            stop(target.pid)
            twin, running = twin_now(at)
            fresh, other = seen_now(at.sampler(), 20), seen_now(experienced, 4)
            assert fresh is not None
            differ += fresh != twin or other != twin
            differ_while_running += running and (fresh != twin or other != twin)
            resume(target.pid)
    assert differ <= stops * 0.1
    assert differ_while_running <= stops * 0.02  # a generator that was left a moment ago

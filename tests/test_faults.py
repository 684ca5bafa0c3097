"""Targets that are killed, become other programs, or lose memory while they are sampled: no crash, no hang, no lie.

The profiler runs in a process of its own, so that its death is seen as an exit status.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from core_support import PROGRAMS
from support import INTERPRETERS, READY_TIMEOUT_SECONDS, WAITING, spawn, spawn_target

from tachyscope.errors import UnsupportedPython
from tachyscope.sampling import attachment
from tachyscope.sampling import process as sampling_process
from tachyscope.sampling.options import Sampling
from tachyscope.sampling.process import ProcessSampler
from tachyscope.target import runtime
from tachyscope.target.runtime import Reader, Runtime

pytestmark = pytest.mark.long

SECONDS = 60.0
"""Of faults, in all tests here together."""

SHARE_SECONDS = SECONDS / 3 / max(len(INTERPRETERS), 1)
AT_ONE_ADDRESS = ("3.11-system", "3.14", "3.15")
"""Interpreters whose data lie where they were linked to be, each over the others'."""

BECOMING = """
import os, sys, time
def first():
    work(0.2)
def second():
    work(0.4)
def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(300))
if len(sys.argv) > 1:
    first()
    os.execv(sys.argv[1], [sys.argv[1], "-c", sys.argv[2]])
second()
"""


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The library that makes memory vanish, and a copy."""
    library = tmp_path_factory.mktemp("faults") / "vanishing.so"
    copy = library.with_name("copy.so")
    subprocess.run(["cc", "-shared", "-fPIC", str(PROGRAMS / "vanishing.c"), "-o", str(library)], check=True)
    shutil.copy(library, copy)
    return str(library), str(copy)


def profile(what: str, python: Path, *more: str) -> dict[str, int]:
    """Run the profiler; return its counts. Whatever happens, nothing of it is left."""
    script = Path(__file__).parent / "faults_profiler.py"
    command = [sys.executable, str(script), what, str(SHARE_SECONDS), str(python), *more]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=SHARE_SECONDS + READY_TIMEOUT_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors
    counts: dict[str, int] = json.loads(output)
    return counts


def test_targets_that_are_killed(python: Path) -> None:
    counts = profile("killing", python)
    assert counts["targets"] >= 2 and counts["samples"] > 0


def test_targets_that_become_others(python: Path) -> None:
    counts = profile("becoming", python, *map(str, INTERPRETERS.values()))
    assert counts["programs"] >= 3 * counts["targets"] and counts["samples"] > 0


def test_memory_that_vanishes(python: Path, libraries: tuple[str, str]) -> None:
    counts = profile("vanishing", python, *libraries)
    assert counts["samples"] > 0 and counts["any_thread_samples"] > 0
    assert counts["failed"] > 0 and counts["faults"] > 0


# What the above found


@pytest.mark.parametrize("after", AT_ONE_ADDRESS)
@pytest.mark.parametrize("before", AT_ONE_ADDRESS)
def test_another_program_where_the_last_one_was(before: str, after: str) -> None:
    """Nothing faults then, but it is another program: it was sampled as if it were the last one."""
    if missing := {before, after} - INTERPRETERS.keys():
        pytest.skip(f"no CPython {', '.join(sorted(missing))} on this machine")
    with spawn([str(INTERPRETERS[before]), "-c", BECOMING, str(INTERPRETERS[after]), BECOMING]) as target:
        sampled = ProcessSampler(target.pid, Sampling(2_000_000))  # seldom meets the moment when nothing is mapped
        assert sampled.wait_for_python()
        sampled.sample()
    names = {frame.function.name for _, stack, _ in sampled.profile().stacks() for frame in stack}
    assert {"first", "second"} <= names
    assert len(sampled._attachments) >= 2  # on a busy machine the moment between the two is met, too


def test_what_cannot_be_sampled_is_not_looked_for_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def find(pid: int, read: Reader) -> Runtime:
        nonlocal looks
        looks += 1
        raise UnsupportedPython("too old")

    with spawn_target(sys.executable, WAITING) as target:
        sampled = ProcessSampler(target.pid, Sampling(100_000))
        sampled.attach()
        monkeypatch.setattr(runtime, "find_runtime", find)
        monkeypatch.setattr(runtime, "has_changed", lambda *_: True)
        begin = time.monotonic()
        sampled.sample(0.5)
        took = time.monotonic() - begin
    assert 0 < looks <= took / sampling_process._LAST_POLL_S + 1


def test_an_interpreter_without_threads_does_not_keep_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()

    def none(found: Runtime, read: Reader) -> int:
        next(looks)
        return 0

    with spawn_target(sys.executable, WAITING) as target:
        sampled = ProcessSampler(target.pid, Sampling(100_000))
        sampled.attach()
        sampled.sample(0.05)
        monkeypatch.setattr(runtime, "main_thread", none)
        sampled.sample(0.2 + 2 * attachment.LOOK_NS / 1e9)
    assert next(looks) > 1

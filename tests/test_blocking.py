"""`--blocking`: the thread that runs Python is stopped while it is read, and nothing else ever is."""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from core_support import BENCH_PROGRAMS, PROGRAMS, line_of, wait_until_reading
from support import INTERPRETERS, READY_TIMEOUT_SECONDS, spawn_target, tachyscope

from tachyscope import PermissionDenied
from tachyscope import attach as profile_of
from tachyscope.profile.model import Accuracy

KILLS = [(0, 20), *(pytest.param(seed, 100, marks=pytest.mark.long) for seed in range(1, 6))]
ENDINGS_OF_EACH = [1, pytest.param(2, marks=pytest.mark.long)]
SIGNALS = 200
PAUSES = 20
LONGEST_LIFE_S = 0.003
PTRACE_SEIZE = 0x4206

PROFILERS = """
import os, signal, sys
from tachyscope import attach
from tachyscope.profile import builder
for pid in sys.stdin:
    if os.fork() == 0:
        with attach(int(pid), interval_us=50, all_threads=True, blocking=True) as session:
            session.sample(0.002)
            print(os.getpid(), flush=True)
            session.sample()
    os.wait()
    print("over", flush=True)
"""
"""For each process id that it is told, a profiler that tells its own once it has taken its first samples. What comes
next is told when that one has ended."""

on_the_newest = pytest.mark.parametrize("python", [*INTERPRETERS.values()][-1:], ids=[*INTERPRETERS][-1:])


@dataclass(frozen=True)
class Profilers:
    """Profilers in processes of their own, one after the other, which start quickly."""

    process: subprocess.Popen[str]

    @contextmanager
    def sampling(self, pid: int, ending: signal.Signals) -> Iterator[int]:
        """Yield the process id of a profiler that samples; it is ended by a signal."""
        profiler = int(self._answer(f"{pid}\n"))
        try:
            yield profiler
        finally:
            os.kill(profiler, ending)
            assert self._answer() == "over\n"

    def _answer(self, question: str = "") -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(question)
        self.process.stdin.flush()
        return self.process.stdout.readline()


def tracer_of(task: Path) -> str:
    return (task / "status").read_text().split("TracerPid:")[1].split()[0]


def states(pid: int) -> set[tuple[str, str]]:
    """What the kernel says of all threads: their state, and who traces them."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except OSError:  # it has ended
            continue
        found.add((text.split("State:")[1].split()[0], text.split("TracerPid:")[1].split()[0]))
    return found


def cpu_ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]))


def assert_runs(pid: int) -> None:
    assert not {state for state, _ in states(pid)} & {"t", "T"}
    assert {tracer for _, tracer in states(pid)} == {"0"}


def assert_goes_on(pid: int) -> None:
    before, give_up = cpu_ticks(pid), time.monotonic() + READY_TIMEOUT_SECONDS
    while cpu_ticks(pid) <= before:
        assert time.monotonic() < give_up, "the target does not run any more"
        time.sleep(0)


@contextmanager
def profilers() -> Iterator[Profilers]:
    command = [sys.executable, "-c", PROFILERS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Profilers(process)


@pytest.mark.parametrize(("seed", "kills"), KILLS)
@on_the_newest
def test_a_killed_profiler_leaves_nothing_stopped(python: Path, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    with profilers() as started, spawn_target(python, PROGRAMS / "signalled.py", "2") as target:
        for _ in range(kills):
            with started.sampling(target.pid, signal.SIGKILL):
                time.sleep(chance.random() * LONGEST_LIFE_S)  # so that it dies anywhere
            assert_runs(target.pid)
        assert_goes_on(target.pid)


def test_signals_and_new_threads_are_unharmed(python: Path) -> None:
    with profilers() as started, spawn_target(python, PROGRAMS / "signalled.py", "1") as target:
        with started.sampling(target.pid, signal.SIGINT):
            for _ in range(SIGNALS):
                os.kill(target.pid, signal.SIGUSR1)
                assert line_of(target) == b"answer\n"
        assert_runs(target.pid)
        assert_goes_on(target.pid)


def blocking(pid: int, seconds: float, pauses: int = 0, **options: Any) -> Accuracy:
    """Sample for so long, and until the target was stopped so often."""
    with profile_of(pid, blocking=True, **options) as session:
        give_up = time.monotonic() + READY_TIMEOUT_SECONDS
        session.sample(seconds)
        while (accuracy := session.profile().accuracy).pauses.count < pauses and time.monotonic() < give_up:
            session.sample(seconds)
    assert accuracy.pauses.count >= pauses
    assert accuracy.pauses.p50_us <= accuracy.pauses.p99_us
    assert accuracy.failed <= accuracy.samples / 500
    return accuracy


def test_who_runs_python_is_stopped(python: Path) -> None:
    """How often is up to the machine: who waits for a CPU does not stop in time, and is read as it is."""
    with spawn_target(python, PROGRAMS / "signalled.py", "2") as target:
        found = blocking(target.pid, 0.2, PAUSES, interval_us=1000, all_threads=True)
        assert_runs(target.pid)
    assert found.pauses.count <= found.ticks - found.missed


def test_who_waits_is_not_stopped(python: Path) -> None:
    with spawn_target(python, PROGRAMS / "parked.py", "3", "0") as target:
        wait_until_reading(target.pid, target.pid)
        found = blocking(target.pid, 0.3, all_threads=True)
    assert found.pauses.count == 0
    assert found.samples == 4 * (found.ticks - found.missed)


@on_the_newest
def test_threads_of_c_code_are_not_stopped(python: Path, tmp_path: Path) -> None:
    """Nobody traces them while Python's own thread is stopped again and again; bench/beside.py has what it costs."""
    library = tmp_path / "native.so"
    source = str(BENCH_PROGRAMS / "native_threads.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-pthread", source, "-o", str(library)], check=True)
    tracers: dict[str, set[str]] = {"native": set(), "python": set()}
    program = spawn_target(python, BENCH_PROGRAMS / "native_threads.py", str(library))
    with profilers() as started, program as target, started.sampling(target.pid, signal.SIGINT) as profiler:
        give_up = time.monotonic() + READY_TIMEOUT_SECONDS
        while str(profiler) not in tracers["python"]:
            assert time.monotonic() < give_up, "nobody is ever stopped"
            for task in Path(f"/proc/{target.pid}/task").iterdir():
                is_native = (task / "comm").read_text() == "native\n"
                tracers["native" if is_native else "python"].add(tracer_of(task))
    assert tracers["native"] == {"0"}


@on_the_newest
def test_who_is_traced_already_cannot_be_stopped(python: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with spawn_target(python, PROGRAMS / "signalled.py", "0") as target:
        assert libc.ptrace(PTRACE_SEIZE, target.pid, None, None) == 0
        with (
            profile_of(target.pid, blocking=True) as session,
            pytest.raises(PermissionDenied, match=f"process {os.getpid()} traces it: leave out --blocking"),
        ):
            session.sample(1.0)


@on_the_newest
def test_the_command_line_says_how_long_it_stopped(python: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    with spawn_target(python, PROGRAMS / "signalled.py", "0") as target:
        command = [sys.executable, "-m", "tachyscope", "attach", "--blocking", "-i", "50", "-d", "1"]
        run = subprocess.run(
            [*command, "--stats-json", str(stats), str(target.pid)],
            capture_output=True,
            text=True,
            timeout=READY_TIMEOUT_SECONDS,
        )
        assert_runs(target.pid)
    assert run.returncode == 0
    assert "--blocking stops the target 20,000 times a second; -i 100 is less" in run.stderr
    assert re.search(r"stopped [\d,]+ times for [\d,]+ us \(99 %: [\d,]+ us\), [\d.]+ % of the time", run.stderr)
    pauses = json.loads(stats.read_text())["pause_us"]
    assert 0 < pauses["p50"] <= pauses["p99"] <= pauses["total"] < 700_000


ENDINGS = {"exit": ("os._exit(3)", 3), "kill": ("os.kill(os.getpid(), 9)", 128 + 9), "return": ("over = True", 3)}
ENDING = """
import os, sys, threading, time
over = False
def work():
    while not over:
        sum(range(300))
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
end = time.monotonic() + 0.15
while time.monotonic() < end:
    sum(range(300))
{ending}
for thread in threads:
    thread.join()
sys.exit(3)
"""


@pytest.mark.parametrize("times", ENDINGS_OF_EACH)
@pytest.mark.parametrize("how", ENDINGS)
def test_a_target_that_ends_is_let_go_with_its_own_status(python: Path, how: str, times: int, tmp_path: Path) -> None:
    ending, status = ENDINGS[how]
    output = str(tmp_path / "out.txt")
    for _ in range(times):
        run = tachyscope(
            *("run", "--blocking", "-a", "-i", "40", "--collapsed", "-o", output, "--python", python),
            *("-c", ENDING.format(ending=ending)),
        )
        assert run.returncode == status, run.stderr
        assert "samples of" in run.stderr


@on_the_newest
def test_ctrl_c_leaves_nothing_stopped(python: Path) -> None:
    with spawn_target(python, PROGRAMS / "signalled.py", "2") as target:
        command = [sys.executable, "-m", "tachyscope", "attach", "--blocking", "-a", "--realtime-stats", "-d", "0"]
        with subprocess.Popen([*command, str(target.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as profiler:
            assert profiler.stderr is not None
            assert b"samples" in profiler.stderr.readline()  # of the first second
            profiler.send_signal(signal.SIGINT)
            written, _ = profiler.communicate(timeout=READY_TIMEOUT_SECONDS)
        assert b"leaf" in written
        assert_runs(target.pid)
        assert_goes_on(target.pid)

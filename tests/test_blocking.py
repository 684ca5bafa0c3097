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
from pathlib import Path

import pytest
from core_support import PROGRAMS, line_of, wait_until_reading
from support import INTERPRETERS, Target, spawn_target, tachyscope

from tachyscope import PermissionDenied
from tachyscope import attach as profile_of

KILLS = 500
SIGNALS = 200
LONGEST_LIFE_S = 0.003
PTRACE_SEIZE = 0x4206

on_the_newest = pytest.mark.parametrize("python", [*INTERPRETERS.values()][-1:], ids=[*INTERPRETERS][-1:])


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
    before, give_up = cpu_ticks(pid), time.monotonic() + 30
    while cpu_ticks(pid) <= before:
        assert time.monotonic() < give_up, "the target does not run any more"
        time.sleep(0)


def begin_sampling(pid: int) -> int:
    """Start a profiler in a process of its own; return its process id once it has taken its first samples."""
    reading, writing = os.pipe()
    profiler = os.fork()
    if profiler == 0:
        try:
            with profile_of(pid, interval_us=50, all_threads=True, blocking=True) as session:
                session.sample(0.002)
                os.write(writing, b"x")
                session.sample(60)
        finally:
            os._exit(1)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    return profiler


@pytest.mark.long
@on_the_newest
def test_a_killed_profiler_leaves_nothing_stopped(python: Path) -> None:
    chance = random.Random(1)
    with spawn_target(python, PROGRAMS / "signalled.py", "2") as target:
        for _ in range(KILLS):
            profiler = begin_sampling(target.pid)
            time.sleep(chance.random() * LONGEST_LIFE_S)  # so that it dies anywhere
            os.kill(profiler, signal.SIGKILL)
            os.waitpid(profiler, 0)
            assert_runs(target.pid)
        assert_goes_on(target.pid)


def test_signals_and_new_threads_are_unharmed(python: Path) -> None:
    with spawn_target(python, PROGRAMS / "signalled.py", "1") as target:
        profiler = begin_sampling(target.pid)
        try:
            for _ in range(SIGNALS):
                os.kill(target.pid, signal.SIGUSR1)
                assert line_of(target) == b"answer\n"
        finally:
            os.kill(profiler, signal.SIGINT)
            os.waitpid(profiler, 0)
        assert_runs(target.pid)
        assert_goes_on(target.pid)


def blocking(pid: int, seconds: float, **options: object) -> dict[str, float]:
    with profile_of(pid, blocking=True, **options) as session:  # type: ignore[arg-type]
        session.sample(seconds)
        accuracy = session.profile().accuracy
    pauses = accuracy.pauses
    assert pauses.p50_us <= pauses.p99_us
    assert pauses.total_s <= 0.6 * accuracy.duration_s
    assert accuracy.failed <= accuracy.samples / 500
    return {"ticks": accuracy.ticks - accuracy.missed, "samples": accuracy.samples, "pauses": pauses.count}


def test_who_runs_python_is_stopped(python: Path) -> None:
    with spawn_target(python, PROGRAMS / "signalled.py", "2") as target:
        found = blocking(target.pid, 1.0, interval_us=1000, all_threads=True)
        assert_runs(target.pid)
    assert 0.5 * found["ticks"] < found["pauses"] <= found["ticks"]


def test_who_waits_is_not_stopped(python: Path) -> None:
    with spawn_target(python, PROGRAMS / "parked.py", "3", "0") as target:
        wait_until_reading(target.pid, target.pid)
        found = blocking(target.pid, 0.3, all_threads=True)
    assert found["pauses"] == 0
    assert found["samples"] == 4 * found["ticks"]


@on_the_newest
def test_threads_of_c_code_are_not_slowed_down(python: Path, tmp_path: Path) -> None:
    library = tmp_path / "native.so"
    source = str(PROGRAMS / "native_threads.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-pthread", source, "-o", str(library)], check=True)
    with spawn_target(python, PROGRAMS / "native_threads.py", str(library)) as target:
        alone = progress(target, lambda: time.sleep(1.0))
        watched = progress(target, lambda: blocking(target.pid, 1.0, interval_us=1000))
    assert watched[1] > 0.7 * alone[1]
    assert watched[0] > 0.4 * alone[0]


def progress(target: Target, action: object) -> tuple[float, float]:
    """How much Python and C code did a second while the action went on."""
    begin, before = time.monotonic(), tell(target)
    action()  # type: ignore[operator]
    after = tell(target)
    seconds = time.monotonic() - begin
    return (after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds


def tell(target: Target) -> list[int]:
    assert target.process.stdin is not None
    target.process.stdin.write(b"tell\n")
    target.process.stdin.flush()
    told: list[int] = json.loads(line_of(target))
    return told


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
            [*command, "--stats-json", str(stats), str(target.pid)], capture_output=True, text=True, timeout=60
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


@pytest.mark.parametrize("how", ENDINGS)
def test_a_target_that_ends_is_let_go_with_its_own_status(python: Path, how: str, tmp_path: Path) -> None:
    ending, status = ENDINGS[how]
    output = str(tmp_path / "out.txt")
    for _ in range(2):
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
            written, _ = profiler.communicate(timeout=60)
        assert b"leaf" in written
        assert_runs(target.pid)
        assert_goes_on(target.pid)

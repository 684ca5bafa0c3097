"""Who takes samples, for how long at a time, and how what they wrote is read.

`stopped` is the reference: the target stands still while its stack is read, by a commit that does not change.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.profilers import _find_pyspy, our_command
from bench.real import stacks
from bench.real.stacks import Stack
from bench.targets import ROOT, Unavailable, interpreter

PINNED = "2369dc6"
"""The commit whose `--blocking` is the reference: the last one before default sampling was rebuilt."""

SAMPLER_CPU, TARGET_CPU = 0, 1
"""Apart: where they share a CPU the target stands still while it is read, and every reader looks true."""

SAMPLER_NICE, TARGET_NICE = -10, -15
STOPPED, SIGNALS, PYSPY, STDLIB = "stopped", "signals", "py-spy", "stdlib"
RATES = ("1 kHz", "10 kHz", "highest")
TIMEOUT_SECONDS = 120.0


def cache_directory() -> Path:
    """Where everything lies that is built once."""
    given = os.environ.get("TACHYSCOPE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "tachyscope")
    return Path(given).expanduser() / "real"


@dataclass(frozen=True)
class Take:
    """What one turn of one sampler brought home; `figures` are its own accuracy figures.

    `waited` is the part of the time in which the target wanted its CPU and did not get it: somebody else used the
    machine, and what was measured then is worth less.
    """

    stacks: Counter[Stack]
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    waited: float = 0.0

    @property
    def samples(self) -> int:
        """How often it looked: one look stands for several ticks where reading takes longer than a tick."""
        total = self.stacks.total()
        return min(total, int(self.figures.get("reads") or total))


@dataclass(frozen=True)
class Sampler:
    """Someone who can sample a process for a turn of so many seconds."""

    name: str
    seconds: float
    command: Callable[[int, float, Path], list[str]]
    read: Callable[[str], Counter[Stack]]
    has_figures: bool = True

    def take(self, pid: int) -> Take:
        """Sample for one turn, from a CPU of its own."""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "stacks")
            command = self.command(pid, self.seconds, output)
            start, waited_ns = time.monotonic(), _waited_ns(pid)
            run = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                preexec_fn=on_cpu(SAMPLER_CPU, SAMPLER_NICE),
            )
            seconds = time.monotonic() - start
            if run.returncode != 0 or not output.exists():
                raise RuntimeError(f"{self.name} failed with {run.returncode}: {(run.stderr or run.stdout)[-500:]}")
            figures = _figures(output.with_suffix(".json")) if self.has_figures else {}
            waited = (_waited_ns(pid) - waited_ns) / 1e9 / seconds
            return Take(
                self.read(output.read_text(errors="replace")), figures.get("duration_s", seconds), figures, waited
            )


def _waited_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])


def on_cpu(cpu: int, nice: int) -> Callable[[], None]:
    """Return what a new process does first: it goes to its CPU, and to the front of the queue where that is allowed."""

    def prepare() -> None:
        os.sched_setaffinity(0, {cpu})
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, nice)

    return prepare


def check_machine() -> None:
    """Raise `Unavailable` where target and sampler cannot have a CPU each."""
    if not {SAMPLER_CPU, TARGET_CPU} <= os.sched_getaffinity(0):
        raise Unavailable("two CPUs, 0 and 1, are needed: one for the target, one for who samples")


def ours(command: list[str], all_threads: bool = False) -> dict[str, Sampler]:
    """The default, non-stopping sampling of a tachyscope, at three rates."""
    lengths = {"1 kHz": (1000, 1.5), "10 kHz": (100, 1.0), "highest": (1, 0.5)}
    return {
        name: Sampler(name, seconds, _tachyscope(command, interval_us, all_threads), stacks.collapsed)
        for name, (interval_us, seconds) in lengths.items()
    }


def reference(command: list[str], all_threads: bool = False) -> Sampler:
    """Stopped samples, 2,500 a second: more often, and it would not run as long as it is stopped."""
    return Sampler(STOPPED, 1.5, _tachyscope(command, 400, all_threads, "--blocking"), stacks.collapsed)


def peers(version: str) -> list[Sampler]:
    """py-spy up to 3.13, the standard library's profiler on 3.15; none where they are not there."""
    try:
        if version == "3.15":
            return [Sampler(STDLIB, 2.0, _stdlib(), stacks.collapsed, has_figures=False)]
        if int(version.partition(".")[2]) <= 13:
            return [Sampler(PYSPY, 1.0, _pyspy(), stacks.pyspy, has_figures=False)]
    except Unavailable:
        pass
    return []


def our_own() -> list[str]:
    """The tachyscope under test: of this environment, or the one that `TACHYSCOPE` names."""
    given = os.environ.get("TACHYSCOPE")
    return [given] if given else our_command()


@cache
def pinned() -> list[str]:
    """The command of the reference, built into an environment of its own at first use."""
    return [str(installed(PINNED) / "bin" / "tachyscope")]


def installed(commit: str) -> Path:
    """Return an environment with the tachyscope of a commit of this checkout; built at first use."""
    home = cache_directory() / f"tachyscope-{commit}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with Path(home.parent, f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            _install(commit, home)
    return home


def _install(commit: str, home: Path) -> None:
    with tempfile.TemporaryDirectory() as source:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
        if archive.returncode != 0:
            raise Unavailable(f"commit {commit} is not in this checkout: git fetch --unshallow")
        subprocess.run(["tar", "x", "-C", source], input=archive.stdout, check=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "--quiet", source], check=True)
    (home / "complete").touch()


def _tachyscope(
    command: list[str], interval_us: int, all_threads: bool, *more: str
) -> Callable[[int, float, Path], list[str]]:
    def attach(pid: int, seconds: float, output: Path) -> list[str]:
        options = ["-i", str(interval_us), "-d", str(seconds), "--collapsed", "-o", str(output), *more]
        options += ["-a"] if all_threads else []
        return [*command, "attach", *options, "--stats-json", str(output.with_suffix(".json")), str(pid)]

    return attach


def _pyspy() -> Callable[[int, float, Path], list[str]]:
    path = _find_pyspy()

    def record(pid: int, seconds: float, output: Path) -> list[str]:
        options = ["--rate", "1000", "--duration", str(max(round(seconds), 1)), "--format", "raw", "-o", str(output)]
        return [path, "record", *options, "--idle", "--full-filenames", "--function", "--pid", str(pid)]

    return record


def _stdlib() -> Callable[[int, float, Path], list[str]]:
    python = interpreter("3.15").command

    def attach(pid: int, seconds: float, output: Path) -> list[str]:
        options = ["-r", "1khz", "-d", str(max(round(seconds), 1)), "--collapsed", "-o", str(output)]
        return [*python, "-m", "profiling.sampling", "attach", *options, str(pid)]

    return attach


def _figures(path: Path) -> dict[str, float]:
    told: dict[str, Any] = json.loads(path.read_text())
    return {name: value for name, value in told.items() if isinstance(value, (int, float))}

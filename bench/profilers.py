"""The profilers that are compared, all driven alike: start on a process, let it sample, interrupt, read what it wrote.

`Ours` is the command line, as a user has it. The peers are py-spy (non-blocking, as we are) and the standard library's
profiler, which needs a target of its own version, 3.15.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.targets import Interpreter, Target, Unavailable, interpreter

Stack = tuple[str, ...]
"""Names of functions, root first."""

SETTLE_SECONDS = 0.8
"""A profiler that does not say when it begins certainly samples after this time."""

HIGHEST_HZ = 1_000_000


@dataclass(frozen=True)
class Recording:
    """What a profiler brought home. `missed` is None where it does not say."""

    samples: int
    failed: int
    seconds: float
    missed: int | None = None
    ticks: int = 0
    stacks: Counter[Stack] = field(default_factory=Counter)

    @property
    def rate_hz(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds

    @property
    def failed_share(self) -> float:
        """Failed samples as a share of those tried."""
        return self.failed / max(self.samples + self.failed, 1)

    def share(self, name: str) -> float:
        """The share of samples with a function as the leaf."""
        return sum(count for stack, count in self.stacks.items() if stack[-1:] == (name,)) / max(self.samples, 1)

    def share_below(self, name: str) -> float:
        """The share of samples with a function anywhere in the stack."""
        return sum(count for stack, count in self.stacks.items() if name in stack) / max(self.samples, 1)


class Running:
    """A profiler at work on a process."""

    def __init__(self, profiler: Profiler, process: subprocess.Popen[str], output: Path) -> None:
        self.profiler = profiler
        self.process = process
        self.output = output
        self.said = ""
        self.start = time.monotonic()

    def cpu_seconds(self) -> float:
        """CPU time that it has used so far, to the microsecond."""
        total = 0
        for path in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
        return total / 1e9

    def peak_memory(self) -> int:
        """The most resident memory so far, in bytes; 0 if it has just ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def stop(self) -> Recording:
        """Interrupt it, wait, and read what it wrote."""
        seconds = time.monotonic() - self.start
        self.process.send_signal(signal.SIGINT)
        self.said += self.process.communicate(timeout=120)[0]
        return self.profiler.read(self, seconds)


class Profiler(ABC):
    """A profiler that can be started on a process."""

    name: str
    all_threads = False  # py-spy always samples all

    @abstractmethod
    def command(self, target: Target, rate_hz: float, output: Path) -> list[str]:
        """Return the command that profiles a process until it is interrupted."""

    @abstractmethod
    def read(self, running: Running, seconds: float) -> Recording:
        """Read the output of a run; `seconds` passed between its beginning and the interrupt."""

    def directory(self, target: Target) -> str | None:
        """Where output files can be."""
        return None

    def wait_until_sampling(self, running: Running) -> None:
        """Return when it samples."""
        time.sleep(SETTLE_SECONDS)

    @contextmanager
    def at_work(self, target: Target, rate_hz: float) -> Iterator[Running]:
        """Start it on a target; whoever wants the result calls `stop`."""
        with tempfile.TemporaryDirectory(dir=self.directory(target)) as directory:
            output = Path(directory) / "output"
            with subprocess.Popen(
                self.command(target, rate_hz, output),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
            ) as process:
                try:
                    running = Running(self, process, output)
                    self.wait_until_sampling(running)
                    running.start = time.monotonic()
                    yield running
                finally:
                    process.kill()

    def record(self, target: Target, rate_hz: float, seconds: float) -> Recording:
        """Profile for some seconds."""
        with self.at_work(target, rate_hz) as running:
            time.sleep(seconds)
            return running.stop()


def our_command() -> list[str]:
    """Return the command line of this tachyscope."""
    script = Path(sys.executable).parent / "tachyscope"
    return [str(script)] if script.exists() else [sys.executable, "-m", "tachyscope"]


class Ours(Profiler):
    """`tachyscope attach`, in any format that it has."""

    name = "tachyscope"

    def __init__(self, output_format: str = "collapsed", all_threads: bool = False) -> None:
        self.format = output_format
        self.all_threads = all_threads

    def command(self, target: Target, rate_hz: float, output: Path) -> list[str]:
        """Until interrupted; the figures go to a file beside the output."""
        interval = str(max(round(1e6 / rate_hz), 1))
        stats = str(output.with_suffix(".json"))
        options = ["-i", interval, "-d", "0", f"--{self.format}", "-o", str(output), "--stats-json", stats]
        options += ["-a"] if self.all_threads else []
        return [*our_command(), "attach", *options, str(target.pid)]

    def read(self, running: Running, seconds: float) -> Recording:
        """Its own figures, checked against the stacks that it wrote."""
        try:
            stats = json.loads(running.output.with_suffix(".json").read_text())
        except (OSError, ValueError):
            raise RuntimeError(f"tachyscope failed: {running.said}") from None
        stacks = Counter[Stack]()
        if self.format == "collapsed":
            stacks = _collapsed(running.output.read_text(), last_colons=2)
            if stacks.total() != stats["samples"]:
                raise RuntimeError(f"tachyscope counted {stats['samples']} and wrote {stacks.total()}")
        return Recording(
            stats["samples"], stats["failed"], stats["duration_s"], stats["missed"], stats["ticks"], stacks
        )


class PySpy(Profiler):
    """py-spy, non-blocking."""

    name = "py-spy"

    def __init__(self) -> None:
        self.path = _find_pyspy()

    def command(self, target: Target, rate_hz: float, output: Path) -> list[str]:
        """The raw format, which is collapsed stacks."""
        options = ["--rate", str(round(rate_hz)), "--nonblocking", "--idle", "--format", "raw", "-o", str(output)]
        return [self.path, "record", *options, "--pid", str(target.pid)]

    def wait_until_sampling(self, running: Running) -> None:
        """It says when it begins."""
        assert running.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(running.process.stdout, selectors.EVENT_READ)
            selector.select(30)
        running.said = running.process.stdout.readline()

    def read(self, running: Running, seconds: float) -> Recording:
        """Samples are counted in the file; errors it tells."""
        if not running.output.exists():
            raise RuntimeError(f"py-spy failed: {running.said}")
        stacks = Counter[Stack]()
        for line in running.output.read_text().splitlines():
            frames, count = line.rsplit(" ", 1)
            stacks[tuple(frame.rsplit(" (", 1)[0] for frame in frames.split(";"))] += int(count)
        failed = re.search(r"Errors: (\d+)", running.said)
        return Recording(stacks.total(), int(failed[1]) if failed else 0, seconds, stacks=stacks)


class Stdlib(Profiler):
    """`profiling.sampling` of CPython 3.15, for targets of the same interpreter."""

    name = "stdlib 3.15"

    def __init__(self, output_format: str = "collapsed") -> None:
        self.interpreter = interpreter("3.15")
        self.format = output_format
        self.name = f"stdlib {self.interpreter.version}"

    def command(self, target: Target, rate_hz: float, output: Path) -> list[str]:
        """Run below the root that the interpreter sees."""
        if target.interpreter != self.interpreter:
            raise ValueError("the standard library's profiler needs a target of its own version")
        path = output if self.interpreter.root is None else Path("/", output.relative_to(self.interpreter.root))
        options = ["-r", str(round(rate_hz)), f"--{self.format}", "-o", str(path)]
        options += ["-a"] if self.all_threads else []
        return [*self.interpreter.command, "-m", "profiling.sampling", "attach", *options, str(target.pid)]

    def directory(self, target: Target) -> str | None:
        """A place that both sides see."""
        return None if self.interpreter.root is None else str(self.interpreter.root / "tmp")

    def read(self, running: Running, seconds: float) -> Recording:
        """Its own figures; samples without the failed ones."""
        captured = re.search(r"Captured (\d+) samples in ([\d.]+) seconds", running.said)
        if captured is None:
            raise RuntimeError(f"the standard library's profiler failed: {running.said}")
        error = re.search(r"Error rate: ([\d.]+)", running.said)
        missed = re.search(r"missed (\d+) samples from the expected total of (\d+)", running.said)
        failed = round(int(captured[1]) * float(error[1]) / 100) if error else 0
        stacks = Counter[Stack]()
        if self.format == "collapsed":
            stacks = _collapsed(running.output.read_text(), last_colons=2)
        return Recording(
            stacks.total() or int(captured[1]) - failed,
            failed,
            float(captured[2]),
            int(missed[1]) if missed else 0,
            int(missed[2]) if missed else int(captured[1]),
            stacks,
        )


def _collapsed(text: str, last_colons: int) -> Counter[Stack]:
    """Stacks of `path:function:line` frames, with or without a thread in front."""
    stacks = Counter[Stack]()
    for line in text.splitlines():
        frames, count = line.rsplit(" ", 1)
        names = [frame.rsplit(":", last_colons)[-last_colons] for frame in frames.split(";") if frame.count(":") > 1]
        stacks[tuple(names)] += int(count)
    return stacks


@cache
def _find_pyspy() -> str:
    beside = Path(sys.executable).parent / "py-spy"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy")
    if not found:
        raise Unavailable("py-spy is not installed: pip install 'tachyscope[bench]'")
    return found


@cache
def pyspy_version() -> str:
    """The version of py-spy, as it says."""
    return subprocess.run([_find_pyspy(), "--version"], capture_output=True, text=True).stdout.strip()


def stdlib_interpreter() -> Interpreter:
    """The interpreter of the standard library's profiler; raises `Unavailable`."""
    return interpreter("3.15")


def available(notes: list[str], *kinds: type[Profiler]) -> list[Profiler]:
    """Return those profilers that are on this machine; the others are named in `notes`."""
    found = []
    for kind in kinds:
        try:
            found.append(kind())
        except Unavailable as reason:
            text = f"skipped {kind.__name__}: {reason}"
            if text not in notes:
                notes.append(text)
    return found

"""What the timer signal costs, and what it says beside a system call, where a stop comes late.

    python -m bench.real.signals                                      CPython 3.8, 3.11, 3.13, 3.15; three minutes
    python -m bench.real.signals --python 3.13 --tachyscope COMMAND   who stops; the pinned reference if not told
    python -m bench.real.signals --what getpid                        one of the two: cost or getpid

The target has CPU 1 to itself, who looks at it CPU 0. Cost: many short turns with and without signals alternate, as the
speed of a CPU is not the same for long; behind the median stands its standard error.
"""

from __future__ import annotations

import argparse
import math
import mmap
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.common import Report, Row, median, percent, print_report, spread
from bench.real import samplers
from bench.real.signals import Signals, library_for
from bench.real.signals.program import PROGRESS
from bench.real.stacks import Stack
from bench.targets import Target, Unavailable, interpreter

HERE = Path(__file__).parent
VERSIONS = ("3.8", "3.11", "3.13", "3.15")
DEPTHS = (10, 1000)
INTERVALS_US = {"1 kHz": 1000.0, "10 kHz": 100.0}
COST_ROUNDS, COST_SECONDS = 100, 0.04
SHARE_ROUNDS, SHARE_SECONDS = 4, 1.5


@dataclass(frozen=True)
class Progress:
    """What the program says of itself: iterations, and seconds of CPU in `alone` and in `beside`."""

    iterations: int
    alone: float
    beside: float


@dataclass(frozen=True)
class Subject:
    """The program in a process, and how to watch it."""

    pid: int
    signals: Signals
    _progress: mmap.mmap

    def progress(self) -> Progress:
        """How far it has got."""
        return Progress(*PROGRESS.unpack_from(self._progress))

    def speed(self, something: Callable[[float], object]) -> float:
        """Do something for a short while; return the program's iterations per second meanwhile."""
        before, start = self.progress(), time.monotonic()
        something(COST_SECONDS)
        return (self.progress().iterations - before.iterations) / (time.monotonic() - start)

    def turn(self, seconds: float) -> None:
        """Take a turn of signals."""
        self.signals.start()
        time.sleep(seconds)
        self.signals.stop()


@contextmanager
def subject(version: str, interval_us: float, depth: int) -> Iterator[Subject]:
    """Run the program on its CPU until it is ready."""
    python = interpreter(version)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        output, path = Path(folder, "samples"), Path(folder, "progress")
        path.write_bytes(bytes(PROGRESS.size))
        words = [HERE / "inside.py", library_for(Path(python.command[0])), output, interval_us, path, depth]
        command = python.run(HERE / "program.py", *map(str, words))
        prepare = samplers.on_cpu(samplers.TARGET_CPU, samplers.TARGET_NICE)
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, preexec_fn=prepare))
        stack.callback(process.kill)
        if Target(process, python).read_line() != b"ready\n":
            raise RuntimeError(f"the program does not get ready on {version}")
        stream = stack.enter_context(path.open("rb"))
        progress = stack.enter_context(mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ))
        yield Subject(process.pid, stack.enter_context(closing(Signals(process.pid, output))), progress)


def cost(version: str, name: str, depth: int) -> Row:
    """How much slower a busy program is, and for how long one signal takes it from its work."""
    lost = []
    with subject(version, INTERVALS_US[name], depth) as busy:
        for number in range(COST_ROUNDS):
            # Every other round in reverse order, so that a CPU that gets slower makes neither look slow.
            looks = [time.sleep, busy.turn][:: 1 if number % 2 == 0 else -1]
            speeds = {look: busy.speed(look) for look in looks}
            lost.append(1 - speeds[busy.turn] / speeds[time.sleep])
        rate = busy.signals.ticks / COST_ROUNDS / COST_SECONDS
        busy.signals.read()
        failed = busy.signals.failed
    slower, signal_us = _with_error(lost, 100), _with_error(lost, 1e6 / rate)
    told = f"slower by {slower} %, {signal_us} us a signal"
    return Row(f"{version}, {name}, {depth} calls deep", told, reference=f"{rate:,.0f} a second, {failed} failed")


def _with_error(values: Sequence[float], scale: float) -> str:
    error = 1.25 * statistics.stdev(values) / math.sqrt(len(values))  # of a median
    return f"{scale * median(values):.1f} ± {scale * error:.1f}"


def getpid(version: str, stops: list[str]) -> Row:
    """The share of a function that makes a short system call now and then: by signals, by stops, by the clock."""
    stopped, stops_taken = samplers.reference(stops), []
    with subject(version, INTERVALS_US["1 kHz"], 0) as program:
        before = program.progress()
        for _ in range(SHARE_ROUNDS):
            program.turn(SHARE_SECONDS)
            stops_taken.append(stopped.take(program.pid).stacks)
        after = program.progress()
        signals_taken = program.signals.read()
    by_clock = 1 - (after.alone - before.alone) / (after.beside - before.beside)
    return Row(
        f"{version}, getpid's share",
        f"signals {spread([_share(turn) for turn in signals_taken], ' %', 100)}",
        f"stops {spread([_share(turn) for turn in stops_taken], ' %', 100)}",
        f"by the clock {percent(by_clock, 1)}, with its call",
    )


def _share(counted: Counter[Stack]) -> float:
    """The share of `asking` of what lies below `beside`."""
    below = Counter[str]()
    for stack, count in counted.items():
        names = [frame.split(":")[1] for frame in stack]
        if "beside" in names:
            below[names[-1]] += count
    return below["asking"] / max(sum(below.values()), 1)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=",".join(VERSIONS), help="versions")
    parser.add_argument("--tachyscope", default="", help="whose stops are compared")
    parser.add_argument("--what", default="cost,getpid", help="cost, getpid or both")
    options = parser.parse_args()
    samplers.check_machine()
    report = Report()
    for version in options.python.split(","):
        try:
            if "cost" in options.what:
                report.rows += [cost(version, name, depth) for depth in DEPTHS for name in INTERVALS_US]
            if "getpid" in options.what:
                report.rows.append(getpid(version, [options.tachyscope] if options.tachyscope else samplers.pinned()))
        except Unavailable as error:
            report.note(str(error))
    print_report(report)


if __name__ == "__main__":
    main()

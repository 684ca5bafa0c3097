"""One program in one process, sampled in turns by everybody until chance alone would put them close together."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO

from bench.real import distance, samplers
from bench.real.contexts import Contexts, contexts
from bench.real.packages import benchmarks, facts, missing, site_for
from bench.real.samplers import SIGNALS, STOPPED, Sampler, Take
from bench.real.signals import Signals, library_for
from bench.real.stacks import self_shares
from bench.targets import Target, Unavailable, interpreter

HERE = Path(__file__).parent
TARGET = HERE / "target.py"
NEAR_POINTS = 1.0
"""Turns are taken until chance would put all candidates at most this far from the reference."""

SIGNALS_INTERVAL_US, SIGNALS_SECONDS = 400, 1.0
SHORTEST_SECONDS = 0.5
START_SECONDS, TURN_START_SECONDS = 4.0, 0.4
"""What a program and a sampler need to start: for the estimate only."""


@dataclass(frozen=True)
class Program:
    """A module of programs/ or small/, with its arguments: "raytrace", "small/calls init 10"."""

    name: str

    @property
    def words(self) -> list[str]:
        """Its words for target.py."""
        return self.name.split()

    @property
    def path(self) -> Path:
        """Where its text is."""
        first = self.words[0]
        return HERE / (f"{first}.py" if "/" in first else f"programs/{first}.py")

    @property
    def all_threads(self) -> bool:
        """Whether it is about its threads, and sampled with `-a`."""
        return facts(self.words[0]).all_threads

    @property
    def judge(self) -> str:
        """Whose samples are the truth: stops come late at system calls, signals do not."""
        return SIGNALS if facts(self.words[0]).near_system_calls else STOPPED


@dataclass(frozen=True)
class Limits:
    """When to stop: after so many rounds at most, or so many seconds, whatever chance would do.

    A round has so many turns of the reference. `turns` makes all turns shorter, though none than half a second.
    """

    rounds: int = 12
    seconds: float = 300.0
    references: int = 2
    turns: float = 1.0


QUICK = Limits(rounds=1, references=4, turns=0.5)
"""Rough: chance would often put two honest samplers three points apart."""


@dataclass(frozen=True)
class Measured:
    """What all samplers brought home, by their names, turn by turn."""

    program: str
    version: str
    turns: dict[str, list[Take]]

    @property
    def waited(self) -> float:
        """The part of the time in which the target waited for its CPU."""
        takes = [take for each in self.turns.values() for take in each]
        return sum(take.waited * take.seconds for take in takes) / max(sum(take.seconds for take in takes), 1e-9)

    def shares(self, name: str) -> list[distance.Turn]:
        """The self shares of a sampler's turns."""
        return [distance.Turn(self_shares(take.stacks), take.samples, take.seconds) for take in self.turns[name]]


def programs() -> list[Program]:
    """All real programs."""
    return [Program(path.stem) for path in sorted((HERE / "programs").glob("[a-z]*.py"))]


def command(program: Program, version: str) -> list[str]:
    """Return the command that runs a program on a version; raises `Unavailable` where it does not run there."""
    python = interpreter(version)
    first, *arguments = program.words
    reason = missing(first, version)
    if reason:
        raise Unavailable(f"{first} on {version}: {reason}")
    folders = [] if "/" in first else ["--site", str(_site(version)), "--benchmarks", str(benchmarks())]
    return [*python.command, str(TARGET), first, *folders, *arguments]


@cache
def _site(version: str) -> Path:
    return site_for(version, Path(interpreter(version).command[0]))


@contextmanager
def running(program: Program, version: str, progress: str = "") -> Iterator[tuple[Target, Signals]]:
    """Run a program on a CPU of its own until it is steady; it counts in the `progress` file, see target.py."""
    python = interpreter(version)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, tempfile.TemporaryFile() as said:
        output = Path(folder, "signals")
        signalled = ["--signals", str(library_for(Path(python.command[0]))), str(output), str(SIGNALS_INTERVAL_US)]
        process = subprocess.Popen(
            [*command(program, version), *signalled, "--progress", progress],
            stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, bufsize=0,
            preexec_fn=samplers.on_cpu(samplers.TARGET_CPU, samplers.TARGET_NICE),
        )  # fmt: skip
        with process:
            try:
                target = _ready(Target(process, python), said)
                with closing(Signals(process.pid, output)) as signals:
                    yield target, signals
            finally:
                process.kill()


def _ready(target: Target, said: IO[bytes]) -> Target:
    if target.read_line() != b"ready\n":
        said.seek(0)
        raise RuntimeError(f"the program did not get ready: {said.read()[-500:].decode(errors='replace')}")
    return target


def everybody(program: Program, version: str, references: int) -> list[Sampler]:
    """The samplers that a program is measured with."""
    all_threads = program.all_threads
    found = [samplers.reference(samplers.pinned(), all_threads)] * references
    found += samplers.ours(samplers.our_own(), all_threads).values()
    return found if all_threads else found + samplers.peers(version)


def measure(
    program: Program, version: str, limits: Limits, who: Sequence[Sampler] | None = None, enough: bool = True
) -> Measured:
    """Take turns until it is `enough`, else all that the limits allow."""
    samplers.check_machine()
    who = [_shorter(each, limits) for each in who or everybody(program, version, limits.references)]
    turns: dict[str, list[Take]] = {each.name: [] for each in who}
    with_signals = not program.all_threads and len({each.name for each in who}) > 1
    measured = Measured(program.name, version, turns)
    seconds = max(SHORTEST_SECONDS, limits.turns * SIGNALS_SECONDS)
    with running(program, version) as (target, signals):
        end = time.monotonic() + limits.seconds
        for number in range(limits.rounds):
            for each in _order(who, number):
                turns[each.name].append(each.take(target.pid))
            if with_signals:
                _signalled(signals, seconds)
            if number and ((enough and near(measured)) or time.monotonic() > end):
                break
        if with_signals:
            turns[SIGNALS] = [Take(stacks, seconds) for stacks in signals.read()]
    return measured


def _shorter(sampler: Sampler, limits: Limits) -> Sampler:
    return replace(sampler, seconds=max(SHORTEST_SECONDS, limits.turns * sampler.seconds))


def exact(program: Program, version: str) -> Contexts | None:
    """The exact calling contexts of a real program; found out at first use, some seconds."""
    return None if "/" in program.words[0] else contexts(command(program, version), [program.path, TARGET])


def _order(who: Sequence[Sampler], number: int) -> list[Sampler]:
    """Another order each round, the same ones in each run."""
    return random.Random(number).sample(list(who), len(who))


def _signalled(signals: Signals, seconds: float) -> None:
    signals.start()
    time.sleep(seconds)
    signals.stop()


def near(measured: Measured) -> bool:
    """Whether chance alone would put all candidates as near as asked for."""
    reference = measured.shares(STOPPED)
    candidates = [name for name in samplers.RATES if measured.turns.get(name)]
    return all(distance.chance(reference, distance.joined(measured.shares(name))) <= NEAR_POINTS for name in candidates)


def most_seconds(program: Program, version: str, limits: Limits) -> float:
    """How long the measurement of a program takes at most."""
    who = [_shorter(each, limits) for each in everybody(program, version, limits.references)]
    a_round = sum(each.seconds + TURN_START_SECONDS for each in who) + SIGNALS_SECONDS
    return START_SECONDS + min(limits.rounds * a_round, max(limits.seconds, 2 * a_round) + a_round)


def save(measured: Measured, path: Path) -> None:
    """Keep it as JSON, for tables that are made later."""
    turns = {
        name: [{"stacks": [[*stack, count] for stack, count in take.stacks.items()], "seconds": take.seconds,
                "figures": take.figures, "waited": take.waited} for take in takes]
        for name, takes in measured.turns.items()
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    half.write_text(json.dumps({"program": measured.program, "version": measured.version, "turns": turns}))
    half.rename(path)


def load(path: Path) -> Measured:
    """Read it again."""
    told = json.loads(path.read_text())
    turns = {
        name: [Take(_counted(take["stacks"]), take["seconds"], take["figures"], take["waited"]) for take in takes]
        for name, takes in told["turns"].items()
    }
    return Measured(told["program"], told["version"], turns)


def _counted(rows: list[list[object]]) -> Counter[tuple[str, ...]]:
    stacks = Counter[tuple[str, ...]]()
    for *stack, count in rows:
        assert isinstance(count, int)
        stacks[tuple(map(str, stack))] += count
    return stacks

"""The timer-signal sampler of bench/real: what it says of a program that knows its own shares and ways of calling."""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import ROOT, Target, spawn_target

sys.path.insert(0, str(ROOT))

from bench.real.signals import Signals, SignalsError, build, library_for
from bench.real.stacks import Stack
from bench.targets import Unavailable

INSIDE = ROOT / "bench" / "real" / "signals" / "inside.py"
DEPTH = 100
FRESH = 20  # names; their code gets the same few addresses again and again
ENOUGH_SAMPLES = 2_000
MANY_SAMPLES = 20_000
ROUNDS = 100
SHARES_WITHIN = 0.1  # in seconds of CPU, which no other process takes from; chance alone stays below 0.04

PROGRAM = """\
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("inside", sys.argv[1])
inside = importlib.util.module_from_spec(spec)
spec.loader.exec_module(inside)
cpus = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cpus[os.getpid() % len(cpus)]})
inside.install(sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
quick_rounds = int(sys.argv[6])
clocks = [0.0, 0.0]

def loop(times):
    total = 0
    for i in range(times):
        total += i * i
    return total

def timed(which, function, times):
    start = time.thread_time()
    function(times)
    clocks[which] += time.thread_time() - start

def first(times):
    loop(times)

def second(times):
    loop(times)

def deep(levels):
    return deep(levels - 1) if levels else bottom()

def bottom():
    return loop(1000)

def numbers():
    for _ in range(5):
        yield loop(300)

def consume():
    for _ in numbers():
        pass

async def outer():
    return await inner()

async def inner():
    return loop(1000)

def drive():
    try:
        outer().send(None)
    except StopIteration:
        pass

def callback(value):
    return -loop(50) - value

def ordered():
    sorted(range(20), key=callback)

def catcher():
    try:
        passer()
    except ValueError:
        loop(300)

def passer():
    thrower()

def thrower():
    loop(300)
    raise ValueError

def same(value):
    return value

def through(value):
    return same(value)

def nested():
    return farther()

def farther():
    return sorted((3, 2, 1), key=same)

def quick():
    for _ in range(quick_rounds):
        sorted((3, 2, 1), key=same)
        nested()
        list(map(through, (3, 2, 1)))

class Made:
    def __init__(self):
        self.value = loop(100)

def make():
    for _ in range(10):
        Made()

def fresh(number):
    names = {"loop": loop}
    exec(compile("def made_%d():\\n    loop(2000)" % number, "<fresh>", "exec"), names)
    names["made_%d" % number]()
    names.clear()  # frees the code, and its address

def one_round(number):
    timed(0, first, 1000)
    timed(1, second, 5000)
    deep(99)
    consume()
    drive()
    ordered()
    catcher()
    make()
    fresh(number % 20)
    quick()

def serve():
    while True:
        rounds = int(os.read(0, 100) or b"0")
        if not rounds:
            break
        for number in range(rounds):
            one_round(number)
        print(*clocks, flush=True)

print("ready", flush=True)
serve()
"""

CALLS = {
    "": {"<module>"},
    "<module>": {"serve"},
    "serve": {"one_round"},
    "one_round": {"timed", "deep", "consume", "drive", "ordered", "catcher", "make", "fresh", "quick"},
    "quick": {"same", "through", "nested"},
    "nested": {"farther"},
    "farther": {"same"},
    "through": {"same"},
    "timed": {"first", "second"},
    "deep": {"deep", "bottom"},
    "consume": {"numbers"},
    "drive": {"outer"},
    "outer": {"inner"},
    "ordered": {"callback"},
    "catcher": {"passer", "loop"},
    "passer": {"thrower"},
    "make": {"__init__"},
    "fresh": {f"made_{number}" for number in range(FRESH)} | {"<fresh>"},
}
LEAVES = {"first", "second", "bottom", "numbers", "inner", "callback", "thrower", "__init__", *CALLS["fresh"]}
MUST_BE_SEEN = {"loop", *LEAVES, "deep"} - {"<fresh>"}


class Sampled:
    """The program in a target, and its sampler."""

    def __init__(self, target: Target, output: Path) -> None:
        self.target = target
        self.signals = Signals(target.pid, output)

    def run(self, rounds: int) -> list[float]:
        """Run so many rounds to their end; return the program's clocks, in seconds."""
        self.begin(rounds)
        return self.end()

    def begin(self, rounds: int) -> None:
        assert self.target.process.stdin is not None
        self.target.process.stdin.write(b"%d\n" % rounds)

    def end(self) -> list[float]:
        return [float(clock) for clock in self.target._read_line().split()]

    def turn(self) -> list[float]:
        """Sample some rounds; return what the clocks say of them."""
        before = self.run(1)
        self.signals.start()
        after = self.run(ROUNDS)
        self.signals.stop()
        return [later - earlier for earlier, later in zip(before, after, strict=True)]

    def stacks(self) -> Counter[Stack]:
        """All turns so far."""
        return sum(self.signals.read(), Counter())


@contextmanager
def sampled(
    python: str | Path, interval_us: float = 200, megabytes: int = 32, quick_rounds: int = 1
) -> Iterator[Sampled]:
    try:
        library = library_for(Path(python))
    except Unavailable as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        program, output = Path(folder, "program.py"), Path(folder, "samples")
        program.write_text(PROGRAM)
        arguments = [str(INSIDE), str(library), str(output), *map(str, (interval_us, megabytes, quick_rounds))]
        with spawn_target(python, program, *arguments) as target:
            one = Sampled(target, output)
            try:
                yield one
            finally:
                one.signals.close()


def simple(frame: str) -> str:
    """The name in a frame, without its class, after a look at its file and line."""
    file, name, line = frame.rsplit(":", 2)
    name = name.rpartition(".")[2]
    if file == "<fresh>":
        assert line == "1"
        return file if name == "<module>" else name
    pattern = r"(?:\s*|async )def " if name != "<module>" else ""
    assert file == "program.py"
    assert re.match(rf"{pattern}{name if pattern else ''}\b", PROGRAM.splitlines()[int(line) - 1]), frame
    return name


def possible(stacks: Counter[Stack]) -> Counter[tuple[str, ...]]:
    """The names, all checked."""
    named = Counter[tuple[str, ...]]()
    for stack, count in stacks.items():
        names = [simple(frame) for frame in stack]
        check_possible(names)
        named[tuple(names)] += count
    return named


def check_possible(stack: list[str]) -> None:
    caller = ""
    for name in stack:
        assert name in CALLS.get(caller, set()) | ({"loop"} if caller in LEAVES else set()), stack
        caller = name
    if "bottom" in stack:
        assert stack.count("deep") == DEPTH


def test_names_nesting_and_shares_are_right(python: Path) -> None:
    with sampled(python) as one:
        clocks, stacks = [0.0, 0.0], Counter[Stack]()
        while sum(stacks.values()) < ENOUGH_SAMPLES:
            clocks = [sum(pair) for pair in zip(clocks, one.turn(), strict=True)]
            stacks = one.stacks()
        failed = one.signals.failed
    named = possible(stacks)
    assert {name for names in named for name in names} >= MUST_BE_SEEN
    assert failed <= sum(stacks.values()) / 100
    counts = [sum(count for names, count in named.items() if which in names) for which in ("first", "second")]
    assert clocks[0] / sum(clocks) < 0.5 - 2 * SHARES_WITHIN  # else shares that are mixed up would pass
    assert counts[0] / sum(counts) == pytest.approx(clocks[0] / sum(clocks), abs=SHARES_WITHIN)


def test_frames_that_are_being_linked_make_no_stack(python: Path) -> None:
    """Many short callbacks: on 3.11 and 3.12 some of these samples meet a `cframe` that is not filled in."""
    with sampled(python, interval_us=50, quick_rounds=2_000) as one:
        while sum(one.stacks().values()) < MANY_SAMPLES:
            one.turn()
        possible(one.stacks())
        assert one.signals.failed <= MANY_SAMPLES / 100


def test_a_stopped_timer_delivers_nothing(python: Path) -> None:
    with sampled(python) as one:
        assert one.signals.ticks == 0
        one.turn()
        ticks, stacks = one.signals.ticks, one.signals.read()
        assert ticks > 0
        one.run(ROUNDS)
        assert one.signals.ticks == ticks
        assert one.signals.read() == stacks
        one.turn()
        assert one.signals.read()[0] == stacks[0]


def test_the_target_survives_a_thousand_turns(python: Path) -> None:
    with sampled(python, interval_us=50) as one:
        one.begin(10 * ROUNDS)
        for _ in range(1000):
            one.signals.start()
            one.signals.stop()
        one.end()
        assert len(one.signals.read()) == 1000
        one.turn()
        assert len(one.stacks()) > 1


# What can go wrong


def test_a_full_buffer_is_said() -> None:
    with sampled(sys.executable, interval_us=20, megabytes=1) as one:
        one.turn()
        assert one.stacks()
        with pytest.raises(SignalsError, match="is full: take fewer turns, or install with more megabytes"):
            while True:
                one.turn()
        with pytest.raises(SignalsError, match="is full"):
            one.signals.read()
        assert one.run(1)


def test_a_target_that_has_ended_is_said() -> None:
    with sampled(sys.executable) as one:
        one.target.process.kill()
        one.target.process.wait()
        with pytest.raises(SignalsError, match=r"process \d+ has ended"):
            one.signals.start()


def test_no_signal_is_sent_where_no_sampler_is(tmp_path: Path) -> None:
    with pytest.raises(SignalsError, match=r"no sampler is installed in process 1: it has to call inside\.install"):
        Signals(1, tmp_path / "none")


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("TACHYSCOPE_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "headers_of", lambda python, include: Path(include))
    with pytest.raises(Unavailable, match=r"^no C compiler for the signal sampler: install gcc, or set CC$"):
        library_for(Path(sys.executable))


def test_missing_headers_are_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^no headers of .*: install its development files$"):
        build.headers_of(tmp_path / "python3", "/no/such/folder")


def test_headers_of_a_root_are_found_there(tmp_path: Path) -> None:
    headers = tmp_path / "usr" / "include" / "python3.99"
    (headers / "internal").mkdir(parents=True)
    (headers / "internal" / "pycore_pystate.h").touch()
    assert build.headers_of(tmp_path / "usr" / "bin" / "python3.99", "/usr/include/python3.99") == headers

"""The host's side: when to sample, and what was sampled."""

from __future__ import annotations

import os
import selectors
import signal
import struct
from array import array
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench.real.stacks import Stack

START, STOP = signal.SIGRTMIN + 3, signal.SIGRTMIN + 4
MAGIC = 0x3173676E67697374
TIMEOUT_SECONDS = 60.0

_HEADER = struct.Struct("=8Q")
_TURN, _CODE, _SAMPLE, _FAILED = 1, 2, 3, 4
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class SignalsError(Exception):
    """The sampler in the target cannot do what was asked for; one line, with the remedy."""


class Header(NamedTuple):
    """What the file begins with, see sampler.c."""

    magic: int
    used_words: int
    capacity_words: int
    full: int
    version: int
    interval_ns: int
    ticks: int
    spare: int


class Signals:
    """The sampler in process `pid`, installed with the same `output`."""

    def __init__(self, pid: int, output: Path) -> None:
        self.pid = pid
        self.failed = 0
        """Samples among those last read that were no whole stack, as frames were being linked just then."""
        self._output = Path(output)
        if self._header().magic != MAGIC:  # an unhandled signal would end the process
            raise SignalsError(f"no sampler is installed in process {pid}: it has to call inside.install() first")
        self._answers = os.open(f"{output}.done", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the pipe; sampling goes on if it was not stopped."""
        os.close(self._answers)

    def start(self) -> None:
        """Begin a turn. Returns when it has begun."""
        self._tell(START, b"s")

    def stop(self) -> None:
        """End a turn. Returns when it has ended: from then on no signal comes."""
        self._tell(STOP, b"e")

    def read(self) -> list[Counter[Stack]]:
        """Return the stacks of each turn so far; to be called between turns."""
        header = self._header()
        self._check_room(header.full)
        with self._output.open("rb") as stream:
            stream.seek(_HEADER.size)
            records = array("I", stream.read(4 * min(header.used_words, header.capacity_words)))
        decoder = _Decoder(records)
        self.failed = decoder.failed
        return [decoder.named(turn) for turn in decoder.turns]

    @property
    def ticks(self) -> int:
        """How often the timer has interrupted the target so far."""
        return self._header().ticks

    def _header(self) -> Header:
        try:
            with self._output.open("rb") as stream:
                return Header(*_HEADER.unpack(stream.read(_HEADER.size)))
        except (OSError, struct.error):
            return Header(0, 0, 0, 0, 0, 0, 0, 0)

    def _check_room(self, full: bool | int) -> None:
        if full:
            raise SignalsError(f"{self._output} is full: take fewer turns, or install with more megabytes")

    def _tell(self, command: int, expected: bytes) -> None:
        try:
            os.kill(self.pid, command)
        except ProcessLookupError:
            raise SignalsError(f"process {self.pid} has ended") from None
        answer = self._answer()
        self._check_room(answer == b"f")
        if answer != expected:
            raise SignalsError(f"process {self.pid} answered {answer!r} instead of {expected!r}")

    def _answer(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            if not selector.select(TIMEOUT_SECONDS):
                raise SignalsError(f"process {self.pid} did not answer in {TIMEOUT_SECONDS:.0f} s: is it stopped?")
        answer = os.read(self._answers, 1)
        if not answer:
            raise SignalsError(f"process {self.pid} has ended")
        return answer


class _Decoder:
    """The records, see sampler.c. `turns` count stacks of numbers of code objects, root first."""

    def __init__(self, records: array[int]) -> None:
        self.turns: list[Counter[tuple[int, ...]]] = []
        self.failed = 0
        self._records = records
        self._frames: list[str | None] = []  # by number; None is not a function of the program
        self._stack: tuple[int, ...] = ()
        steps = {_TURN: self._turn, _CODE: self._code, _SAMPLE: self._sample, _FAILED: self._fail}
        at = 0
        while at < len(records):
            at = steps[records[at]](at + 1)

    def named(self, turn: Counter[tuple[int, ...]]) -> Counter[Stack]:
        """Return a turn with names for numbers."""
        found = Counter[Stack]()
        for numbers, count in turn.items():
            frames = (self._frames[number] for number in numbers)
            found[tuple(frame for frame in frames if frame is not None)] += count
        return found

    def _turn(self, at: int) -> int:
        self.turns.append(Counter())
        self._stack = ()
        return at

    def _fail(self, at: int) -> int:
        self.failed += 1
        return at

    def _sample(self, at: int) -> int:
        kept, fresh = self._records[at : at + 2]
        end = at + 2 + fresh
        self._stack = self._stack[:kept] + tuple(self._records[at + 2 : end][::-1])
        self.turns[-1][self._stack] += 1
        return end

    def _code(self, at: int) -> int:
        name, end = self._text(at + 1)
        file, end = self._text(end)
        shim = name == file == "__init__"  # below each `__init__` that the interpreter calls itself (3.12 and later)
        self._frames.append(None if shim else f"{file.rpartition('/')[2]}:{name}:{self._records[at]}")
        return end

    def _text(self, at: int) -> tuple[str, int]:
        length, kind = self._records[at : at + 2]
        end = at + 2 + (length * kind + 3) // 4
        return self._records[at + 2 : end].tobytes()[: length * kind].decode(_CODECS[kind], "replace"), end

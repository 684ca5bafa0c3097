"""What the fuzz tests of detection share: bounds that are watched, and interpreters' files to damage.

`Overrun` is no `Exception`, as the code under test turns those into errors of ours.
"""

from __future__ import annotations

import os
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tachyscope.target.binary import Binary, file_facts

Reader = Callable[[int, int], bytes]
Patch = tuple[int, bytes]  # offset in the file, what to write there

CPU_SECONDS = 10.0
"""What one example may take; the worst that a bound allows takes about two. CPU time, as others may be busy, too."""

EVIL = [0, 1, 2, 3, 7, 8, 24, 64, 0x7F, 0xFF, 0xFFF, 0x1000, 0xFFFF, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
EVIL += [1 << 40, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 24, (1 << 64) - 8, (1 << 64) - 1]
"""Words at which things wrap around, end or begin."""

words = st.one_of(st.sampled_from(EVIL), st.integers(0, (1 << 64) - 1))


def bounded(max_examples: int) -> settings:
    """Return settings with which every run is the same; `within_time` is the deadline."""
    return settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Overrun(BaseException):
    """Something read or computed more than it may."""


@contextmanager
def within_time(seconds: float = CPU_SECONDS) -> Iterator[None]:
    """Fail if what is inside takes more CPU time, or reads more than a meter allows."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Overrun(f"still computing after {seconds} seconds")

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except Overrun as overrun:
        raise AssertionError(str(overrun)) from overrun
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


class Meter:
    """Counts what is read, and stops it at a limit."""

    def __init__(self, max_calls: int, max_bytes: int) -> None:
        self.calls = self.bytes = 0
        self._max_calls, self._max_bytes = max_calls, max_bytes

    def count(self, size: int) -> None:
        """Account for one read."""
        self.calls += 1
        self.bytes += size
        if self.calls > self._max_calls or self.bytes > self._max_bytes:
            raise Overrun(f"{self.calls} reads of {self.bytes} bytes in all")

    def reader(self, read: Reader) -> Reader:
        """Return a reader that is counted."""

        def counted(address: int, size: int) -> bytes:
            self.count(size)
            return read(address, size)

        return counted


class MeteredBinary(Binary):
    """A binary whose reads are counted."""

    def __init__(self, descriptor: int, name: str, meter: Meter) -> None:
        self._meter = meter
        super().__init__(descriptor, name)

    def _read_up_to(self, offset: int, size: int) -> bytes:
        self._meter.count(size)
        return super()._read_up_to(offset, size)


class _Recording(Binary):
    """A binary that notes what is read of it."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.reads: dict[tuple[int, int], None] = {}
        super().__init__(descriptor, name)

    def _read_up_to(self, offset: int, size: int) -> bytes:
        self.reads[offset, size] = None
        return super()._read_up_to(offset, size)


@dataclass(frozen=True)
class Skeleton:
    """What is read of an interpreter's file, piece by piece: all that damage can be done to."""

    name: str
    size: int
    pieces: tuple[tuple[int, bytes], ...]

    @contextmanager
    def file(self, patches: list[Patch], size: int) -> Iterator[IO[bytes]]:
        """Yield a damaged sparse copy, cut off at `size`."""
        with tempfile.TemporaryFile() as copy:
            for offset, data in [*self.pieces, *patches]:
                os.pwrite(copy.fileno(), data, offset)
            os.ftruncate(copy.fileno(), size)
            yield copy


def skeleton(path: Path) -> Skeleton:
    """Return what is read of a file by any of the ways to search it."""
    with path.open("rb") as file:
        binary = _Recording(file.fileno(), str(path))
        file_facts(binary, path.name, thorough=True)
        binary.section(".PyRuntime")
        for kind in ("SHT_DYNSYM", "SHT_SYMTAB"):
            binary._search_table(kind, b"_PyRuntime")
        pieces = [(offset, os.pread(file.fileno(), size, offset)) for offset, size in binary.reads]
    return Skeleton(path.name, path.stat().st_size, tuple(piece for piece in pieces if piece[1]))


@st.composite
def damage(draw: st.DrawFn, victim: Skeleton) -> tuple[list[Patch], int]:
    """Draw what to do to a file: words that say something else, such as where another part lies, and its size."""
    places = st.sampled_from(victim.pieces)
    values = st.one_of(words, places.map(lambda piece: piece[0]), st.integers(0, victim.size))
    patches = []
    for _ in range(draw(st.integers(0, 6))):
        offset, data = draw(places)
        width = draw(st.sampled_from([1, 2, 4, 8]))
        place = (offset + draw(st.integers(0, len(data) - 1))) // width * width
        patches.append((place, (draw(values) % (1 << 8 * width)).to_bytes(width, "little")))
    whole = st.just(victim.size)
    return patches, draw(st.one_of(whole, whole, whole, st.integers(0, victim.size)))


@contextmanager
def elf_file(
    segments: list[tuple[int, int, int]], sections: list[tuple[int, int, int, int]], contents: dict[int, bytes]
) -> Iterator[IO[bytes]]:
    """Yield a sparse ELF file: segments are (type, offset, size), sections (type, offset, size, link)."""
    header = struct.pack(
        "<16s2HI3QI6H", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 512, 0, 64, 56, len(segments), 64, len(sections), 0
    )
    parts = [struct.pack("<2I6Q", kind, 4, offset, offset, 0, size, size, 8) for kind, offset, size in segments]
    described = [struct.pack("<2I4Q2I2Q", 0, *each[:1], 0, 0, *each[1:3], each[3], 0, 8, 24) for each in sections]
    with tempfile.TemporaryFile() as file:
        for offset, data in {0: header + b"".join(parts), 512: b"".join(described), **contents}.items():
            os.pwrite(file.fileno(), data, offset)
        yield file

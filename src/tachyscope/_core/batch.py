"""What a sampler hands over at a time: spans, and the tables that they point to.

Columns are bytes in native order. Ids count from 0 and are never used again by the same sampler; what is new since the
last batch is in this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple


class Status(IntFlag):
    """What is known of a track during a span."""

    UNCERTAIN = 1  # its leaf is known, its callers are not
    RECONSTRUCTED = 2  # something was over before it was read: it is what was there the last time
    TRUNCATED = 4  # it was too deep: the outermost frames are missing
    HOLDS = 16  # the thread has the GIL
    COLLECTS = 32  # ... and collects garbage
    EXCEPTS = 64  # it has an exception: one that is being raised or handled
    ON_CPU = 128  # the kernel runs it, or would like to
    WAITS_GIL = 256  # it waits for the GIL
    FAILED = 512  # its stack could not be read
    STOPPED = 1024  # it stood still while it was read, to check what is read while it runs
    IN_SYSCALL = 2048  # ... and was in a system call


class Track(NamedTuple):
    """A thread state, from tick `begin` on: its address and unique id, the ids of its thread (`native_id` is 0 where
    the target does not keep it) and the address of its interpreter. It was over at tick `end`, 0 while it lives.
    A later row of the same track takes the place of the one before."""

    track: int
    interpreter: int
    address: int
    unique_id: int
    ident: int
    native_id: int
    begin: int
    end: int


class Spans(NamedTuple):
    """Columns, all as long: track and node (uint32), first tick, ticks in a row and how many of these samples stand for
    (uint64), `Status` and which of its bits were looked at (uint16)."""

    track: bytes
    node: bytes
    tick: bytes
    ticks: bytes
    weight: bytes
    status: bytes
    known: bytes


class Nodes(NamedTuple):
    """Columns, all as long: parent node and code object (uint32), byte offset of the instruction (int32), its number
    (uint8, 0: not recorded). Parents come before children; node 0 is the empty stack."""

    parent: bytes
    code: bytes
    offset: bytes
    opcode: bytes


class Corrections(NamedTuple):
    """Ticks that were late by more than a sixth of the interval, and by how many ns: columns of uint64."""

    tick: bytes
    late_ns: bytes


class Anchor(NamedTuple):
    """From here on the times of ticks can be told by `tick_times`."""

    tick: int
    due_ns: int
    next_ns: int
    seed: int
    wander_ns: int


RawCode = tuple[str, str, str, int, bytes]
"""Name, qualified name, file name, first line, location table."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What happened since the last one."""

    tracks: list[Track]
    codes: list[RawCode]
    nodes: Nodes
    spans: Spans
    anchors: list[Anchor]
    corrections: Corrections

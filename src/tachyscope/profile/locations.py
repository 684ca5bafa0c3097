"""Instruction offset -> line and columns, for the location table of each CPython version.

Tables come from another process's memory and may be anything: decoding never raises, reads each byte once
and stops at the first thing that makes no sense; every offset from there on has no line. Offsets are in bytes
from the start of the bytecode. A line is 1-based, 0 = no line; columns are 0-based, in UTF-8 bytes, -1 = not
recorded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import Enum
from operator import attrgetter
from typing import NamedTuple

MAX_TABLE_BYTES = 1 << 20
"""What lies beyond is not decoded: enough for 100,000 lines in one code object, a second or two of work."""
MAX_NUMBER = 2**31 - 1
"""Largest line, column or offset: what fits CPython's `int`."""
CODE_UNIT_BYTES = 2


class TableKind(str, Enum):
    """How a code object's table is written."""

    LNOTAB = "lnotab"
    """`co_lnotab` of 3.8 and 3.9: pairs (bytes forward, signed line delta)."""
    LINETABLE_310 = "linetable-3.10"
    """`co_linetable` of 3.10 (PEP 626): pairs (bytes covered, signed line delta or "no line")."""
    LOCATIONS_311 = "locations-3.11"
    """`co_linetable` of 3.11 and later (PEP 657): entries of varying size, with columns."""

    @classmethod
    def for_version(cls, major: int, minor: int) -> TableKind:
        """Return the kind that a version of CPython writes."""
        if (major, minor) >= (3, 11):
            return cls.LOCATIONS_311
        return cls.LINETABLE_310 if (major, minor) == (3, 10) else cls.LNOTAB


class Entry(NamedTuple):
    """The location of the instructions from byte offset `start` up to, not including, `end`.

    `end_line` equals `line` where the target records no end. Without a line all four are 0, 0, -1, -1.
    """

    start: int
    end: int
    line: int
    end_line: int
    column: int
    end_column: int


NO_LINE = Entry(0, 0, 0, 0, -1, -1)
"""What `lookup` returns for an offset that the table does not cover."""


def decode(kind: TableKind, table: bytes, first_line: int) -> list[Entry]:
    """Return the entries of a table, sorted, without overlaps, neighbours with equal locations joined."""
    entries: list[Entry] = []
    for entry in _DECODERS[kind](table[:MAX_TABLE_BYTES], first_line):
        if entry.end <= entry.start:
            continue
        if entries and entries[-1].end == entry.start and entries[-1][2:] == entry[2:]:
            entry = entry._replace(start=entries.pop().start)
        entries.append(entry)
    return entries


def lookup(entries: Sequence[Entry], offset: int) -> Entry:
    """Return the entry that covers a byte offset, `NO_LINE` if none does."""
    index = bisect_right(entries, offset, key=attrgetter("start")) - 1
    if index < 0 or offset >= entries[index].end:
        return NO_LINE
    return entries[index]


class CodeLines:
    """The locations of one code object, decoded at the first lookup: most code is never sampled at all."""

    __slots__ = ("_entries", "_first_line", "_kind", "_table")

    def __init__(self, kind: TableKind, table: bytes, first_line: int) -> None:
        self._kind = kind
        self._table = table
        self._first_line = first_line
        self._entries: list[Entry] | None = None

    def at(self, offset: int) -> Entry:
        """Return the location of a byte offset; a negative one (not started yet) is at the first line."""
        if offset < 0:
            return _entry(0, 0, self._first_line)
        if self._entries is None:
            self._entries = decode(self._kind, self._table, self._first_line)
            self._table = b""
        return lookup(self._entries, offset)


def _entry(
    start: int, end: int, line: int, end_line: int | None = None, column: int = -1, end_column: int = -1
) -> Entry:
    """Make an entry; a line that cannot be one becomes "no line", such a column "not recorded"."""
    if not 0 < line <= MAX_NUMBER:
        return Entry(start, end, 0, 0, -1, -1)
    if end_line is None or not line <= end_line <= MAX_NUMBER:
        end_line = line
    if not (0 <= column <= MAX_NUMBER and 0 <= end_column <= MAX_NUMBER):
        column = end_column = -1
    return Entry(start, end, line, end_line, column, end_column)


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _decode_lnotab(table: bytes, first_line: int) -> Iterator[Entry]:
    """A pair moves forward first and changes the line after that."""
    start, line = 0, first_line
    for forward, delta in zip(table[0::2], table[1::2], strict=False):
        yield _entry(start, start + forward, line)
        start += forward
        line += _signed(delta)
    yield _entry(start, MAX_NUMBER, line)  # the table does not say where the bytecode ends


def _decode_linetable_310(table: bytes, first_line: int) -> Iterator[Entry]:
    """A pair of no bytes only moves the line; a delta of -128 means no line and leaves the count as it is."""
    start, line = 0, first_line
    for covered, byte in zip(table[0::2], table[1::2], strict=False):
        delta = _signed(byte)
        if delta != -128:
            line += delta
        yield _entry(start, start + covered, line if delta != -128 else 0)
        start += covered


_NO_LOCATION = 15
_LONG = 14
_NO_COLUMNS = 13
_ONE_LINE = 10  # to 12: the code minus this is the line delta


def _decode_locations_311(table: bytes, first_line: int) -> Iterator[Entry]:
    """An entry: one byte with top bit set, 4 bits form, 3 bits (code units - 1); then operands without it."""
    start, line, at = 0, first_line, 0
    while at < len(table) and table[at] & 0x80:
        head = table[at]
        at += 1
        operands_at = at
        while at < len(table) and not table[at] & 0x80:
            at += 1
        form = head >> 3 & 15
        end = start + ((head & 7) + 1) * CODE_UNIT_BYTES
        location = _location(form, table[operands_at:at])
        if location is None:  # every later line depends on this one, so none of them can be told
            return
        line += location[0]
        if form == _NO_LOCATION:
            yield _entry(start, end, 0)
        else:
            yield _entry(start, end, line, line + location[1], location[2], location[3])
        start = end


def _location(form: int, operands: bytes) -> tuple[int, int, int, int] | None:
    """Return (line delta, end line - line, column, end column), None if the operands do not fit the form."""
    if form < _ONE_LINE and len(operands) == 1:
        column = form << 3 | operands[0] >> 4
        return 0, 0, column, column + (operands[0] & 15)
    if _ONE_LINE <= form < _NO_COLUMNS and len(operands) == 2:
        return form - _ONE_LINE, 0, operands[0], operands[1]
    if form == _NO_LOCATION and not operands:
        return 0, 0, -1, -1
    numbers = _varints(operands)
    if form == _NO_COLUMNS and len(numbers) == 1:
        return _zigzag(numbers[0]), 0, -1, -1
    if form == _LONG and len(numbers) == 4:
        return _zigzag(numbers[0]), numbers[1], numbers[2] - 1, numbers[3] - 1
    return None


def _varints(operands: bytes) -> list[int]:
    """Read numbers of 6 bits per byte, lowest first, bit 6 = more to come; an empty list if one is bad."""
    numbers: list[int] = []
    value = shift = 0
    for byte in operands:
        value |= (byte & 63) << shift
        shift += 6
        if byte & 64:
            if shift >= 36:
                return []
            continue
        numbers.append(value)
        value = shift = 0
    return numbers if shift == 0 else []


def _zigzag(number: int) -> int:
    """Undo the signed form: the lowest bit is the sign."""
    return -(number >> 1) if number & 1 else number >> 1


_DECODERS = {
    TableKind.LNOTAB: _decode_lnotab,
    TableKind.LINETABLE_310: _decode_linetable_310,
    TableKind.LOCATIONS_311: _decode_locations_311,
}

"""What the table of functions says, before anybody has drawn it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def percent(share: float) -> str:
    """Return a share (0 to 1) as a number of percent."""
    return f"{share * 100:.1f}"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of time and how many decimals its largest value shown needs."""

    name: str
    per_second: float
    decimals: int

    def text(self, seconds: float) -> str:
        """Return the number without its unit."""
        return f"{seconds * self.per_second:.{self.decimals}f}"

    @classmethod
    def for_seconds(cls, largest: float) -> Unit:
        """Return the unit in which `largest` seconds has a whole part, with about five digits."""
        name, factor = next((unit for unit in _UNITS if largest * unit[1] >= 1), _UNITS[-1])
        value = largest * factor
        return cls(name, factor, 1 if value >= 1000 else 2 if value >= 100 else 3)


_UNITS = (("s", 1.0), ("ms", 1e3), ("μs", 1e6))


@dataclass(frozen=True, slots=True)
class Location:
    """Where a row is, safe to print: `file` in full, `short` just unambiguous, `longer` with a folder.

    Without a file (`<GC>`) these three are empty.
    """

    file: str
    short: str
    longer: str
    line: int
    function: str

    def text(self, file: str) -> str:
        """Return `file:line(function)` with one of the forms of the file."""
        return f"{file}:{self.line}({self.function})" if file else self.function


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table. Times are in seconds, shares between 0 and 1."""

    location: Location
    own: int
    cumulative: int
    own_share: float
    own_margin: float  # the 95 % confidence interval of the true share lies within own_share ± own_margin
    cumulative_share: float
    own_time: float
    cumulative_time: float

    def cells(self, unit: Unit) -> tuple[str, str, str, str, str]:
        """Return the texts of the number columns."""
        return (
            f"{self.own}/{self.cumulative}",
            percent(self.own_share),
            unit.text(self.own_time),
            percent(self.cumulative_share),
            unit.text(self.cumulative_time),
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the summary: a title and (remark, row) pairs."""

    title: str
    rows: Sequence[tuple[str, Line]]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is said. `head` and `foot` stand above and below the table of `lines`."""

    head: Sequence[str]
    lines: Sequence[Line]
    unit: Unit
    foot: Sequence[str]
    legend: Sequence[tuple[str, str]]
    groups: Sequence[Group]
    threads: Sequence[Sequence[str]]  # a table: its head, then a row per thread

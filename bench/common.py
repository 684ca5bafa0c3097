"""What all benchmarks share: rows and their verdicts, alternating rounds, options, tables."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Value = TypeVar("Value")

COLUMNS = ("what", "tachyscope", "peers", "floor / truth", "bar", "verdict")


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table. `met` is None where there is no bar, or nothing to compare with."""

    what: str
    ours: str
    peers: str = "–"
    reference: str = "–"
    bar: str = "–"
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        return {True: "met", False: "MISSED", None: "–"}[self.met]

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of a table, as in `COLUMNS`."""
        return self.what, self.ours, self.peers, self.reference, self.bar, self.verdict


@dataclass
class Report:
    """What one benchmark found. `notes` say what was skipped and why, and how to read the figures."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class Options:
    """How to run: `python` is a version or a path, empty for the benchmark's own choice."""

    quick: bool = False
    python: str = ""

    def pick(self, full: Value, quick: Value) -> Value:
        """Return one of two values."""
        return quick if self.quick else full


Benchmark = Callable[[Options], Report]


def alternate(rounds: int, measures: Mapping[str, Callable[[], Value]]) -> dict[str, list[Value]]:
    """Take all measures in turn, `rounds` times; every other round in reverse order."""
    results: dict[str, list[Value]] = {name: [] for name in measures}
    for number in range(rounds):
        names = list(measures)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            results[name].append(measures[name]())
            _progress(f"round {number + 1} of {rounds}: {name}")
    _progress("")
    return results


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def spread(values: Sequence[float], unit: str = "", scale: float = 1.0, digits: int = 1) -> str:
    """The median with the least and the greatest value: "3.1 % (2.8 to 4.0)"."""
    middle, low, high = (scale * part for part in (median(values), min(values), max(values)))
    return f"{middle:,.{digits}f}{unit} ({low:,.{digits}f} to {high:,.{digits}f})"


def percent(part: float, digits: int = 2) -> str:
    """A share as text."""
    return f"{100 * part:.{digits}f} %"


def one_in(events: int, total: int) -> str:
    """How often something happened: "1 in 25,000", "0 in 100,000", or "25 %" where it is no rare event."""
    if 10 * events > total:
        return percent(events / total, 0)
    return f"1 in {total // events:,}" if events else f"0 in {total:,}"


def main(benchmark: Benchmark, description: str | None) -> None:
    """Run one benchmark from the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; rough")
    parser.add_argument("--python", default="", help="interpreter of the target: a version (3.12) or a path")
    arguments = parser.parse_args()
    start = time.monotonic()
    report = benchmark(Options(arguments.quick, arguments.python))
    print_report(report)
    print(f"({time.monotonic() - start:.0f} s, load {os.getloadavg()[0]:.1f})")


def print_report(report: Report) -> None:
    """Print a table for people."""
    table = [COLUMNS, *(row.cells for row in report.rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(COLUMNS))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for note in report.notes:
        print(f"* {note}")

"""The table of functions: as plain text when piped, through rich (`terminal_table`) on a terminal.

This module decides what is said; both renderings say the same. rich is imported only for a terminal, as it
takes longer to start than everything here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from tachyscope.formats.escape import encodable, printable
from tachyscope.formats.exporter import Exporter
from tachyscope.formats.paths import NO_FILE, ShortPaths, of_profile
from tachyscope.formats.report import Group, Line, Location, Report, Unit, percent
from tachyscope.formats.sorting import Sort
from tachyscope.formats.words import counted
from tachyscope.profile.model import Profile, ThreadInfo, wilson_interval
from tachyscope.profile.summary import LineKey, Row, by_function, by_line, summarize

GROUP_ROWS = 3


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Which rows, in which order, and what stands around them.

    `lines`: a row per executing line instead of per function. `summary`: with legend and summary. `terminal`:
    through rich (None: if the stream is one). `width`: columns of the terminal (None: as it says).
    """

    sort: Sort = "nsamples"
    limit: int = 15
    lines: bool = False
    summary: bool = True
    terminal: bool | None = None
    width: int | None = None


def write(profile: Profile, stream: TextIO, options: TableOptions) -> None:
    """Write the table, legend and summary; for a profile without samples, say so."""
    report = make_report(profile, options)
    if stream.isatty() if options.terminal is None else options.terminal:
        from tachyscope.formats import terminal_table

        terminal_table.write(report, stream, options.width)
    else:
        stream.write(encodable("".join(f"{line}\n" for line in _plain(report)), stream.encoding))


def make_report(profile: Profile, options: TableOptions) -> Report:
    """Return the report on a profile."""
    rows = summarize(profile, by_line if options.lines else by_function)
    lines = sorted(_lines(profile, rows), key=_SORTS["name"])
    shown = sorted(lines, key=_SORTS[options.sort])[: options.limit]
    largest = max((line.cumulative_time for line in shown), default=0.0)
    summary = options.summary and bool(lines)
    what = "line" if options.lines else "function"
    return Report(
        head=[*_head(profile), *(_why_empty(profile) if not lines else ())],
        lines=shown,
        unit=Unit.for_seconds(largest),
        foot=[f"{counted(len(shown), what)} of {len(lines):,}, {_ORDERS[options.sort]}."] if lines else [],
        legend=_legend(what) if summary else (),
        groups=[group for group in _groups(lines, what) if group.rows] if summary else (),
        threads=_threads(profile) if summary and len(profile.threads) > 1 else (),
    )


def _lines(profile: Profile, rows: Sequence[Row[LineKey]]) -> Iterator[Line]:
    paths, samples, seconds = of_profile(profile), profile.samples, profile.seconds_per_sample
    looks = profile.looks
    for row in rows:
        yield Line(
            _location(paths, row.key),
            row.own,
            row.cumulative,
            row.own / samples,
            _margin(row.own / samples, looks),
            row.cumulative / samples,
            row.own * seconds,
            row.cumulative * seconds,
        )


def _margin(share: float, looks: float) -> float:
    low, high = wilson_interval(share * looks, looks)
    return max(share - low, high - share)


def _location(paths: ShortPaths, key: LineKey) -> Location:
    function, line = key
    name = printable(function.qualname)
    if function.filename in NO_FILE:
        return Location("", "", "", 0, name)
    short, longer = paths.short(function.filename), paths.short(function.filename, at_least=2)
    return Location(printable(function.filename), printable(short), printable(longer), line, name)


def _by_name(line: Line) -> tuple[str, int, str]:
    return line.location.file, line.location.line, line.location.function


def _most_own(line: Line) -> tuple[int, int]:
    return -line.own, -line.cumulative


def _most_cumulative(line: Line) -> tuple[int, int]:
    return -line.cumulative, -line.own


# Times and shares are samples times a constant, so each of these orders serves three columns.
_SORTS: dict[Sort, Callable[[Line], tuple[int | str, ...]]] = {
    "nsamples": _most_own,
    "sample-pct": _most_own,
    "tottime": _most_own,
    "nsamples-cumul": _most_cumulative,
    "cumul-pct": _most_cumulative,
    "cumtime": _most_cumulative,
    "name": _by_name,
}
_ORDERS: dict[Sort, str] = {
    "nsamples": "most direct samples first",
    "sample-pct": "largest share of samples first",
    "tottime": "longest own time first",
    "nsamples-cumul": "most cumulative samples first",
    "cumul-pct": "largest cumulative share first",
    "cumtime": "longest cumulative time first",
    "name": "by file, line and name",
}


def _head(profile: Profile) -> Iterator[str]:
    target, accuracy = profile.target, profile.accuracy
    command = printable(" ".join(target.command)) or "a program"
    python = f", Python {printable(target.python_version)}" if target.python_version else ""
    threads = counted(len(profile.threads), "thread")
    sampled = f"{counted(profile.samples, 'sample')} in {_duration(accuracy.duration_s)}, {threads}"
    yield f"Profile of {command} (process {target.pid}{python}): {sampled}"
    if profile.samples:
        spent_s, whole = profile.samples * profile.seconds_per_sample, accuracy.samples + accuracy.left_out
        if accuracy.left_out:
            share = percent(profile.samples / whole)
            yield f"100 % is what the mode counts of the sampled threads' time: {_duration(spent_s)}, {share} % of it."
        else:
            yield f"100 % is the time of the sampled threads: {_duration(spent_s)}."
    idle = profile.totals().get(0, 0)
    if 0 < idle < profile.samples:
        share = percent(idle / profile.samples)
        yield f"{counted(idle, 'sample')} ({share} %) found no Python code running."


def _why_empty(profile: Profile) -> Iterator[str]:
    accuracy = profile.accuracy
    if profile.samples:
        yield "No Python code was running in any sample: the threads were starting, ending or in C code."
    elif accuracy.failed:
        yield f"There are no samples: all {counted(accuracy.failed, 'attempt')} to read a stack failed."
    elif accuracy.left_out:
        yield (
            f"There are no samples: the mode left out all {accuracy.left_out:,} of them. "
            "In wall mode waiting threads count too."
        )
    else:
        yield "There are no samples: the program ended, or sampling was stopped, before the first."


def _duration(seconds: float) -> str:
    if not seconds:
        return "0 s"
    unit = Unit.for_seconds(seconds)
    return f"{unit.text(seconds)} {unit.name}"


def _legend(what: str) -> Sequence[tuple[str, str]]:
    return (
        ("nsamples", f"direct/cumulative samples: the {what} itself ran / it or anything it called ran"),
        ("sample %", "direct samples as a share of all samples"),
        ("tottime", f"time in the {what} itself"),
        ("cumul %", "cumulative samples as a share of all samples"),
        ("cumtime", f"time in the {what} and everything it called; recursion is counted once"),
    )


def _groups(lines: Sequence[Line], what: str) -> Iterator[Group]:
    hottest = sorted((line for line in lines if line.own), key=_most_own)
    yield Group(
        f"Hottest {what}s (most direct samples)",
        [(f"{percent(line.own_share)} % direct", line) for line in hottest[:GROUP_ROWS]],
    )
    calling = [line for line in lines if line.cumulative > line.own]
    by_gap = sorted(calling, key=lambda line: (line.own - line.cumulative, line.own))
    yield Group(
        f"{what.capitalize()}s that mostly call others (largest gap between cumulative and direct)",
        [
            (f"{percent(line.cumulative_share)} % cumulative, {percent(line.own_share)} % direct", line)
            for line in by_gap[:GROUP_ROWS]
        ],
    )
    by_ratio = sorted((line for line in calling if line.own), key=lambda line: (-line.cumulative / line.own, -line.own))
    yield Group(
        "Highest ratio of cumulative to direct (a little work of their own, much below)",
        [(f"{line.cumulative / line.own:,.1f} ×", line) for line in by_ratio[:GROUP_ROWS]],
    )


THREADS_HEAD = ("samples", "GIL %", "waiting %", "CPU %", "GC %", "exception %", "thread")
THREADS_SHOWN = 10


def _threads(profile: Profile) -> Sequence[Sequence[str]]:
    """Return the table of threads: those that held the GIL most, or were sampled most."""
    ranked = sorted(profile.threads, key=lambda thread: (-thread.gil_held, -thread.samples, thread.tid))
    rows = [THREADS_HEAD, *map(_thread, ranked[:THREADS_SHOWN])]
    left = len(ranked) - THREADS_SHOWN
    return [*rows, ("", "", "", "", "", "", f"and {counted(left, 'more thread')}")] if left > 0 else rows


def _thread(thread: ThreadInfo) -> Sequence[str]:
    name = printable(thread.name) or ("main" if thread.is_main else "unnamed")
    parts = (thread.gil_held, thread.collecting, thread.exceptions)
    held, collecting, exceptions = (percent(part / thread.seen) if thread.seen else "-" for part in parts)
    looks = (thread.gil_waiting, thread.on_cpu)
    waiting, on_cpu = (percent(part / thread.cpu_known) if thread.cpu_known else "-" for part in looks)
    return (f"{thread.samples:,}", held, waiting, on_cpu, collecting, exceptions, f"{name} ({thread.tid})")


def _plain(report: Report) -> Iterator[str]:
    """Yield the lines for a pipe or file: complete names, no colour, the same whatever the terminal is."""
    yield from report.head
    if report.lines:
        yield ""
        yield from _plain_table(report)
        yield ""
    yield from report.foot
    if report.legend:
        yield from ("", "Legend")
        width = max(len(name) for name, _ in report.legend)
        yield from (f"  {name:<{width}}  {meaning}" for name, meaning in report.legend)
    if report.threads:
        yield from ("", "Threads")
        widths = [max(map(len, column)) for column in zip(*report.threads, strict=True)]
        for cells in report.threads:
            numbers = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells[:-1], widths[:-1], strict=True))
            yield f"  {numbers}  {cells[-1]}"
    for group in report.groups:
        yield from ("", group.title)
        width = max(len(remark) for remark, _ in group.rows)
        for remark, line in group.rows:
            yield f"  {remark:>{width}}  {line.location.text(line.location.file)}"


def _plain_table(report: Report) -> Iterator[str]:
    unit = report.unit.name
    heads = ("nsamples", "sample %", f"tottime ({unit})", "cumul %", f"cumtime ({unit})")
    rows = [line.cells(report.unit) for line in report.lines]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    places = [line.location.text(line.location.file) for line in report.lines]
    for cells, place in zip((heads, *rows), ("file:line(function)", *places), strict=True):
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) + "  " + place


EXPORTER = Exporter(TableOptions, write)

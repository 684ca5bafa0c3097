"""The table on a terminal: aligned to its width, in colour, no row without its function's whole name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tachyscope.formats.escape import encodable
from tachyscope.formats.report import Group, Line, Location, Report, percent

MINIMUM_PLACE = 30
"""Columns that a location needs beside the numbers; with fewer it gets a line of its own."""
ROOMY = 100
"""Columns from which on there are two spaces between columns, and the confidence interval of the shares."""
SHARE = 1
"""The column of the own share."""
PLACE_HEAD = "file:line(function)"
HOT, WARM = 0.2, 0.05
"""Shares of own samples from which on a row is marked."""


def write(report: Report, stream: TextIO, width: int | None = None) -> None:
    """Write a report to a terminal of `width` columns (None: as it says itself)."""
    console = Console(file=stream, width=width, force_terminal=True, markup=False, emoji=False, highlight=False)
    title, *rest = report.head
    console.print(_safe(title, console, "bold"))
    for line in rest:
        console.print(_safe(line, console, "dim"))
    if report.lines:
        console.print()
        _write_rows(report, console)
        console.print()
    for line in report.foot:
        console.print(_safe(line, console, "dim"))
    _write_legend(report, console)
    _write_threads(report, console)
    for group in report.groups:
        _write_group(group, console)


def _write_rows(report: Report, console: Console) -> None:
    """Numbers left, location right; below each other where that leaves too little for the location."""
    unit = report.unit.name
    heads = ["nsamples\n", "sample\n%", f"tottime\n({unit})", "cumul\n%", f"cumtime\n({unit})"]
    rows = [list(line.cells(report.unit)) for line in report.lines]
    if console.width >= ROOMY:
        heads.insert(SHARE + 1, "±\n")
        for cells, line in zip(rows, report.lines, strict=True):
            cells.insert(SHARE + 1, percent(line.own_margin))
    gap = 2 if console.width >= ROOMY else 1
    numbers = sum(_width(heads[i], [row[i] for row in rows]) + gap for i in range(len(heads)))
    beside = console.width - numbers >= MINIMUM_PLACE
    room = console.width - numbers if beside else console.width - 2
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for head in heads:
        table.add_column(_safe(head, console), justify="right", no_wrap=True)
    if beside:
        table.add_column(f"{PLACE_HEAD}\n", overflow="fold")
        for line, cells in zip(report.lines, rows, strict=True):
            table.add_row(*_numbers(line, cells), _place(line.location, room, console, _heat(line)))
        console.print(table)
        return
    for line, cells in zip(report.lines, rows, strict=True):
        table.add_row(*_numbers(line, cells))
    printed = _rendered(table, console)
    places = [_place(line.location, room, console, _heat(line)) for line in report.lines]
    console.print(printed[0])  # the head has two lines
    for numbers_line, place in zip(printed[1:], [Text(PLACE_HEAD, "bold"), *places], strict=True):
        console.print(numbers_line)
        console.print(Padding(place, (0, 0, 0, 2)))


def _width(head: str, cells: Sequence[str]) -> int:
    return max(len(text) for text in (*head.split("\n"), *cells))


def _rendered(table: Table, console: Console) -> list[Text]:
    """Return the lines of a table as texts, so that others can stand between them."""
    lines = console.render_lines(table)
    return [Text.assemble(*((part.text, part.style or "") for part in line)) for line in lines]


def _heat(line: Line) -> str:
    return "bold red" if line.own_share >= HOT else "yellow" if line.own_share >= WARM else ""


def _numbers(line: Line, cells: Sequence[str]) -> list[Text]:
    """Colour what is hot: the share and the time of the function itself."""
    heat = _heat(line)
    return [Text(cell, heat if index in (SHARE, len(cells) - 3) else "") for index, cell in enumerate(cells)]


def _place(location: Location, room: int, console: Console, style: str = "") -> Text:
    """Return a location with the longest form of its file that fits `room` columns, else on two lines."""
    if not location.file:
        return _safe(location.function, console, style)
    for file in (location.longer, location.short):
        if cell_len(location.text(file)) <= room:
            break
    else:
        return _two_lines(location, room, console, style)
    return Text.assemble(
        _safe(f"{file}:{location.line}", console, "dim"), _safe(f"({location.function})", console, style)
    )


def _two_lines(location: Location, room: int, console: Console, style: str) -> Text:
    """The file, cut from the left if it must be, and below it the function in full."""
    file = f"{location.longer}:{location.line}"
    if cell_len(file) > room:
        file = f"{location.short}:{location.line}"
    if cell_len(file) > room:
        file = f"…{file[-room:]}"
        while cell_len(file) > room:  # a character may take two columns
            file = f"…{file[2:]}"
    return Text.assemble(_safe(f"{file}\n", console, "dim"), _safe(f"({location.function})", console, style))


def _safe(text: str, console: Console, style: str = "") -> Text:
    return Text(encodable(text, console.encoding), style)


def _write_legend(report: Report, console: Console) -> None:
    if not report.legend:
        return
    console.print()
    console.print(Text("Legend", "bold"))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    margin = ("±", "half of the 95 % confidence interval of sample %") if console.width >= ROOMY else None
    legend = [*report.legend[: SHARE + 1], *([margin] if margin else ()), *report.legend[SHARE + 1 :]]
    for name, meaning in legend:
        table.add_row(Text(name), _safe(meaning, console, "dim"))
    console.print(Padding(table, (0, 0, 0, 2)))


def _write_threads(report: Report, console: Console) -> None:
    if not report.threads:
        return
    console.print()
    console.print(Text("Threads", "bold"))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    *numbers, name = report.threads[0]
    for head in numbers:
        table.add_column(_safe(head, console), justify="right")
    table.add_column(_safe(name, console), overflow="fold")
    for cells in report.threads[1:]:
        table.add_row(*(_safe(cell, console) for cell in cells))
    console.print(Padding(table, (0, 0, 0, 2)))


def _write_group(group: Group, console: Console) -> None:
    console.print()
    console.print(Text(group.title, "bold"))
    width = max(len(remark) for remark, _ in group.rows)
    room = console.width - width - 4
    for remark, line in group.rows:
        if room >= MINIMUM_PLACE:
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(width=width, justify="right")
            table.add_column(overflow="fold")
            table.add_row(_safe(remark, console), _place(line.location, room, console))
            console.print(Padding(table, (0, 0, 0, 2)))
        else:
            console.print(Padding(_safe(remark, console), (0, 0, 0, 2)))
            console.print(Padding(_place(line.location, console.width - 4, console), (0, 0, 0, 4)))

"""Location tables, decoded here and by the interpreters that wrote them.

Each interpreter that is installed answers for itself: one process per version compiles generated sources and
tells, for every code object, the raw table and what CPython itself makes of it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import INTERPRETERS

from tachyscope.profile.locations import (
    MAX_NUMBER,
    MAX_TABLE_BYTES,
    NO_LINE,
    CodeLines,
    Entry,
    TableKind,
    decode,
    lookup,
)

# A source (a JSON string) per line in, a list of code objects per line out. `truth` has, for each code unit,
# [line, end line, column, end column] as CPython says; below 3.11 only the line counts. Runs on 3.8.
WORKER = r"""
import dis, json, sys, types

def lines_310(code, truth):
    for start, end, line in code.co_lines():
        for unit in range(start // 2, min(end // 2, len(truth))):
            truth[unit] = [line, line, None, None]

def lines_38(code, truth):
    starts = list(dis.findlinestarts(code)) + [(len(code.co_code), None)]
    for (start, line), (end, _) in zip(starts, starts[1:]):
        for unit in range(start // 2, end // 2):
            truth[unit] = [line, line, None, None]

def describe(code):
    truth = [None] * (len(code.co_code) // 2)
    if sys.version_info >= (3, 11):
        truth = [list(position) for position in code.co_positions()]
        of_lines = list(truth)
        lines_310(code, of_lines)
        assert [one[0] for one in of_lines] == [one[0] for one in truth]
    elif sys.version_info >= (3, 10):
        lines_310(code, truth)
    else:
        lines_38(code, truth)
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    yield [code.co_firstlineno, table.hex(), truth]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from describe(constant)

for request in sys.stdin:
    try:
        answer = list(describe(compile(json.loads(request), "generated", "exec")))
    except (SyntaxError, RecursionError, MemoryError) as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
"""


class CannotCompileError(Exception):
    """The interpreter refuses the source."""


class Worker:
    """An interpreter that compiles sources and tells the truth about them."""

    def __init__(self, version: str, executable: Path) -> None:
        self.version = version
        major, minor = (int(part) for part in version.partition("-")[0].split("."))
        self.kind = TableKind.for_version(major, minor)
        self._process = subprocess.Popen(
            [executable, "-W", "ignore", "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def describe(self, source: str) -> list[tuple[int, bytes, list[list[int | None] | None]]]:
        """Return (first line, table, truth per code unit) of each code object."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()
        answer: Any = json.loads(self._process.stdout.readline())
        if not isinstance(answer, list):
            raise CannotCompileError(answer)
        return [(first_line, bytes.fromhex(table), truth) for first_line, table, truth in answer]

    def close(self) -> None:
        """End the interpreter."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module", params=INTERPRETERS)
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    one = Worker(request.param, INTERPRETERS[request.param])
    yield one
    one.close()


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    """All interpreters at once."""
    every = [Worker(version, executable) for version, executable in INTERPRETERS.items()]
    yield every
    for one in every:
        one.close()


def expected(truth: list[int | None] | None) -> tuple[int, int, int, int]:
    """What the model says where CPython says `truth`: 0 for no line, -1 for no column."""
    line, end_line, column, end_column = truth or (None, None, None, None)
    if not line:
        return 0, 0, -1, -1
    if column is None or end_column is None:
        column = end_column = -1
    return line, end_line or line, column, end_column


def check(worker: Worker, source: str) -> None:
    """Compare every code unit of every code object with what its interpreter says."""
    for first_line, table, truth in worker.describe(source):
        entries = decode(worker.kind, table, first_line)
        check_shape(entries)
        lines = CodeLines(worker.kind, table, first_line)
        for unit, each in enumerate(truth):
            for offset in (2 * unit, 2 * unit + 1):
                assert lookup(entries, offset)[2:] == expected(each), (worker.version, offset, source)
            assert lines.at(2 * unit) == lookup(entries, 2 * unit)
        if worker.kind is not TableKind.LNOTAB:
            assert lookup(entries, 2 * len(truth)) == NO_LINE


def check_shape(entries: list[Entry]) -> None:
    """Entries are sorted, not empty, do not overlap, and hold what they may."""
    for entry in entries:
        assert 0 <= entry.start < entry.end
        assert 0 <= entry.line <= entry.end_line <= MAX_NUMBER
        assert (entry.column == -1) == (entry.end_column == -1)
        assert min(entry.column, entry.end_column) >= -1
        if not entry.line:
            assert entry[2:] == NO_LINE[2:]
    for left, right in pairwise(entries):
        assert left.end == right.start
        assert left[2:] != right[2:]


# --- generated sources

names = st.sampled_from(["a", "b", "value", "x" * 40, "ähm", "名"])
blank = st.sampled_from([0, 0, 0, 1, 2, 126, 127, 128, 129, 255, 256, 300])
padding = st.sampled_from(["", "", " " * 3, " " * 130, " " * 300])


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """An expression, with line breaks in places that take them and gaps of many lines or columns."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.one_of(names, st.integers(0, 999).map(str), st.just("'text'")))
    inner = expressions(depth - 1)
    left, right, third = draw(inner), draw(inner), draw(inner)
    gap = "\n" * draw(blank) + draw(padding)
    return draw(
        st.sampled_from(
            [
                f"({left}{gap} + {gap}{right})",
                f"f({left},{gap}{right})({third})",
                f"[{left},{gap}{right}, *{third}]",
                f"(lambda a,{gap} b={left}:{gap}{right})",
                f"[{left} for a in {gap}{right} if {third}]",
                f"{{{left}: {right} for a, b in {gap}{third}}}",
                f"({left}{gap} if {right} else{gap} {third})",
                f"(({left}){gap}.attribute{gap}.other[{right}])",
                f"({left} <{gap} {right} <{gap} {third})",
                f"f'{{a}} {{b}}'{gap}" if not gap.count("\n") else f"({left}{gap})",
                f"({left}{gap} and {right}{gap} or not {third})",
                f"({' + '.join([left[:30] if left.isidentifier() else 'a'] * 40)})",
            ]
        )
    )


@st.composite
def statements(draw: st.DrawFn, depth: int = 2) -> list[str]:
    """The lines of a statement; blank lines between them, some far apart."""
    value = expressions(2)
    simple = [
        [f"{draw(names)} = {draw(value)}"],
        [draw(value)],
        ["a = b = value", "del a"],
        ["pass"] * draw(st.integers(1, 3)),
        [f"assert {draw(value)}, {draw(value)}"],
        [f"value.x[{draw(value)}] += {draw(value)}"],
        ["a = 1; b = 2; value = f(a, b)"],
        ["value = f(a, b, value, a.b.c) + f(b)"] * draw(st.sampled_from([1, 40, 90])),
    ]
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(simple))
    body, other = draw(blocks(depth - 1)), draw(blocks(depth - 1))
    head = draw(value)
    return draw(
        st.sampled_from(
            [
                [f"if {head}:", *body, "else:", *other],
                [f"while {head}:", *body, "    if a: break", "    continue", "else:", *other],
                [f"for a, *b in {head}:", *body],
                ["try:", *body, "except (ValueError,", "   KeyError) as error:", *other, "finally:", *body],
                [f"with {head} as a, f(b) as b:", *body],
                ["@f", f"@f({head})", f"def g(a, b={head}, *c: {head}, **d):", *body, f"    return {head}"],
                ["@f", "class Inner(a,", "   b):", "    'text'", *body],
                [
                    "async def h(a):",
                    *body,
                    "    async with a as b: await b",
                    "    return [x async for x in a]",
                ],
                ["def k(a):", *body, f"    yield {head}", "    yield from a"],
            ]
        )
    )


@st.composite
def blocks(draw: st.DrawFn, depth: int = 1) -> list[str]:
    """Statements as an indented block."""
    lines: list[str] = []
    for statement in draw(st.lists(statements(depth), min_size=1, max_size=3)):
        lines += [""] * draw(blank)
        lines += statement
    return [f"    {line}" if line else "" for line in lines]


sources = blocks(2).map(lambda lines: "\n".join(["if 1:", *lines]) + "\n")


@pytest.mark.parametrize("examples", [10, pytest.param(100, marks=pytest.mark.long)])
def test_every_instruction_has_the_line_that_its_interpreter_says(workers: list[Worker], examples: int) -> None:
    """To make up a source takes longer than to check it, so each is for all interpreters."""

    @given(source=sources)
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def check_everywhere(source: str) -> None:
        for worker in workers:
            check(worker, source)

    check_everywhere()


FIXED = {
    "empty": "",
    "one line": "a = 1",
    "far below": "def f():\n" + "\n" * 70_000 + "    return 1\n",
    "far right": "def f():\n    return (" + " " * 5_000 + "a.b(c))\n",
    "backwards": "f(\n" + "\n" * 400 + "a,\n" + "\n" * 400 + "b)(\nc)\n",
    "long line": "a = " + " + ".join(["b"] * 2_000) + "\n",
    "long function": "def f(a):\n" + "    a = a + 1\n" * 5_000,
    "jump back": "for a in (\n" + "\n" * 200 + "b):\n" + "    c(a)\n" * 200,
    "finally": "def f():\n    try:\n        return a\n    finally:\n        b()\n    return c\n",
    "no line": "def f():\n    with a:\n        with b:\n            pass\n    try: c\n    finally: d\n",
}


@pytest.mark.parametrize("source", FIXED.values(), ids=FIXED.keys())
def test_fixed_sources(worker: Worker, source: str) -> None:
    check(worker, source)


@pytest.mark.parametrize("module", ["argparse", "ast", "dataclasses", "inspect", "typing", "asyncio.base_events"])
def test_modules_of_the_standard_library(worker: Worker, module: str) -> None:
    path = Path(__import__("os").__file__).parent / f"{module.replace('.', '/')}.py"
    try:
        worker.describe(source := path.read_text(encoding="utf-8"))
    except CannotCompileError:
        pytest.skip("written for a newer grammar")
    check(worker, source)


# --- hostile tables


@given(
    kind=st.sampled_from(TableKind),
    table=st.binary(max_size=400),
    first_line=st.integers(-(2**31), 2**31 - 1),
)
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_well_formed_entries(kind: TableKind, table: bytes, first_line: int) -> None:
    entries = decode(kind, table, first_line)
    check_shape(entries)
    assert len(entries) <= len(table) + 1
    lines = CodeLines(kind, table, first_line)
    for offset in (-1, 0, 1, 2, 17, 10**6, MAX_NUMBER, 2**64):
        assert lines.at(offset).line >= 0


entry_bytes = st.tuples(st.integers(128, 255), st.binary(max_size=12).map(lambda raw: bytes(b & 127 for b in raw)))
plausible = st.lists(entry_bytes.map(lambda pair: bytes([pair[0]]) + pair[1])).map(b"".join)


@given(table=plausible, first_line=st.integers(-10, 2**31 - 1))
@settings(max_examples=500, deadline=None)
def test_any_entries_of_3_11_give_well_formed_entries(table: bytes, first_line: int) -> None:
    check_shape(decode(TableKind.LOCATIONS_311, table, first_line))


@pytest.mark.parametrize("kind", TableKind)
def test_a_huge_table_is_cut(kind: TableKind) -> None:
    entries = decode(kind, b"\xff" * (2 * MAX_TABLE_BYTES), 1)
    assert len(entries) <= MAX_TABLE_BYTES
    check_shape(entries[:100])


def test_what_follows_a_corrupt_entry_has_no_line() -> None:
    good = bytes([0x80 | 13 << 3, 2])  # one unit, line + 1
    corrupt = bytes([0x80 | 14 << 3, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F])
    lines = CodeLines(TableKind.LOCATIONS_311, good + corrupt + good, 10)
    assert lines.at(0) == Entry(0, 2, 11, 11, -1, -1)
    assert lines.at(2) == lines.at(4) == NO_LINE


def test_a_frame_that_has_not_started_is_at_the_first_line() -> None:
    assert CodeLines(TableKind.LNOTAB, b"", 7).at(-1).line == 7
    assert CodeLines(TableKind.LNOTAB, b"", -7).at(-1) == NO_LINE

"""Every text and file format, made from one fixture profile and compared with golden files.

After a wanted change, write them anew and read the difference:

    UPDATE_GOLDEN=1 python -m pytest tests/test_formats.py && git diff tests/golden
"""

from __future__ import annotations

import io
import marshal
import os
import pstats
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tachyscope.formats import FORMATS, load
from tachyscope.formats.escape import encodable, printable
from tachyscope.formats.paths import ShortPaths
from tachyscope.formats.pstats_table import TableOptions, make_report
from tachyscope.formats.report import Unit
from tachyscope.profile.model import (
    Accuracy,
    Frame,
    Function,
    Profile,
    StackTree,
    TargetInfo,
    ThreadInfo,
)
from tachyscope.profile.summary import by_function, by_line, summarize

GOLDEN = Path(__file__).parent / "golden"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def function(qualname: str, filename: str, first_line: int) -> Function:
    return Function(qualname.rpartition(".")[2], qualname, filename, first_line)


SHOP, LIB = "/home/ann/shop/", "/usr/lib/python3.11/"
MODULE = function("<module>", SHOP + "report.py", 1)
MAIN = function("main", SHOP + "report.py", 40)
LOAD = function("load_orders", SHOP + "orders.py", 12)
LOADS = function("loads", LIB + "json/__init__.py", 299)
DECODE = function("JSONDecoder.decode", LIB + "json/decoder.py", 332)
RAW_DECODE = function("JSONDecoder.raw_decode", LIB + "json/decoder.py", 343)
B64 = function("b64decode", LIB + "encodings/decoder.py", 5)
TOTAL = function("Basket.total", SHOP + "pricing.py", 20)
GENEXPR = function("Basket.total.<locals>.<genexpr>", SHOP + "pricing.py", 22)
TAX = function("TaxTable.rate_for_region_and_category", SHOP + "pricing.py", 88)
FIB = function("fib", SHOP + "numbers.py", 3)
FIND = function("_find_and_load", "<frozen importlib._bootstrap>", 1165)
COLLECT = Function("<GC>", "<GC>", "~", 0)
WEIRD = [
    function("semi;colon", "/tmp/a;b.py", 1),
    function("new\nline", "/tmp/a\nb.py", 2),
    function("\x1b[31mred\x1b[0m", "/tmp/\x1b]0;title\x07.py", 3),
    function("[bold]markup[/bold]", "/tmp/[red]x.py", 4),
    function("\u202eevil\u202c", "<string>", 5),
    function("colon:12", "C:\\odd\\path.py", 6),
    function("ends in 12", "~", 0),
    function("名前:smile:" + "n" * 90, "/tmp/" + "very_long_directory_name/" * 6 + "名前.py", 7),
    function("lone \udc80 surrogate", "relative.py", 8),
]


def profile(*threads: tuple[ThreadInfo, dict[tuple[Frame, ...], int]], seconds: float = 1.2431) -> Profile:
    """A profile of the stacks (root first) of some threads."""
    tree = StackTree()
    counts = [{tree.add(stack): count for stack, count in stacks.items()} for _, stacks in threads]
    samples = sum(sum(each.values()) for each in counts)
    ticks = max(sum(each.values()) for each in counts)
    target = TargetInfo(4321, ("report.py", "--month", "2024-05"), "3.11.7")
    accuracy = Accuracy(100.0, seconds, ticks, samples)
    return Profile(target, accuracy, [thread for thread, _ in threads], tree, counts)


def shop_stacks() -> dict[tuple[Frame, ...], int]:
    module, main = Frame(MODULE, 60), Frame(MAIN, 44)
    loading = (module, main, Frame(LOAD, 15), Frame(LOADS, 346))
    pricing = (module, Frame(MAIN, 47), Frame(TOTAL, 21))
    stacks: dict[tuple[Frame, ...], int] = {
        (): 40,
        (*loading, Frame(DECODE, 337), Frame(RAW_DECODE, 353)): 3120,
        (*loading, Frame(DECODE, 337)): 410,
        loading: 35,
        (module, main, Frame(LOAD, 15), Frame(B64, 7)): 60,
        (module, main, Frame(LOAD, 17)): 620,
        (module, main, Frame(LOAD, 17), Frame(COLLECT, 0)): 75,
        (*pricing, Frame(GENEXPR, 22), Frame(TAX, 95)): 2890,
        (*pricing, Frame(GENEXPR, 22)): 1700,
        pricing: 190,
        (Frame(MODULE, 2), Frame(FIND, 1178)): 240,
        (module, main): 12,
    }
    for depth in range(1, 9):
        stacks[(module, Frame(MAIN, 50), *[Frame(FIB, 6)] * depth, Frame(FIB, 5))] = 100 + 40 * depth
    return stacks


ONE = ThreadInfo(4321, "MainThread", True)


def weird_stacks() -> dict[tuple[Frame, ...], int]:
    frames = [Frame(each, 10 + index) for index, each in enumerate(WEIRD)]
    return {tuple(frames[: index + 1]): 7 + index for index in range(len(frames))}


PROFILES = {
    "shop": profile((ONE, shop_stacks())),
    "threads": profile(
        (ONE, shop_stacks()),
        (
            ThreadInfo(4400, "worker; 1", False, 1000, 1000, 310, 12, 4, 90, 27, 45),
            {(Frame(TAX, 95), Frame(FIB, 5)): 900, (): 100},
        ),
        (ThreadInfo(4401), {(Frame(TAX, 96), Frame(FIB, 5)): 30}),
    ),
    "weird": profile((ONE, weird_stacks())),
    "huge": profile((ONE, {(Frame(MAIN, 41),): 90_000_000, (Frame(MAIN, 41), Frame(FIB, 5)): 1}), seconds=9e6),
    "tiny": profile((ONE, {(Frame(MAIN, 41),): 2, (Frame(MAIN, 41), Frame(FIB, 5)): 1}), seconds=4.2e-6),
    "empty": profile((ONE, {}), seconds=0.0),
}


def export(name: str, of: Profile, **options: Any) -> str:
    """Return what a text format writes, as if piped unless the options say otherwise."""
    exporter = load(name)
    stream = io.StringIO()
    exporter.write(of, stream, exporter.options(**options))
    return stream.getvalue()


def check_golden(name: str, text: str) -> None:
    """Compare with the golden file of that name, or write it (see the top)."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture
def colour_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def on_terminal(of: Profile, width: int, **options: Any) -> str:
    """Return the table as on a terminal, without colours and trailing spaces."""
    text = ANSI.sub("", export("pstats", of, terminal=True, width=width, **options))
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


# --- golden files


@pytest.mark.parametrize("which", PROFILES)
@pytest.mark.parametrize("lines", [False, True], ids=["functions", "lines"])
def test_collapsed_golden(which: str, lines: bool) -> None:
    check_golden(f"{which}{'_lines' * lines}.collapsed.txt", export("collapsed", PROFILES[which], lines=lines))


@pytest.mark.parametrize("which", PROFILES)
def test_piped_table_golden(which: str) -> None:
    check_golden(f"{which}.table.txt", export("pstats", PROFILES[which]))


def test_piped_table_of_lines_golden() -> None:
    check_golden("shop_lines.table.txt", export("pstats", PROFILES["shop"], lines=True, limit=10, sort="name"))


@pytest.mark.parametrize("which", ["shop", "weird", "empty", "threads"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_terminal_table_golden(which: str, width: int, colour_terminal: None) -> None:
    check_golden(f"{which}.table_{width}.txt", on_terminal(PROFILES[which], width))


@pytest.mark.parametrize("which", PROFILES)
def test_pstats_file_golden(which: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.pstats"
    with path.open("wb") as stream:
        load("pstats-file").write(PROFILES[which], stream, load("pstats-file").options())
    out = io.StringIO()
    stats = pstats.Stats(str(path), stream=out)
    stats.sort_stats("tottime", "name").print_stats().print_callers().print_callees()
    text = re.sub(r"^.*profile\.pstats\n", "", out.getvalue())
    # The spacing of these reports is that of the Python that runs the tests.
    check_golden(f"{which}.pstats.txt", "".join(f"{' '.join(line.split())}\n" for line in text.splitlines()))


# --- the table


def test_exporters_name_their_files() -> None:
    names = {name: form.default_name(12) for name, form in FORMATS.items()}
    assert names == {
        "pstats": "pstats_12.txt",
        "pstats-file": "pstats_12.pstats",
        "collapsed": "collapsed_12.txt",
    }


def test_a_pipe_does_not_pay_for_rich() -> None:
    code = (
        "import sys; from tachyscope.formats import load; from test_formats import PROFILES\n"
        "exporter = load('pstats')\n"
        "exporter.write(PROFILES['shop'], sys.stdout, exporter.options())\n"
        "assert not any(name.partition('.')[0] == 'rich' for name in sys.modules), 'rich'\n"
    )
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent / "src"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "ascii", "TERM": "xterm-256color"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "JSONDecoder.raw_decode" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("which", PROFILES)
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("lines", [False, True])
def test_a_terminal_shows_every_name_whole_and_nothing_else(
    which: str, width: int, lines: bool, colour_terminal: None
) -> None:
    from rich.cells import cell_len

    text = on_terminal(PROFILES[which], width, lines=lines, limit=1000)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert all(char.isprintable() for line in text.splitlines() for char in line)
    squeezed = re.sub(r"\s+", "", text)
    for each in make_report(PROFILES[which], TableOptions(lines=lines, limit=1000)).lines:
        assert re.sub(r"\s+", "", each.location.function) in squeezed


def test_the_hottest_rows_are_marked(colour_terminal: None) -> None:
    rows = export("pstats", PROFILES["shop"], terminal=True, width=120, summary=False).splitlines()
    marked = [ANSI.sub("", row) for row in rows if "\x1b[1;31m" in row]
    assert [row.split()[1] for row in marked] == ["26.8", "24.8"]


def test_an_ascii_terminal_gets_no_character_that_it_lacks(colour_terminal: None) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    for which in PROFILES.values():
        load("pstats").write(which, stream, TableOptions(terminal=True, width=80))
        load("pstats").write(which, stream, TableOptions())
        load("collapsed").write(which, stream, load("collapsed").options())
    stream.flush()
    assert raw.getvalue().isascii()


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("nsamples", "JSONDecoder.raw_decode"),
        ("tottime", "JSONDecoder.raw_decode"),
        ("sample-pct", "JSONDecoder.raw_decode"),
        ("cumtime", "<module>"),
        ("cumul-pct", "<module>"),
        ("nsamples-cumul", "<module>"),
        ("name", "fib"),
    ],
)
def test_sort(sort: Any, first: str) -> None:
    lines = make_report(PROFILES["shop"], TableOptions(sort=sort, limit=2)).lines
    named = [line.location.function for line in lines]
    assert len(named) == 2
    assert named[0] == ("<GC>" if sort == "name" else first)


def test_no_summary_leaves_the_table() -> None:
    text = export("pstats", PROFILES["shop"], summary=False)
    assert "Legend" not in text
    assert "Hottest" not in text
    assert "file:line(function)" in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({}, "ended"), ({"failed": 12}, "12 attempts"), ({"left_out": 1200}, "1,200")],
)
def test_an_empty_profile_says_why(changes: dict[str, int], reason: str) -> None:
    empty = PROFILES["empty"]
    empty = replace(empty, accuracy=replace(empty.accuracy, **changes))
    assert reason in export("pstats", empty)
    idle = profile((ONE, {(): 12}))
    assert "12 samples" in export("pstats", idle)
    assert "No Python code" in export("pstats", idle)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.000 μs"),
        (4e-9, "0.004 μs"),
        (0.0012, "1.200 ms"),
        (0.5, "500.00 ms"),
        (1.0, "1.000 s"),
        (2e6, "2000000.0 s"),
    ],
)
def test_units_of_time(seconds: float, text: str) -> None:
    unit = Unit.for_seconds(seconds)
    assert f"{unit.text(seconds)} {unit.name}" == text


# --- random profiles

functions = [function(name, path, line) for name, path, line in [
    ("a", "x/m.py", 1), ("b", "x/m.py", 9), ("a", "y/m.py", 1), ("C.a", "y/m.py", 1), ("<GC>", "~", 0),
]]  # fmt: skip
frames = st.builds(Frame, st.sampled_from(functions), st.integers(0, 3))
stacks = st.dictionaries(st.lists(frames, max_size=7).map(tuple), st.integers(1, 1000), max_size=12)
profiles = st.lists(stacks, min_size=1, max_size=3).map(
    lambda threads: profile(*((ThreadInfo(10 + index), each) for index, each in enumerate(threads)))
)


def naive(of: Profile, key: Any) -> tuple[Counter[Any], Counter[Any], Counter[Any], Counter[Any]]:
    """Own and cumulative samples of keys, and of calls, by looking at each stack on its own."""
    own: Counter[Any] = Counter()
    cumulative: Counter[Any] = Counter()
    own_calls: Counter[Any] = Counter()
    cumulative_calls: Counter[Any] = Counter()
    for _, stack, count in of.stacks():
        keys = [key(frame) for frame in stack]
        own.update({keys[-1]: count} if keys else {})
        cumulative.update(dict.fromkeys(keys, count))
        calls = list(pairwise(keys))
        own_calls.update({calls[-1]: count} if calls else {})
        cumulative_calls.update(dict.fromkeys(calls, count))
    return own, cumulative, own_calls, cumulative_calls


@given(of=profiles, key=st.sampled_from([by_function, by_line]))
def test_summary_equals_a_naive_count(of: Profile, key: Any) -> None:
    rows = summarize(of, key)
    calls = {(caller, row.key): samples for row in rows for caller, samples in row.callers.items()}
    got = (
        {row.key: row.own for row in rows if row.own},
        {row.key: row.cumulative for row in rows},
        {call: samples.own for call, samples in calls.items() if samples.own},
        {call: samples.cumulative for call, samples in calls.items()},
    )
    assert got == naive(of, key)


@given(of=profiles, lines=st.booleans())
def test_shares_never_exceed_the_whole(of: Profile, lines: bool) -> None:
    report = make_report(of, TableOptions(lines=lines, limit=1000))
    assert all(0 <= line.own_share <= line.cumulative_share <= 1 for line in report.lines)
    assert sum(line.own for line in report.lines) <= of.samples
    numbers = re.findall(r"([0-9.]+) %", export("pstats", of, lines=lines))
    assert all(float(number) <= 100 for number in numbers)


@given(of=profiles, lines=st.booleans())
def test_pstats_loads_every_file(of: Profile, lines: bool) -> None:
    raw = io.BytesIO()
    load("pstats-file").write(of, raw, load("pstats-file").options(lines=lines))
    loaded = marshal.loads(raw.getvalue())
    for direct, cumulative, own_time, time_, callers in loaded.values():
        assert direct <= cumulative
        assert own_time <= time_
        assert all(caller in loaded for caller in callers)
        assert all(caller[1] <= caller[0] <= cumulative for caller in callers.values())
        assert sum(caller[1] for caller in callers.values()) <= direct
    own = sum(value[0] for value in loaded.values())
    assert own == of.samples - of.totals().get(0, 0)


# --- collapsed, read back

ESCAPE = re.compile(r"\\(\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
texts = st.text(max_size=12) | st.sampled_from([function.qualname for function in WEIRD])


def unescape(text: str) -> str:
    simple = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
    return ESCAPE.sub(lambda found: simple.get(found[1]) or chr(int(found[1][1:], 16)), text)


def read_collapsed(text: str) -> Counter[tuple[str, ...]]:
    """Read as flamegraph.pl does: the last number is the samples, `;` separates frames."""
    read: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        found = re.fullmatch(r"(.*)\s+?([0-9]+(?:\.[0-9]*)?)", line)
        assert found
        assert not re.fullmatch(r"(.*)\s+?([0-9]+(?:\.[0-9]*)?)", found[1]), "a second number"
        stack = tuple(found[1].split(";"))
        assert stack not in read
        read[stack] += int(found[2])
    return read


@given(
    st.lists(st.tuples(st.lists(st.tuples(texts, texts, st.integers(0, 10**6)), max_size=5), st.integers(1, 10**9))),
    st.sampled_from([0, 1, 2]),
)
def test_collapsed_reads_back(given_stacks: list[Any], extra_threads: int) -> None:
    """With whatever names, each line has the stack's frames and samples."""
    wanted: Counter[tuple[Frame, ...]] = Counter()
    for stack, count in given_stacks:
        wanted[tuple(Frame(Function(name, name, path, line), 1) for path, name, line in stack)] += count
    extra = [(ThreadInfo(7 + index, "x;\n 12"), {}) for index in range(extra_threads)]
    of = profile((ThreadInfo(5, "first ; 1"), dict(wanted)), *extra)
    paths = ShortPaths(frame.function.filename for stack in wanted for frame in stack)
    expected: Counter[tuple[str, ...]] = Counter()
    for frame_stack, count in wanted.items():
        labels = [
            f"{paths.short(frame.function.filename)}:{frame.function.name}:{frame.function.first_line}"
            if frame.function.filename not in ("", "~")
            else frame.function.name or "<unnamed>"
            for frame in frame_stack
        ]
        if labels:
            expected[(*["thread:first ; 1 (5)"] * bool(extra), *labels)] += count
    got = read_collapsed(export("collapsed", of))
    unescaped: Counter[tuple[str, ...]] = Counter()
    for texts_of_stack, count in got.items():
        unescaped[tuple(map(unescape, texts_of_stack))] += count
    assert unescaped == expected


# --- paths and escapes


@pytest.mark.parametrize(
    ("paths", "short"),
    [
        (["/usr/lib/json/decoder.py"], ["decoder.py"]),
        (["/usr/json/decoder.py", "/usr/enc/decoder.py"], ["json/decoder.py", "enc/decoder.py"]),
        (["/a/x/m.py", "/b/x/m.py", "/b/y/m.py"], ["a/x/m.py", "b/x/m.py", "y/m.py"]),
        (["m.py", "x/m.py", "/x/m.py"], ["m.py", "x/m.py", "/x/m.py"]),
        (["<string>", "<frozen importlib._bootstrap>"], ["<string>", "<frozen importlib._bootstrap>"]),
        (["<a/b>", "/x/<a/b>"], ["<a/b>", "x/<a/b>"]),
        (["", "/", "a/", "b/a/"], ["", "/", "a/", "b/a/"]),
    ],
)
def test_short_paths(paths: list[str], short: list[str]) -> None:
    shorter = ShortPaths(paths)
    assert [shorter.short(path) for path in paths] == short


@given(st.sets(st.lists(st.sampled_from(["a", "b", "", "<x", "y>"]), max_size=5).map("/".join), max_size=12))
def test_short_paths_differ_and_are_ends(paths: set[str]) -> None:
    shorter = ShortPaths(paths)
    for at_least in (1, 2):
        short = {path: shorter.short(path, at_least) for path in paths}
        assert len(set(short.values())) == len(paths)
        assert all(path.endswith(short[path]) for path in paths)
        assert all(short[path] or not path for path in paths)


@given(st.text())
def test_what_is_printable_says_what_it_was(text: str) -> None:
    assert printable(text).isprintable()
    assert unescape(printable(text)) == text
    assert encodable(printable(text), "ascii").isascii()


# --- size


CPU_SECONDS = 20.0
"""It takes about one; whatever grows with the square of the nodes takes minutes."""


def test_many_nodes_and_deep_recursion_are_quick() -> None:
    tree, counts = StackTree(), {}
    ring = [Frame(function(f"f{index}", f"/src/{index % 300}.py", index), index) for index in range(2_000)]
    for branch in range(100):
        node = 0
        for depth in range(1_000):
            node = tree.child(node, ring[(branch * 7 + depth % (branch + 1)) % len(ring)])
        counts[node] = 1
    base = PROFILES["shop"]
    big = Profile(base.target, base.accuracy, base.threads, tree, [counts])
    assert len(tree) > 90_000
    for name in ("pstats", "collapsed"):
        start = time.process_time()
        export(name, big)
        assert time.process_time() - start < CPU_SECONDS

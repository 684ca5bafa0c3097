"""`--check`: true shares pass, wrong ones are named; judged by draws through its own statistics, and by real runs."""

from __future__ import annotations

import random
import re
import sys
from array import array
from collections import Counter
from pathlib import Path

import pytest
from core_support import PROGRAMS, go_on
from support import spawn_target, tachyscope

from tachyscope import attach
from tachyscope._core.batch import Batch, Corrections, Nodes, Spans, Status
from tachyscope.cli.checking import NONE, verdict
from tachyscope.cli.options import sampling
from tachyscope.cli.parser import parse
from tachyscope.errors import UsageError
from tachyscope.profile.check import BEFORE, WORTH, Checker, Comparison, compare
from tachyscope.profile.collector import Collector
from tachyscope.sampling.options import Sampling
from tachyscope.sampling.session import Session

RUNS = 200
SHARES = (0.3, 0.25, 0.2, 0.1, 0.08, 0.04, 0.02, 0.01)
PER_S = 20


def collector() -> Collector:
    """Return the tables of a program of as many functions as there are shares."""
    made = Collector((3, 13))
    count = len(SHARES) + 1
    codes = [(f"f{each}", f"f{each}", "a.py", each + 1, b"") for each in range(count)]
    columns = (bytes(4 * count), array("I", range(count)).tobytes(), bytes(4 * count), bytes(count))
    nothing = Spans(b"", b"", b"", b"", b"", b"", b"")
    made.add(Batch([], codes, Nodes(*columns), nothing, [], Corrections(b"", b"")))
    return made


def drawn(chance: random.Random, stops: int, moved: float = 0.0) -> Comparison:
    """Return the comparison of a run with so many stops. `moved` is how much the running samples take from the first
    function, and give to the second one."""
    nodes = range(1, len(SHARES) + 1)
    running = (SHARES[0] - moved, SHARES[1] + moved, *SHARES[2:])
    checker = Checker()
    checker.stopped = Counter(chance.choices(nodes, SHARES, k=stops))
    checker.before = [Counter(chance.choices(nodes, running, k=stops)) for _ in BEFORE]
    made = compare([(checker, collector())], stops / PER_S)
    assert made is not None
    return made


def test_true_shares_pass() -> None:
    chance = random.Random(1)
    for stops in (40, 200, 1000):
        runs = [drawn(chance, stops) for _ in range(RUNS)]
        assert sum(not run.differences for run in runs) >= 0.95 * RUNS, stops
        assert sum(run.distance <= run.chance_most for run in runs) >= 0.85 * RUNS


def test_a_wrong_share_is_named_in_a_run_of_the_length_that_it_asks_for() -> None:
    chance = random.Random(2)
    stops = int(PER_S * drawn(chance, 200).enough_s)
    runs = [drawn(chance, stops, moved=WORTH) for _ in range(RUNS // 2)]
    named = [{each.function for each in run.differences} for run in runs]
    assert sum("a.py:2(f1)" in each for each in named) >= 0.95 * len(runs), stops
    assert all(run.resolution < WORTH + 0.003 for run in runs)
    assert sum(run.distance > run.chance_most for run in runs) == len(runs)


def test_what_stands_beside_a_stop() -> None:
    """The samples some ticks before it, of the same thread, whichever batch they were in; not those that failed."""
    checker = Checker()
    rows = [
        (0, 1, 0, 80, 0), (1, 7, 0, 95, 0), (0, 2, 80, 10, 0), (0, 3, 90, 5, Status.FAILED), (0, 4, 95, 5, 0),
        (0, 5, 100, 1, Status.STOPPED | Status.IN_SYSCALL),
    ]  # fmt: skip
    for part in (rows[:3], rows[3:]):
        columns = [[row[field] for row in part] for field in range(5)]
        checker.add(
            Batch(
                [], [], Nodes(b"", b"", b"", b""),
                Spans(array("I", columns[0]).tobytes(), array("I", columns[1]).tobytes(),
                      array("Q", columns[2]).tobytes(), array("Q", columns[3]).tobytes(), b"",
                      array("H", columns[4]).tobytes(), b""),
                [], Corrections(b"", b""),
            )
        )  # fmt: skip
    assert checker.stopped == checker.in_calls == {5: 1}
    beside = {before: list(counts) for counts, before in zip(checker.before, BEFORE, strict=True)}
    assert [beside[each] for each in (3, 5, 6, 10, 11, 20, 21, 22)] == [[4], [4], [], [], [2], [2], [1], [1]]


def test_functions_in_system_calls_are_left_out() -> None:
    checker = Checker()
    checker.stopped, checker.in_calls = Counter({1: 50, 2: 50}), Counter({1: 40, 2: 3})
    checker.before = [Counter({1: 10, 2: 90}) for _ in BEFORE]
    made = compare([(checker, collector())], 10)
    assert made is not None
    assert made.left_out == ("a.py:2(f1)",)
    assert made.differences == ()


def test_what_is_said() -> None:
    assert list(verdict(None)) == [NONE]
    true, wrong = drawn(random.Random(3), 400), drawn(random.Random(3), 9_000, moved=0.1)
    (line,) = verdict(true)
    assert re.fullmatch(
        r"--check: 400 stopped samples and those before them differ by \d\.\d points of self shares; "
        r"chance alone makes \d\.\d, seldom more than \d\.\d\. "
        r"No function differs: this run would have seen \d+\.\d points; 5 need \d+ s",
        line,
    )
    lines = list(verdict(wrong))
    assert "These do not agree" in lines[0]
    pattern = r"--check: a\.py:2\(f1\) has (19|20)\.\d %, and (29|30)\.\d % when stopped"
    assert any(re.fullmatch(pattern, each) for each in lines)


def test_a_real_run(python: Path) -> None:
    """A loop and a short function; whoever is stopped is so for some 20 samples of each second, and no more."""
    with (
        spawn_target(python, PROGRAMS / "activities.py", "compute,handle", "5", "2.5") as target,
        Session(target.pid, Sampling(100_000, check=True)) as session,
    ):
        session.attach()
        go_on(target)
        session.sample(2.0)
        made, profile = session.comparison(), session.profile()
    assert made is not None
    assert 10 <= made.stops <= 2 * PER_S * profile.accuracy.duration_s
    assert made.left_out == ()
    assert all(abs(each.running - each.stopped) < 0.3 for each in made.differences), made
    assert profile.accuracy.pauses.count == 0 or profile.accuracy.samples > 100 * profile.accuracy.pauses.count


def test_it_says_so(tmp_path: Path) -> None:
    code = "import time\nend = time.monotonic() + 1.5\ndef work():\n    for i in range(1000): pass\n"
    run = tachyscope("run", "--check", "-o", str(tmp_path / "out"), "-c", f"{code}while time.monotonic() < end: work()")
    assert run.returncode == 0
    assert re.search(r"tachyscope: --check: \d+ stopped samples and those before them differ", run.stderr), run.stderr


@pytest.mark.parametrize("other", [["--blocking"], ["--mode", "cpu"]])
def test_what_it_does_not_go_with(other: list[str]) -> None:
    with pytest.raises(UsageError, match=f"check has no meaning with {' '.join(other).removeprefix('--')}"):
        sampling(parse(["attach", "--check", *other, "1"]))


def test_without_it_nobody_is_stopped() -> None:
    busy = "print('ready', flush=True)\nwhile True: pass"
    with spawn_target(sys.executable, busy) as target, attach(target.pid) as session:
        session.sample(0.2)
        assert session.comparison() is None
        states = [state for states in session.profile().states for state in states]
    assert states
    assert not any(status & Status.STOPPED for _, status, _ in states)

"""Which stacks are possible, and what follows from that: a program run under `sys.setprofile` on each version."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

if sys.version_info < (3, 11):
    pytest.skip("the benchmarks need Python 3.11 or later", allow_module_level=True)

from bench.real import contexts, report, samplers
from bench.real.contexts import Contexts
from bench.real.distance import Off
from bench.real.figures import Figures, expected_distinct
from bench.real.measure import HERE, TARGET

STEADY = "target.py:steady:1"


def test_a_tree_tells_what_is_possible() -> None:
    found = Contexts({(0, "x.py:f:1"): 1, (1, "x.py:g:2"): 2, (3, "threading.py:run:9"): 4}, (3,), {})
    assert found.possible(("x.py:<module>:1", STEADY)) is True
    assert found.possible((STEADY, "x.py:f:1", "x.py:g:2")) is True
    assert found.possible((STEADY, "x.py:g:2")) is False
    assert found.possible((STEADY, "x.py:f:1", "x.py:f:1")) is False
    assert found.possible(("threading.py:run:9",)) is True
    assert found.possible(("x.py:f:1",)) is False
    assert found.possible(("<uncertain>", "x.py:g:2")) is None


def test_contexts_of_a_real_program(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHYSCOPE_CACHE", str(tmp_path))
    found = contexts.contexts([str(python), str(TARGET), "small/callback"], [HERE / "small" / "callback.py"])
    (kept,) = (samplers.cache_directory() / "contexts").iterdir()
    assert kept.suffix == ".json"
    chains = {frame.split(":")[1].rpartition(".")[2]: frame for _, frame in found.children}
    iterate, work, cap = chains["iterate"], chains["work"], chains["cap"]
    assert found.possible((STEADY, iterate, work, cap)) is True
    assert found.possible((STEADY, iterate, cap)) is False
    assert found.possible((STEADY, iterate, work, cap, cap)) is False
    assert found.calls[cap] > found.calls[iterate] == 1


def test_a_program_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHYSCOPE_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match="no program: there is no file"):
        contexts.contexts([sys.executable, str(TARGET), "small/absent"], [TARGET])


def test_a_program_dies_with_who_started_it() -> None:
    starter = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE); "
        "p.stdout.readline(); print(p.pid, flush=True)"
    )
    command = [sys.executable, "-c", starter, sys.executable, str(TARGET), "small/fib"]
    pid = int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        pass  # it is being killed; a test that hangs here ends by the suite's limit


@given(st.dictionaries(st.integers(0, 50).map(lambda n: (str(n),)), st.integers(1, 100), min_size=1))
def test_distinct_stacks_at_equal_samples(counted: dict[tuple[str, ...], int]) -> None:
    stacks = Counter(counted)
    shown = [expected_distinct(stacks, samples) for samples in (1, 10, 100, 1_000_000)]
    assert shown == sorted(shown) and shown[0] == pytest.approx(1)
    assert shown[-1] == pytest.approx(len(counted))


def test_the_table_names_what_is_wrong() -> None:
    right = Figures("1 kHz", "stopped", 1000, 2.0, 2.5, [], [], 0.0, 0.99, {"failed": 0.0})
    wrong = Figures(
        "10 kHz", "stopped", 1000, 25.0, 2.0, [Off("re.py:cap:1", 4.0, 27.0)], [], 0.1, 0.9, {"missed": 2.0}
    )
    text = report.document({("resub", "3.13"): [right, wrong]}, [], "this")
    assert "| resub | stopped | -0.5 (2.5) | 23.0 (2.0), 1 + 0 | 0.10 % | 90 % | missed 2.0 |" in text
    assert "- resub, 10 kHz, self: `re.py:cap:1` 27.0 → 4.0 %" in text
    assert "| 3.13 | 1 | -0.5 / -0.5 | 23.0 / 23.0 | – |" in text and "1 of 1" in text

"""The line that helps whoever reads a result where a run mostly waited."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import tachyscope

# To start takes longer on a busy machine, and is no waiting, so they wait for long.
WAITS = {
    "subprocess": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(1.5)'])",
    "multiprocessing": "import multiprocessing, time\n"
    "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(1.5,))\nchild.start(); child.join()",
}


def messages(code: str, *options: str) -> str:
    run = tachyscope("run", "-r", "1khz", "-o", "out.txt", "--collapsed", *options, "-c", code)
    assert run.returncode == 0
    return run.stderr


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("how", WAITS)
def test_who_waits_for_children_is_told_of_subprocesses(how: str) -> None:
    hint = r"\d\d % of the time it waited for its child processes: --subprocesses shows where theirs goes"
    assert re.search(hint, messages(WAITS[how]))
    assert "child processes" not in messages(WAITS[how], "--subprocesses")


def test_who_waits_is_told_where() -> None:
    said = messages("import time\ndef idle(): time.sleep(1.5)\nidle()")
    assert re.search(
        r"\d+ % of the time it waited, most of it in <string>:2\(idle\) \(\d+ %\); --mode cpu leaves", said
    )


def test_who_works_is_told_nothing() -> None:
    assert "waited" not in messages("for _ in range(10_000_000): pass")


def test_who_leaves_waiting_out_is_told_nothing() -> None:
    assert "waited" not in messages("import time; time.sleep(0.3)", "--mode", "cpu")

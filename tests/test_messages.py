"""What is said about how the sampling went: each number with what it is a share of, nothing that did not happen."""

from __future__ import annotations

import pytest

from tachyscope.cli.messages import missed_much, sampled
from tachyscope.profile.model import Accuracy, Pauses, Profile, StackTree, TargetInfo, ThreadInfo


def said(accuracy: Accuracy, threads: int = 1, processes: int = 1) -> str:
    target = TargetInfo(7, ("python", "app.py"), "3.13.0")
    return sampled(Profile(target, accuracy, [ThreadInfo(tid) for tid in range(threads)], StackTree(), []), processes)


@pytest.mark.parametrize(
    ("accuracy", "text"),
    [
        (
            Accuracy(100, 2.0, ticks=20_000, samples=20_000, reads=20_000),
            "20,000 samples of process 7 (Python 3.13.0) in 2.00 s; 10,000 of 10,000 a second",
        ),
        (
            Accuracy(1000, 0.001, ticks=1, samples=1, reads=1),
            "1 sample of process 7 (Python 3.13.0) in 0.00 s; 1,000 of 1,000 a second",
        ),
        (
            Accuracy(100, 1.0, ticks=10_000, samples=9_000, failed=100, missed=444, reads=9_100, truncated=90),
            "9,000 samples of process 7 (Python 3.13.0) in 1.00 s; 9,100 of 10,000 a second; "
            "100 of 9,100 failed (1.10 %); "
            "444 of 10,000 ticks missed, the machine was busy (4.44 %); 90 cut at the depth limit (1.00 %)",
        ),
        (
            Accuracy(100, 1.0, ticks=10**4, samples=1_000, left_out=9_000, reads=10**4, uncertain=12, reconstructed=5),
            "1,000 samples of process 7 (Python 3.13.0) in 1.00 s; 10,000 of 10,000 a second; "
            "9,000 of 10,000 left out by the mode (90.00 %); "
            "5 with a part that was over before it could be read (0.50 %); "
            "12 with callers that are not certain (1.20 %; --blocking shows them)",
        ),
        (
            Accuracy(1000, 1.0, ticks=1_000, samples=1_000, reads=1_000, pauses=Pauses(1, 0.0001, 30, 90)),
            "1,000 samples of process 7 (Python 3.13.0) in 1.00 s; 1,000 of 1,000 a second; "
            "stopped 1 time for 30 us (99 %: 90 us), 0.0 % of the time",
        ),
        (
            Accuracy(100, 0.0, ticks=0, samples=0),
            "no samples of process 7 (Python 3.13.0): it ended before the first one",
        ),
    ],
)
def test_how_it_went(accuracy: Accuracy, text: str) -> None:
    assert said(accuracy) == text


def test_threads_and_processes() -> None:
    accuracy = Accuracy(100, 1.0, ticks=10_000, samples=20_000, reads=10_000)
    assert said(accuracy, threads=2).startswith("20,000 samples of 2 threads of process 7 (Python 3.13.0) in")
    assert said(accuracy, processes=3).startswith("20,000 samples of 3 processes, 7 the first, in")


@pytest.mark.parametrize(("missed", "warns"), [(0, False), (1_000, False), (1_001, True), (9_000, True)])
def test_many_missed_ticks_are_a_warning(missed: int, warns: bool) -> None:
    warning = missed_much(Accuracy(100, 1.0, ticks=10_000, samples=10_000 - missed, missed=missed))
    assert (warning is not None) is warns
    assert warning is None or warning.startswith(f"{missed / 100:.0f} % of the ticks were missed: shares may be off")

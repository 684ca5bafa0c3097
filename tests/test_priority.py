"""What the thread that samples asks of the scheduler, and that nobody keeps it."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from tachyscope._core.sampler import ask_for_slice
from tachyscope.sampling import scheduling
from tachyscope.sampling.scheduling import MODEST_INTERVAL_NS, NICE, Priority, be_ordinary

Value = TypeVar("Value")


def _nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def _in_thread(action: Callable[[], Value]) -> Value:
    """A thread of its own, so that nothing that a test does to its priority stays."""
    results: list[Value] = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    thread.join()
    return results[0]


def _may_go_before_others() -> bool:
    def try_it() -> bool:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError:
            return False
        return True

    return _in_thread(try_it)


needs_nice = pytest.mark.skipif(
    not _may_go_before_others() or os.nice(0) != 0, reason="needs root or CAP_SYS_NICE, and nice 0"
)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """What the clocks will say: the last of these, (time, CPU time)."""
    said = [(0.0, 0.0)]
    monkeypatch.setattr(scheduling, "_clocks", lambda: said[-1])
    return said


@needs_nice
def test_it_goes_before_others_while_it_samples() -> None:
    def action() -> list[int]:
        before = _nice()
        with Priority(MODEST_INTERVAL_NS):
            meanwhile = _nice()
        return [before, meanwhile, _nice()]

    assert _in_thread(action) == [0, NICE, 0]


@needs_nice
def test_an_error_gives_it_back() -> None:
    def action() -> int:
        with pytest.raises(RuntimeError), Priority(MODEST_INTERVAL_NS):
            raise RuntimeError
        return _nice()

    assert _in_thread(action) == 0


@needs_nice
def test_who_takes_much_does_not(clocks: list[tuple[float, float]]) -> None:
    def action() -> list[int]:
        seen = []
        with Priority(MODEST_INTERVAL_NS - 1) as asked:
            seen.append(_nice())
            for now in ((1.0, 0.2), (2.0, 0.8), (3.0, 1.2)):  # a fifth of a CPU, more than half of one, less again
                clocks.append(now)
                asked.adjust()
                seen.append(_nice())
        return seen

    assert _in_thread(action) == [0, NICE, 0, NICE]


def test_a_given_nice_value_is_kept() -> None:
    def action() -> list[int]:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        with Priority(MODEST_INTERVAL_NS) as asked:
            asked.adjust()
            meanwhile = _nice()
        return [meanwhile, _nice()]

    assert _in_thread(action) == [5, 5]


@needs_nice
def test_threads_of_the_one_that_samples_can_be_ordinary() -> None:
    def ordinary() -> list[int]:
        inherited = _nice()
        be_ordinary()
        return [inherited, _nice()]

    def action() -> list[int]:
        with Priority(MODEST_INTERVAL_NS):
            return _in_thread(ordinary)

    assert _in_thread(action) == [NICE, 0]


def test_the_time_slice_is_given_back() -> None:
    def action() -> tuple[int, int]:
        before = ask_for_slice(3_000_000)
        with Priority(MODEST_INTERVAL_NS):
            pass
        return ask_for_slice(before), 3_000_000

    given, asked = _in_thread(action)
    assert given in (0, asked)  # 0: the kernel knows no such slices


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become nobody")
def test_who_may_not_samples_all_the_same() -> None:
    code = (
        "import os; from tachyscope.sampling.scheduling import Priority; os.setgid(65534); os.setuid(65534)\n"
        "with Priority(100_000) as asked: asked.adjust(); print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"

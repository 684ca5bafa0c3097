"""The truth from a target that stands still: stop it at random moments, look, let it go on.

The kernel stops the target between two machine instructions, wherever it is, and nothing moves while the stack is read
by the readable twin of the unwinder. Slow, and it disturbs the target, but how long a read takes does not matter.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from bench.profilers import Stack
from bench.targets import Target
from tachyscope import CorruptTarget
from tachyscope._core import reference
from tachyscope._core.memory import Reader
from tachyscope.target import runtime

Result = TypeVar("Result")
LONGEST_PAUSE_S = 0.0004
GLANCE_EVERY_S = 0.0001


class Stopper:
    """Looks at the main thread of a target that this process started."""

    def __init__(self, target: Target) -> None:
        self._pid = target.pid
        self._read = Reader(target.pid)
        self._runtime = runtime.find_runtime(target.pid, self._read)
        self._thread = runtime.main_thread(self._runtime, self._read)
        self._names: dict[int, str] = {}
        self.leaves: dict[int, str] = {}
        """Where innermost frames lay, and the function of the last one that did."""

    def look(self) -> Stack | None:
        """Stop it, return its stack root first (None if it is at no readable place), let it go on."""
        os.kill(self._pid, signal.SIGSTOP)
        os.waitpid(self._pid, os.WUNTRACED)
        try:
            found = reference.unwind(self._read, self._runtime.layout, self._thread)
            if found.frames:
                self.leaves[found.frames[0].address] = self._name(found.frames[0].code)
            return tuple(self._name(frame.code) for frame in reversed(found.frames))
        except (CorruptTarget, OSError):  # between two states
            return None
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def glance(self) -> int:
        """The address of the current frame, nothing else, and without stopping the target."""
        return reference.current_frame(self._read, self._runtime.layout, self._thread)

    def _name(self, code: int) -> str:
        """Names are remembered: only for targets whose code objects stay."""
        if code not in self._names:
            self._names[code] = reference.read_code(self._read, self._runtime.layout, code).name
        return self._names[code]


def _again_and_again(action: Callable[[], Result], seconds: float, longest_pause_s: float) -> Iterator[Result]:
    """At random moments."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield action()
        time.sleep(random.random() * longest_pause_s)


def stacks(target: Target, seconds: float) -> Counter[Stack | None]:
    """Look at a target again and again."""
    return Counter(_again_and_again(Stopper(target).look, seconds, LONGEST_PAUSE_S))


def visible_share(target: Target, functions: Collection[str], seconds: float) -> float:
    """In which part of the moments another CPU finds one of these functions' frames to be the current one.

    Where they lie is found out first, in the stopped target; they have to come back to the same places.
    """
    stopper = Stopper(target)
    for _ in _again_and_again(stopper.look, seconds / 2, LONGEST_PAUSE_S):
        pass
    frames = {address for address, function in stopper.leaves.items() if function in functions}
    glances = Counter(_again_and_again(stopper.glance, seconds / 2, 2 * GLANCE_EVERY_S))
    return sum(glances[frame] for frame in frames) / glances.total()

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

from bench.profilers import Stack
from bench.targets import Target
from tachyscope import CorruptTarget
from tachyscope._core import reference
from tachyscope._core.memory import Reader
from tachyscope.target import runtime

LONGEST_PAUSE_S = 0.0004


class Stopper:
    """Looks at the main thread of a target that this process started."""

    def __init__(self, target: Target) -> None:
        self._pid = target.pid
        self._read = Reader(target.pid)
        self._runtime = runtime.find_runtime(target.pid, self._read)
        self._thread = runtime.main_thread(self._runtime, self._read)
        self._names: dict[int, str] = {}

    def look(self) -> Stack | None:
        """Stop it, return its stack root first (None if it is at no readable place), let it go on."""
        os.kill(self._pid, signal.SIGSTOP)
        os.waitpid(self._pid, os.WUNTRACED)
        try:
            found = reference.unwind(self._read, self._runtime.layout, self._thread)
            return tuple(self._name(frame.code) for frame in reversed(found.frames))
        except (CorruptTarget, OSError):  # between two states
            return None
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def _name(self, code: int) -> str:
        """Names are remembered: only for targets whose code objects stay."""
        if code not in self._names:
            self._names[code] = reference.read_code(self._read, self._runtime.layout, code).name
        return self._names[code]


def stacks(target: Target, seconds: float) -> Counter[Stack | None]:
    """Look at a target again and again, at random moments."""
    stopper, counts, generator = Stopper(target), Counter[Stack | None](), random.Random()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        counts[stopper.look()] += 1
        time.sleep(generator.random() * LONGEST_PAUSE_S)
    return counts

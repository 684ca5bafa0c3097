"""Being let in on time when all CPUs are busy: what the thread that samples asks of the scheduler.

A thread that wakes beside one that computes may have to wait until that one's time slice is over, some milliseconds,
although it needs only microseconds: the ticks of that time would be missed. Two things shorten this wait: a short time
slice of its own (Linux 6.12 and later, for everybody), and a nice value below that of others, for who may have it
(root, CAP_SYS_NICE, or `ulimit -e`). Neither gives more CPU time to who asks for little. A sampler that takes much,
as at the highest rates, does not keep the nice value: it would take that time from the target.
"""

from __future__ import annotations

import os
import threading
import time

from tachyscope._core.sampler import ask_for_slice

NICE = -10
MODEST_SHARE = 0.5
"""Of a CPU: a profiler that takes more, all its threads together, does not go before others."""
MODEST_INTERVAL_NS = 50_000
"""Samples this far apart will take less than that, most likely."""


def _clocks() -> tuple[float, float]:
    """The time, and the CPU time of all our threads; in seconds."""
    return time.monotonic(), time.process_time()


def be_ordinary() -> None:
    """Give back what a new thread has from the one that samples, which started it."""
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) == NICE:
        os.setpriority(os.PRIO_PROCESS, thread, 0)


class Priority:
    """What one thread asks for while it samples, as a context; `adjust` is called now and then meanwhile."""

    def __init__(self, interval_ns: int) -> None:
        self._modest = interval_ns >= MODEST_INTERVAL_NS
        self._thread = self._slice_ns = 0
        self._raised = self._refused = False
        self._looked = (0.0, 0.0)

    def __enter__(self) -> Priority:
        self._thread = threading.get_native_id()
        self._slice_ns = ask_for_slice()
        self._refused = os.getpriority(os.PRIO_PROCESS, self._thread) != 0  # who was given a nice value keeps it
        self._looked = _clocks()
        self._set(self._modest)
        return self

    def __exit__(self, *error: object) -> None:
        ask_for_slice(self._slice_ns)
        self._set(False)

    def adjust(self) -> None:
        """See what was needed since the last time."""
        (then_s, then_cpu_s), (now_s, now_cpu_s) = self._looked, _clocks()
        self._looked = now_s, now_cpu_s
        self._set(now_cpu_s - then_cpu_s <= MODEST_SHARE * (now_s - then_s))

    def _set(self, raised: bool) -> None:
        if self._refused or raised == self._raised:
            return
        try:
            os.setpriority(os.PRIO_PROCESS, self._thread, NICE if raised else 0)
            self._raised = raised
        except OSError:
            self._refused = True

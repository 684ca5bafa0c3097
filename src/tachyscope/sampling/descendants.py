"""All Python descendants of a process, sampled by one profiler: a `ProcessSampler` each, in a thread of its own.

Sampling happens without the GIL of the profiler, so its threads do not wait for each other but between two slices.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from tachyscope.errors import CorruptTarget, TachyscopeError, UnsupportedPython
from tachyscope.sampling.options import Sampling, Stop
from tachyscope.sampling.process import ProcessSampler
from tachyscope.target import process
from tachyscope.target.children import Tree

LEAST_PAUSE_S = 0.002
"""Between two looks for new children: one that lives 50 ms is seen early in its life."""
CPU_SHARE = 0.1
"""Looking takes at most about this share of a CPU."""
PATIENCE_S = 1.0
"""How long a new process is watched closely for becoming Python; after that only now and then."""
SLOW_PAUSE_S = 0.1
ONE_LOOK_S = 0.0001
"""Enough for a single attempt."""


class Descendant:
    """A descendant: its sampler, and what it was called if it never ran a Python that can be sampled."""

    def __init__(self, pid: int, sampling: Sampling, stop: Stop) -> None:
        self.process = ProcessSampler(pid, sampling)
        self.problem = ""  # why it cannot be sampled
        self.name = ""
        self._stop = stop
        self.thread = threading.Thread(target=self._sample, name=f"tachyscope {pid}", daemon=True)
        self.thread.start()

    @property
    def sampled(self) -> bool:
        """Whether there is anything to report."""
        return self.process.ran_python

    def _sample(self) -> None:
        try:
            self._follow()
        finally:
            self.process.close()

    def _follow(self) -> None:
        patience = time.monotonic() + PATIENCE_S
        while not self._stop() and not self.process.gone:
            try:
                if self.process.wait_for_python(self._over_at(patience)):
                    self.process.sample(None, self._stop)
            except (UnsupportedPython, CorruptTarget) as error:  # it may become another program
                self.problem = str(error)
            except TachyscopeError as error:
                self.problem = str(error)
                return
            if not self.process.gone:
                time.sleep(SLOW_PAUSE_S)
                patience = max(patience, time.monotonic() + ONE_LOOK_S)

    def _over_at(self, end_s: float) -> Stop:
        def over() -> bool:
            with suppress(TachyscopeError):  # a new process is called like its parent at first
                self.name = process.thread_name(self.process.pid, self.process.pid)
            return self._stop() or time.monotonic() >= end_s

        return over


class Descendants:
    """Follows the descendants of process `root`, not itself, from `start` to `stop`."""

    def __init__(self, root: int, sampling: Sampling) -> None:
        self.all: list[Descendant] = []
        self._tree = Tree(root)
        self._sampling = sampling
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="tachyscope descendants", daemon=True)

    def start(self) -> None:
        """Begin to look for children."""
        self._watcher.start()

    def stop(self) -> None:
        """End all sampling and wait until it has ended."""
        self._over.set()
        self._watcher.join()
        for each in self.all:
            each.thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            begin = time.monotonic()
            for pid in self._tree.new():
                self.all.append(Descendant(pid, self._sampling, self._over.is_set))
            took = time.monotonic() - begin
            self._over.wait(max(LEAST_PAUSE_S, took / CPU_SHARE))

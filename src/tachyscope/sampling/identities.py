"""Who the threads of a target are: their kernel ids, their names, and where the kernel says what they do.

The core meets threads as addresses. To learn more takes milliseconds, so it happens beside the sampling, in a thread
of the profiler; `settled` gives what it found to the core, between two slices.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from tachyscope.errors import TachyscopeError
from tachyscope.sampling.scheduling import be_ordinary
from tachyscope.target import process, thread_names
from tachyscope.target.runtime import Reader, Runtime, interpreters

Key = tuple[int, int]
"""A thread: the address of its thread state and its unique id, as addresses are used again."""
Arrival = tuple[int, int, int, int]
"""Address of the thread state, unique id, pthread id, kernel thread id as the target sees it (0: not kept)."""

MAX_DESCRIPTOR = 768
"""Of about so many threads the kernel is asked what they do: each takes a descriptor until it ends."""
MAX_NAMED_INTERPRETERS = 32
GATHER_S = 0.02
"""Threads that begin within this time are looked at together."""


@dataclass
class Known:
    """What is known of a thread; `tid` is its kernel id as the target sees it, 0 while that is not known."""

    ident: int
    tid: int
    name: str = ""


class Identities:
    """The threads of one process. Used by the thread that samples; a thread of its own does the slow part."""

    def __init__(self, runtime: Runtime, read: Reader) -> None:
        self._runtime = runtime
        self._read = read
        self._known: dict[Key, Known] = {}
        self._lock = threading.Lock()
        self._arrivals: queue.SimpleQueue[list[Arrival] | None] = queue.SimpleQueue()
        self._settled: queue.SimpleQueue[tuple[int, int, int]] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None

    def arrive(self, arrivals: list[Arrival]) -> None:
        """Take note of new threads; more about them follows."""
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="tachyscope identities", daemon=True)
            self._worker.start()
        self._arrivals.put(arrivals)

    def settled(self) -> Iterable[tuple[int, int, int]]:
        """Yield (address of a thread state, descriptor of its /proc/PID/task/TID/stat or -1, its kernel id as we see
        it) for those found since."""
        with suppress(queue.Empty):
            while True:
                yield self._settled.get_nowait()

    def known(self, address: int, unique_id: int, ident: int, native_id: int) -> Known:
        """Return what is known of a thread."""
        with self._lock:
            return self._known.get((address, unique_id)) or Known(ident, native_id)

    def rest(self) -> None:
        """Look once more, as names may have been given late, and wait until all that is known is there."""
        if self._worker is not None:
            self._arrivals.put(None)
            self._worker.join()
            self._worker = None

    def close(self) -> None:
        """Stop."""
        self.rest()
        for _, descriptor, _ in self.settled():
            if descriptor >= 0:
                os.close(descriptor)

    def _work(self) -> None:
        be_ordinary()
        over = False
        while not over:
            arrivals, over = self._gather()
            with suppress(TachyscopeError, OSError):  # the target is gone, or not to be understood just now
                if arrivals:
                    self._identify(arrivals)
                self._name()

    def _gather(self) -> tuple[list[Arrival], bool]:
        """Wait for arrivals; return those of the next moments together, and whether they were the last."""
        gathered = [self._arrivals.get()]
        if gathered[0] is not None:
            time.sleep(GATHER_S)
        with suppress(queue.Empty):
            while True:
                gathered.append(self._arrivals.get_nowait())
        return [each for some in gathered if some for each in some], None in gathered

    def _identify(self, arrivals: list[Arrival]) -> None:
        lacking = [ident for _, _, ident, native in arrivals if not native]
        native_ids = thread_names.native_ids(self._runtime, self._read, lacking) if lacking else {}
        ours = process.thread_ids(self._runtime.pid)
        for address, unique_id, ident, native in arrivals:
            tid = native or native_ids.get(ident, 0)
            name = thread_names.os_name(self._runtime.pid, ours[tid]) if tid in ours else ""
            with self._lock:
                self._known[address, unique_id] = Known(ident, tid, name)
            if tid in ours:
                self._offer(address, ours[tid])

    def _offer(self, address: int, tid: int) -> None:
        with suppress(TachyscopeError):
            descriptor = process.open_stat(self._runtime.pid, tid)
            if descriptor >= MAX_DESCRIPTOR:
                os.close(descriptor)
                descriptor = -1
            self._settled.put((address, descriptor, tid))

    def _name(self) -> None:
        names: dict[int, str] = {}
        for interpreter, _, _ in interpreters(self._runtime, self._read)[:MAX_NAMED_INTERPRETERS]:
            names |= thread_names.thread_names(self._runtime, self._read, interpreter)
        with self._lock:
            # The newest thread with a pthread id is the one that lives: ids of ended ones are given again.
            for known in {known.ident: known for known in self._known.values()}.values():
                known.name = names.get(known.ident) or known.name

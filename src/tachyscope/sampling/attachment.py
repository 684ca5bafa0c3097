"""One interpreter that is sampled: its sampler, what that has brought in so far, and who its threads are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tachyscope._core.memory import Reader
from tachyscope._core.sampler import (
    TARGET_DENIED,
    TARGET_FAULTS,
    TARGET_GONE,
    TARGET_UNSTOPPABLE,
    THREADS_NEW,
    Sampler,
)
from tachyscope.errors import TachyscopeError, UnsupportedPython
from tachyscope.profile.collector import Collector
from tachyscope.profile.modes import Mode
from tachyscope.sampling.options import Sampling
from tachyscope.target import process, runtime
from tachyscope.target.opcodes import opcodes_of

if TYPE_CHECKING:
    from tachyscope._core.batch import Track
    from tachyscope.profile.builder import Part
    from tachyscope.profile.check import Checker
    from tachyscope.profile.model import Pauses
    from tachyscope.sampling.identities import Identities

MAX_DEPTH = 20_000
"""Frames of a stack that are kept; of a deeper one the innermost."""

CHECK_EVERY_NS = 50_000_000
"""About so often, if it is asked for, a sample is taken with the target stopped."""

DRAIN_NS = 250_000_000
"""So often the sampler hands over what it has: it takes 0.1 ms, in which nothing is sampled."""

COMPARE_NS = 50_000_000
"""So often, see whether it is still the same program."""

LOOK_NS = 500_000_000
"""So often, see whether the main thread and the interpreters are still the same; they rarely are not (a fork, an
embedder)."""


@dataclass(frozen=True)
class Found:
    """A Python that runs in a process."""

    runtime: runtime.Runtime
    stat: process.StatFile | None
    command: tuple[str, ...]
    main_tid: int  # as the target sees it

    @classmethod
    def find(cls, pid: int, read: Reader, sampling: Sampling) -> Found:
        """Find it; raises what `find_runtime` raises if there is none."""
        found, stat, command, main_tid = runtime.find_runtime(pid, read), None, tuple[str, ...](), pid
        with suppress(TachyscopeError):
            stat, command = process.StatFile(pid), process.command_line(pid)
            main_tid = process.namespace_pid(pid) if sampling.all_threads else pid
        return cls(found, stat, command, main_tid)

    def has_changed(self) -> bool:
        """Whether the process runs another program by now. Its memory may be where that of this one was: two of the
        same fixed addresses."""
        return runtime.has_changed(self.runtime, self.stat)


class Attachment:
    """Samples a Python that was found, or has sampled it: `ended` says which.

    What it has brought in can be asked for at any time, also after the end.
    """

    def __init__(self, found: Found, read: Reader, sampling: Sampling, thread: int) -> None:
        self.found = found
        self.ended = False
        self._read = read
        self._sampling = sampling
        self._pid = found.runtime.pid
        self._identities: Identities | None = None  # with all threads only
        self._compared_ns = self._looked_ns = self._drained_ns = 0
        table = opcodes_of(found.runtime.version)
        self.collector = Collector(found.runtime.version, table.names if sampling.opcodes else None)
        self.checked: Checker | None = None
        if sampling.check:
            from tachyscope.profile.check import Checker

            self.checked = Checker()
        self._sampler = self._make_sampler(thread)
        self._counters = self._sampler.counters
        self._before = dict.fromkeys(self._counters, 0)  # the counters when it was cleared
        self._pauses = self._sampler.pauses
        if sampling.all_threads:
            from tachyscope.sampling.identities import Identities

            self._identities = Identities(found.runtime, read)
        else:
            self._watch([(thread, process.open_stat(self._pid), self._pid)])

    @classmethod
    def begin(cls, found: Found, read: Reader, sampling: Sampling) -> Attachment | None:
        """Return an attachment, or None if there is no main thread yet."""
        if found.runtime.free_threaded and sampling.mode is Mode.GIL:
            raise UnsupportedPython(
                f"process {found.runtime.pid} runs a free-threaded Python, which has no GIL", "use another --mode"
            )
        thread = runtime.main_thread(found.runtime, read)
        return cls(found, read, sampling, thread) if thread else None

    def _make_sampler(self, thread: int) -> Sampler:
        sampling, table = self._sampling, opcodes_of(self.found.runtime.version)
        return Sampler(
            self._pid,
            self.found.runtime.layout,
            0 if sampling.all_threads else thread,
            interval_ns=sampling.interval_ns,
            max_depth=MAX_DEPTH,
            memory_fd=self._read.fd,
            interpreters=self._interpreters(),
            asks=sampling.mode is Mode.CPU,
            gc=sampling.gc,
            native=sampling.native,
            opcodes=sampling.opcodes,
            caches=table.caches,
            roles=table.roles,
            natives=table.native,
            blocking=sampling.blocking,
            check_every_ns=CHECK_EVERY_NS if sampling.check else 0,
        )

    def _interpreters(self) -> list[tuple[int, int, int]]:
        found = runtime.interpreters(self.found.runtime, self._read)
        if self._sampling.all_threads:
            return found
        main = runtime.main_interpreter(self.found.runtime, self._read)
        return [each for each in found if each[0] == main]

    # ---- sampling ----

    def run(self, until_ns: int) -> bool:
        """Sample until then; false if it turns out that this program is over."""
        reason = self._sampler.run(until_ns)
        if time.monotonic_ns() - self._drained_ns >= DRAIN_NS:
            self._drain()
        if reason in (TARGET_GONE, TARGET_DENIED):
            return False
        if reason == TARGET_UNSTOPPABLE:
            raise process.unstoppable(self._pid, self._sampler.stop_refused)
        if reason == TARGET_FAULTS and not runtime.is_alive_and_same(self.found.runtime):
            self._sampler.forgive_faults()
            return False
        if reason == THREADS_NEW:
            self._meet(self._sampler.new_threads())
        if self._identities is not None:
            self._watch(self._identities.settled())
        return self._look()

    def _meet(self, arrivals: list[tuple[int, int, int, int]]) -> None:
        """Note new threads; if there are none, an interpreter cannot be read any more."""
        if arrivals and self._identities is not None:
            self._identities.arrive(arrivals)
        else:
            self._looked_ns = 0

    def _watch(self, found: Iterable[tuple[int, int, int]]) -> None:
        """Let the core look at what threads do."""
        for address, descriptor, tid in found:
            if not self._sampler.watch_thread(address, descriptor, tid) and descriptor >= 0:
                os.close(descriptor)

    def _look(self) -> bool:
        """Now and then, see whether what is sampled is still there; false if it is another program by now."""
        now_ns = time.monotonic_ns()
        if now_ns - self._compared_ns >= COMPARE_NS:
            if self.found.has_changed():
                return False
            self._compared_ns = now_ns
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            with suppress(TachyscopeError):
                self._update()
        return True

    def _update(self) -> None:
        """Go on with the main thread and the interpreters as they are now."""
        if not self._sampling.all_threads:  # finding it among many takes its time
            thread = runtime.main_thread(self.found.runtime, self._read)
            if not thread:
                return
            self._sampler.retarget(thread)
        self._sampler.set_interpreters(self._interpreters())

    def pause(self) -> None:
        """Let the clock stand still until there is more to sample."""
        self._drain()
        self._sampler.pause()

    def end(self) -> None:
        """The program is over, or no longer wanted."""
        if not self.ended:
            self._drain(whole=True)
            self._counters, self._pauses = self._sampler.counters, self._sampler.pauses
            self.ended = True
            if self._identities is not None:
                self._identities.close()
            self._sampler = Sampler(0, None, 0, interval_ns=1, bare=True)  # gives back all that the real one held

    # ---- what came of it ----

    def _drain(self, whole: bool = False) -> None:
        """Let the collector have what has come since."""
        if not self.ended:
            self._drained_ns = time.monotonic_ns()
            batch = self._sampler.drain(whole)
            self.collector.add(batch)
            if self.checked is not None:
                self.checked.add(batch)

    def clear(self) -> None:
        """Count anew from here on."""
        self.collector.clear()
        self._before = self._now()

    def _now(self) -> dict[str, int]:
        return self._counters if self.ended else self._sampler.counters

    def counted(self) -> dict[str, int]:
        """Return what was counted so far: see `Sampler.counters`."""
        return {name: count - self._before[name] for name, count in self._now().items()}

    def pauses(self) -> Pauses:
        """Return the stops of the target."""
        from tachyscope.profile.model import Pauses

        count, total_ns, half_ns, most_ns, spared = self._pauses if self.ended else self._sampler.pauses
        return Pauses(count, total_ns / 1e9, half_ns / 1e3, most_ns / 1e3, spared)

    def part(self) -> Part:
        """Return what has come so far, as the mode counts it."""
        from tachyscope.profile.builder import part

        self._drain(whole=True)
        if self._identities is not None and not self.ended:
            self._identities.rest()
        return part(self.collector, self._sampling.mode, self._who)

    def _who(self, track: Track) -> tuple[int, str, bool]:
        main = self.found.main_tid
        if self._identities is None:
            return self._pid, "", self._pid == main
        known = self._identities.known(track.address, track.unique_id, track.ident, track.native_id)
        tid = known.tid or known.ident
        return tid, known.name, tid == main

"""Sampling one process from beginning to end: find its interpreter, sample, follow it through `exec`.

The command line and the Python API are both thin layers over `Recorder`. What the core hands over after each slice
goes to a sink, which adds it up. The model is imported when a profile is made of that: until then it is not needed, and
a run starts quicker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
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
from tachyscope.errors import CorruptTarget, NotPython, TachyscopeError, TargetGone, TargetNotFound, UnsupportedPython
from tachyscope.priority import Priority
from tachyscope.profile.collector import Collector
from tachyscope.profile.modes import Mode
from tachyscope.target import process, runtime
from tachyscope.target.opcodes import opcodes_of

if TYPE_CHECKING:
    from tachyscope._core.batch import Track
    from tachyscope.profile.builder import Part
    from tachyscope.profile.model import Accuracy, Pauses, Profile
    from tachyscope.roster import Roster

SLICE_NS = 50_000_000
"""The core samples this long at a stretch; then signals are handled and the target is looked at."""

LOOK_NS = 500_000_000
"""So often, see whether the main thread and the interpreters are still the same; they rarely are not (a fork, an
embedder)."""

MAX_DEPTH = 20_000
"""Frames of a stack that are kept; of a deeper one the innermost."""

_COUNTED = ("hits", "squares", "missed", "reads", "interrupted", "samples", "failed", "sampled_ns")
_FIRST_POLL_S = 0.0003
_LAST_POLL_S = 0.02

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Sampling:
    """What is sampled, and how often: `all_threads` of all interpreters or the main one, `gc` with `<GC>` frames."""

    interval_ns: int
    all_threads: bool = False
    mode: Mode = Mode.WALL
    gc: bool = True
    native: bool = False  # `<native>` frames
    opcodes: bool = False  # the instruction that each frame is at
    blocking: bool = False  # whoever has the GIL is stopped while a sample is read


@dataclass(frozen=True)
class Progress:
    """Counts so far: ticks that were sampled and missed, samples of threads that came and failed."""

    hits: int
    missed: int
    samples: int
    failed: int


class _Source:
    """A sampler, what it has brought in, and who its threads are: of one program that the process ran."""

    def __init__(self, sampler: Sampler, collector: Collector, roster: Roster | None) -> None:
        self.sampler: Sampler | None = sampler
        self.roster = roster  # with all threads only
        self._collector = collector
        self._counters = dict(sampler.counters)
        self._before = dict.fromkeys(self._counters, 0)  # the counters when it was cleared
        self._pauses = sampler.pauses

    def drain(self, whole: bool = False) -> None:
        """Let the collector have what has come since."""
        if self.sampler is not None:
            self._collector.add(self.sampler.drain(whole))
            self._counters, self._pauses = dict(self.sampler.counters), self.sampler.pauses

    def end(self) -> None:
        """The program is over."""
        self.drain(whole=True)
        self.sampler = None
        if self.roster is not None:
            self.roster.close()

    def pause(self) -> None:
        """Let the clock stand still until there is more to sample."""
        if self.sampler is not None:
            self.sampler.pause()

    def clear(self) -> None:
        """Count anew from here on."""
        self._collector.clear()
        self._before = dict(self._counters)

    def counted(self, name: str) -> int:
        """Return how much was counted of this, up to now."""
        now = self._counters if self.sampler is None else self.sampler.counters
        return now[name] - self._before[name]

    def pauses(self) -> Pauses:
        """Return the stops of the target."""
        from tachyscope.profile.model import Pauses

        count, total_ns, half_ns, most_ns, spared = self._pauses
        return Pauses(count, total_ns / 1e9, half_ns / 1e3, most_ns / 1e3, spared)

    def part(self, mode: Mode, tid: int, main_tid: int) -> Part:
        """Return what has come so far. `tid` is that of the one thread, if not all are sampled."""
        from tachyscope.profile.builder import part

        roster = self.roster

        def who(track: Track) -> tuple[int, str, bool]:
            if roster is None:
                return tid, "", tid == main_tid
            known = roster.known(track.address, track.unique_id, track.ident, track.native_id)
            own = known.tid or known.ident
            return own, known.name, own == main_tid

        if roster is not None and self.sampler is not None:
            roster.rest()
        return part(self._collector, mode, who)


def _never() -> bool:
    return False


class Recorder:
    """Samples process `pid` as `sampling` says.

    Use `wait_for_python` (a process that was just started) or `attach` (one that runs), then `sample`, then
    `profile`. Not for use from several threads.
    """

    def __init__(self, pid: int, sampling: Sampling) -> None:
        self.pid = pid
        self.sampling = sampling
        self.gone = False  # the process ended, or is no Python any more
        self._reader = Reader(pid)
        self._runtime: runtime.Runtime | None = None
        self._stat: process.StatFile | None = None
        self._version_text = ""
        self._main_tid = pid  # as the target sees it
        self._command: tuple[str, ...] = ()
        self._sources: list[_Source] = []  # the last one may live
        self._cpu_s = 0.0
        self._compared_ns = self._looked_ns = 0

    @property
    def by_file(self) -> bool:
        """Whether memory is read through /proc/PID/mem, as the quicker system call is missing or refused."""
        return self._reader.by_file

    @property
    def ran_python(self) -> bool:
        """Whether an interpreter was found that can be sampled."""
        return bool(self._sources)

    @property
    def _source(self) -> _Source | None:
        """The source that lives, if there is one."""
        return self._sources[-1] if self._sources and self._sources[-1].sampler is not None else None

    @property
    def _sampler(self) -> Sampler | None:
        return self._sources[-1].sampler if self._sources else None

    # ---- finding the interpreter ----

    def find_python(self) -> None:
        """Find the interpreter of a running process; raises what `find_runtime` raises if there is none."""
        self._reader.close()  # the file belongs to the program that ran when it was opened
        self._stat = None
        self._runtime = runtime.find_runtime(self.pid, self._reader)
        self._version_text = self._runtime.version_text
        with suppress(TachyscopeError):
            self._stat = process.StatFile(self.pid)
            self._command = process.command_line(self.pid)
            self._main_tid = process.namespace_pid(self.pid) if self.sampling.all_threads else self.pid

    def attach(self) -> None:
        """Make a process that runs already ready to be sampled; raises also `NotPython` if it has no thread."""
        self.find_python()
        if not self.start():
            raise NotPython(f"process {self.pid} has no Python thread", "it is starting or ending; try again")

    def wait_for_python(self, stop: Stop = _never) -> bool:
        """Wait until the process can be sampled: its interpreter is found and has a main thread.

        Returns false if it ended first, or `stop` said so. Polls often at first, as starting takes milliseconds.
        """
        pause = _FIRST_POLL_S
        while not stop():
            try:
                if self._runtime is None:
                    self.find_python()
                if self.start():
                    return True
            except (TargetGone, TargetNotFound):
                if not process.exists(self.pid):
                    self.gone = True
                    return False
                self._runtime = None
            except (NotPython, CorruptTarget) as error:
                if isinstance(error, CorruptTarget) and not self._became_another():
                    raise
                self._runtime = None
            time.sleep(pause)
            pause = min(1.05 * pause, _LAST_POLL_S)
        return False

    def _became_another(self) -> bool:
        return self._runtime is not None and runtime.has_changed(self._runtime)

    def start(self) -> bool:
        """Make a sampler for the main thread, or all, if there is one already; or bring it up to date."""
        assert self._runtime is not None
        thread = 0
        sampler = self._sampler
        if sampler is None or not self.sampling.all_threads:  # finding it among many takes its time
            thread = runtime.main_thread(self._runtime, self._reader)
            if not thread:
                return False
        interpreters = runtime.interpreters(self._runtime, self._reader)
        if not self.sampling.all_threads:
            main = runtime.main_interpreter(self._runtime, self._reader)
            interpreters = [each for each in interpreters if each[0] == main]
        if sampler is None:
            sampler = self._begin(thread, interpreters)
        elif not self.sampling.all_threads:
            sampler.retarget(thread)
        sampler.set_interpreters(interpreters)
        return True

    def _begin(self, thread: int, interpreters: list[tuple[int, int, int]]) -> Sampler:
        """Make a sampler for the program that was found, and what takes in its batches."""
        assert self._runtime is not None
        if self._runtime.free_threaded and self.sampling.mode is Mode.GIL:
            raise UnsupportedPython(
                f"process {self.pid} runs a free-threaded Python, which has no GIL", "use another --mode"
            )
        table = opcodes_of(self._runtime.version)
        sampler = Sampler(
            self.pid,
            self._runtime.layout,
            0 if self.sampling.all_threads else thread,
            interval_ns=self.sampling.interval_ns,
            max_depth=MAX_DEPTH,
            memory_fd=self._reader.fd,
            interpreters=interpreters,
            asks=self.sampling.mode is Mode.CPU,
            gc=self.sampling.gc,
            native=self.sampling.native,
            opcodes=self.sampling.opcodes,
            caches=table.caches,
            roles=table.roles,
            natives=table.native,
            blocking=self.sampling.blocking,
        )
        roster = None
        if self.sampling.all_threads:
            from tachyscope.roster import Roster

            roster = Roster(self._runtime, self._reader)
        else:
            self._watch(sampler, [(thread, process.open_stat(self.pid), self.pid)])
        collector = Collector(self._runtime.version, table.names if self.sampling.opcodes else None)
        self._sources.append(_Source(sampler, collector, roster))
        return sampler

    def _watch(self, sampler: Sampler, found: Iterable[tuple[int, int, int]]) -> None:
        """Let the core look at what threads do."""
        for address, descriptor, tid in found:
            if not sampler.watch_thread(address, descriptor, tid) and descriptor >= 0:
                os.close(descriptor)

    # ---- sampling ----

    def sample(
        self, duration_s: float | None = None, stop: Stop = _never, watch: Callable[[], None] | None = None
    ) -> None:
        """Sample for `duration_s` seconds, or until the process ends or `stop` says so; `watch` is called between two
        slices, and may ask for the profile. It may be called again: what was learned of the target is kept."""
        end_ns = None if duration_s is None else time.monotonic_ns() + int(duration_s * 1e9)
        cpu_start = time.thread_time()

        def over() -> bool:
            return stop() or self.gone or (end_ns is not None and time.monotonic_ns() >= end_ns)

        try:
            with Priority(self.sampling.interval_ns) as priority:
                while not over():
                    if not self._slice(end_ns):
                        self._lost(over)
                    if watch is not None:
                        watch()
                    priority.adjust()
        finally:
            self._cpu_s += time.thread_time() - cpu_start
            if self._source is not None:
                self._source.drain()
                self._source.pause()

    def _slice(self, end_ns: int | None) -> bool:
        """Sample for a moment; false if the interpreter is not there any more."""
        if self._sampler is None and not self._start_again():
            return False
        assert self._sampler is not None
        until_ns = time.monotonic_ns() + SLICE_NS
        source = self._source
        assert source is not None
        reason = self._sampler.run(until_ns if end_ns is None else min(until_ns, end_ns))
        source.drain()
        if reason in (TARGET_GONE, TARGET_DENIED):
            return False
        if reason == TARGET_UNSTOPPABLE:
            raise process.unstoppable(self.pid, self._sampler.stop_refused)
        if reason == TARGET_FAULTS and not self._is_same():
            self._sampler.forgive_faults()
            return False
        if reason == THREADS_NEW:
            self._meet(self._sampler.new_threads())
        if source.roster is not None:
            self._watch(self._sampler, source.roster.settled())
        return self._look()

    def _meet(self, arrivals: list[tuple[int, int, int, int]]) -> None:
        """Note new threads; if there are none, an interpreter cannot be read any more."""
        source = self._source
        if arrivals and source is not None and source.roster is not None:
            source.roster.arrive(arrivals)
        else:
            self._looked_ns = 0

    def _look(self) -> bool:
        """Between two slices, see whether what is sampled is still there; false if it is another program by now."""
        now_ns = time.monotonic_ns()
        if now_ns - self._compared_ns >= SLICE_NS:
            # Its memory may be where that of another program was: two of the same fixed addresses.
            if self._runtime is None or runtime.has_changed(self._runtime, self._stat):
                return False
            self._compared_ns = now_ns
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            with suppress(TachyscopeError):
                self.start()
        return True

    def _start_again(self) -> bool:
        """Go on with an interpreter that was sampled before, if it is still there."""
        with suppress(TachyscopeError):
            return self._runtime is not None and self.start()
        return False

    def _is_same(self) -> bool:
        return self._runtime is not None and runtime.is_alive_and_same(self._runtime)

    def _lost(self, stop: Stop) -> None:
        """The program that was sampled is gone: it ended, or executed another one, which may be Python again."""
        if self._source is not None:
            self._source.end()
        self._runtime = None
        if not process.exists(self.pid):
            self.gone = True
            return
        try:
            self.wait_for_python(stop)
        except TachyscopeError:
            time.sleep(_LAST_POLL_S)  # nothing that can be sampled, but it may become so
        if self._sampler is None and not process.exists(self.pid):
            self.gone = True

    # ---- the result ----

    def progress(self) -> Progress:
        """Return the counts so far."""
        return Progress(*(self._counted(name) for name in ("hits", "missed", "samples", "failed")))

    def _counted(self, name: str) -> int:
        return sum(source.counted(name) for source in self._sources)

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return self._counted("samples")

    def _accuracy(self, parts: list[Part]) -> Accuracy:
        from tachyscope.profile.builder import Totals
        from tachyscope.profile.model import Accuracy, Pauses

        counted = {name: self._counted(name) for name in _COUNTED}
        totals = sum((part.totals for part in parts), Totals())
        stops = [source.pauses() for source in self._sources] if self.sampling.blocking else []
        return Accuracy(
            interval_us=self.sampling.interval_ns / 1000,
            duration_s=counted["sampled_ns"] / 1e9,
            ticks=counted["hits"] + counted["missed"],
            samples=totals.samples,
            failed=totals.failed,
            missed=counted["missed"],
            reads=counted["reads"],
            uncertain=totals.uncertain,
            reconstructed=totals.reconstructed,
            interrupted=counted["interrupted"],
            truncated=totals.truncated,
            left_out=totals.left_out,
            squares=counted["squares"],
            profiler_cpu_s=self._cpu_s,
            pauses=sum(stops, Pauses()),
        )

    def profile(self) -> Profile:
        """Return everything sampled so far. May be called at any time, also by `watch` during a run."""
        from tachyscope.profile.builder import build
        from tachyscope.profile.model import TargetInfo

        if self._source is not None:
            self._source.drain(whole=True)
        parts = [source.part(self.sampling.mode, self.pid, self._main_tid) for source in self._sources]
        target = TargetInfo(self.pid, self._command, self._version_text)
        return build(target, self._accuracy(parts), parts)

    def take(self) -> Profile:
        """Return everything sampled so far, and count anew from here on."""
        profile = self.profile()
        self._sources = [source for source in self._sources if source.sampler is not None]
        for source in self._sources:
            source.clear()
        self._cpu_s = 0.0
        return profile

    def close(self) -> None:
        """Give back what the recorder holds of the system. What was sampled stays."""
        if self._source is not None:
            self._source.end()
        self._reader.close()

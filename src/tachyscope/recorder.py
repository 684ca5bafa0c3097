"""Sampling one process from beginning to end: find its interpreter, sample, follow it through `exec`, sum up.

The command line and the Python API are both thin layers over `Recorder`. The model is imported when a profile is
made: until then it is not needed, and a run starts quicker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
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
from tachyscope.target import process, runtime
from tachyscope.target.opcodes import opcodes_of

if TYPE_CHECKING:
    from tachyscope._core.counts import ThreadCounts
    from tachyscope.profile.builder import Harvest
    from tachyscope.profile.model import Accuracy, Pauses, Profile, ThreadInfo
    from tachyscope.roster import Roster

SLICE_NS = 50_000_000
"""The core samples this long at a stretch; then signals are handled and the target is looked at."""

LOOK_NS = 500_000_000
"""So often, see whether the main thread and the interpreters are still the same; they rarely are not (a fork, an
embedder)."""

MAX_DEPTH = 20_000
"""Frames of a stack that are kept; of a deeper one the innermost."""

_COUNTED = (
    "hits", "missed", "reads", "samples", "failed", "left_out", "uncertain", "reconstructed", "interrupted",
    "truncated", "empty",
)  # fmt: skip
_FIRST_POLL_S = 0.0003
_LAST_POLL_S = 0.02

Stop = Callable[[], bool]


class Mode(Enum):
    """Which samples count: the values are the core's."""

    WALL = 0
    CPU = 1
    GIL = 2
    EXCEPTION = 3


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
        self._sampler: Sampler | None = None
        self._roster: Roster | None = None  # with all threads only
        self._harvests: list[Harvest] = []
        self._totals = dict.fromkeys(_COUNTED, 0)
        self._pauses: list[Pauses] = []
        self._sampled_ns = 0
        self._cpu_s = 0.0
        self._compared_ns = self._looked_ns = 0

    @property
    def by_file(self) -> bool:
        """Whether memory is read through /proc/PID/mem, as the quicker system call is missing or refused."""
        return self._reader.by_file

    @property
    def ran_python(self) -> bool:
        """Whether an interpreter was found that can be sampled."""
        return bool(self._harvests)

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
        if self._sampler is None or not self.sampling.all_threads:  # finding it among many takes its time
            thread = runtime.main_thread(self._runtime, self._reader)
            if not thread:
                return False
        interpreters = runtime.interpreters(self._runtime, self._reader)
        if not self.sampling.all_threads:
            main = runtime.main_interpreter(self._runtime, self._reader)
            interpreters = [each for each in interpreters if each[0] == main]
        if self._sampler is None:
            self._sampler = self._make_sampler(thread, interpreters)
        elif not self.sampling.all_threads:
            self._sampler.retarget(thread)
        self._sampler.set_interpreters(interpreters)
        return True

    def _make_sampler(self, thread: int, interpreters: list[tuple[int, int, int]]) -> Sampler:
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
            mode=self.sampling.mode.value,
            gc=self.sampling.gc,
            native=self.sampling.native,
            opcodes=self.sampling.opcodes,
            caches=table.caches,
            roles=table.roles,
            natives=table.native,
            blocking=self.sampling.blocking,
        )
        if self.sampling.all_threads:
            from tachyscope.roster import Roster

            self._roster = Roster(self._runtime, self._reader)
        else:
            self._watch(sampler, [(thread, process.open_stat(self.pid), self.pid)])
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
        slices."""
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
            self._harvest()

    def _slice(self, end_ns: int | None) -> bool:
        """Sample for a moment; false if the interpreter is not there any more."""
        if self._sampler is None and not self._start_again():
            return False
        assert self._sampler is not None
        until_ns = time.monotonic_ns() + SLICE_NS
        reason = self._sampler.run(until_ns if end_ns is None else min(until_ns, end_ns))
        if reason in (TARGET_GONE, TARGET_DENIED):
            return False
        if reason == TARGET_UNSTOPPABLE:
            raise process.unstoppable(self.pid, self._sampler.stop_refused)
        if reason == TARGET_FAULTS and not self._is_same():
            self._sampler.forgive_faults()
            return False
        if reason == THREADS_NEW:
            self._meet(self._sampler.new_threads())
        if self._roster is not None:
            self._watch(self._sampler, self._roster.settled())
        return self._look()

    def _meet(self, arrivals: list[tuple[int, int, int, int]]) -> None:
        """Note new threads; if there are none, an interpreter cannot be read any more."""
        if arrivals and self._roster is not None:
            self._roster.arrive(arrivals)
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
        self._harvest()
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

    def _harvest(self) -> None:
        """Take over what the sampler has, and let it go."""
        if self._sampler is None or self._runtime is None:
            return
        from tachyscope.profile.builder import Harvest
        from tachyscope.profile.model import Pauses

        if self._roster is not None:
            self._roster.close()
        sampler, counters = self._sampler, self._sampler.counters
        for name in self._totals:
            self._totals[name] += counters[name]
        if self.sampling.blocking:
            count, total_ns, half_ns, most_ns, spared = sampler.pauses
            self._pauses.append(Pauses(count, total_ns / 1e9, half_ns / 1e3, most_ns / 1e3, spared))
        self._sampled_ns += max(counters["last_ns"] - counters["start_ns"], 0)
        threads = [(self._thread_info(each), each["counts"]) for each in sampler.threads() if each["seen"]]
        opcodes, instructions = b"", {}
        if self.sampling.opcodes:
            opcodes, instructions = sampler.opcodes(), opcodes_of(self._runtime.version).names
        self._harvests.append(
            Harvest(sampler.codes(), sampler.nodes(), self._runtime.version, threads, opcodes, instructions)
        )
        self._sampler = self._roster = None

    def _thread_info(self, thread: ThreadCounts) -> ThreadInfo:
        from tachyscope.profile.model import ThreadInfo

        tid, name = self.pid, ""
        if self._roster is not None:
            known = self._roster.known(thread["address"], thread["unique_id"], thread["ident"], thread["native_id"])
            tid, name = known.tid or known.ident, known.name
        return ThreadInfo(
            tid, name, tid == self._main_tid, thread["samples"], thread["seen"], thread["held"], thread["collecting"],
            thread["exceptions"], thread["looks"], thread["on_cpu"], thread["waiting"],
        )  # fmt: skip

    def progress(self) -> Progress:
        """Return the counts so far."""
        live = self._sampler.counters if self._sampler is not None else {}
        return Progress(*(self._totals[name] + live.get(name, 0) for name in ("hits", "missed", "samples", "failed")))

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        live = self._sampler.counters["samples"] if self._sampler is not None else 0
        return self._totals["samples"] + live

    def accuracy(self) -> Accuracy:
        """Return how well the sampling went; complete after `sample` has returned."""
        from tachyscope.profile.model import Accuracy, Pauses

        totals = self._totals
        return Accuracy(
            interval_us=self.sampling.interval_ns / 1000,
            duration_s=self._sampled_ns / 1e9,
            ticks=totals["hits"] + totals["missed"],
            samples=totals["samples"],
            failed=totals["failed"],
            missed=totals["missed"],
            reads=totals["reads"],
            uncertain=totals["uncertain"],
            reconstructed=totals["reconstructed"],
            interrupted=totals["interrupted"],
            truncated=totals["truncated"],
            left_out=totals["left_out"],
            profiler_cpu_s=self._cpu_s,
            pauses=sum(self._pauses, Pauses()),
        )

    def profile(self) -> Profile:
        """Return everything sampled so far as a finished profile."""
        from tachyscope.profile.builder import build
        from tachyscope.profile.model import TargetInfo

        target = TargetInfo(self.pid, self._command, self._version_text)
        return build(target, self.accuracy(), self._harvests)

    def close(self) -> None:
        """Give back what the recorder holds of the system."""
        self._reader.close()

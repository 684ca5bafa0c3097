"""Sampling one process from beginning to end: find its interpreter, sample, follow it through `exec`.

The model is imported when a profile is made: until then it is not needed, and a run starts quicker.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from tachyscope._core.memory import Reader
from tachyscope.errors import CorruptTarget, NotPython, TachyscopeError, TargetGone, TargetNotFound
from tachyscope.sampling.attachment import Attachment, Found
from tachyscope.sampling.options import Progress, Sampling, Stop, never
from tachyscope.sampling.scheduling import Priority
from tachyscope.target import process

if TYPE_CHECKING:
    from tachyscope.profile.builder import Part
    from tachyscope.profile.check import Comparison
    from tachyscope.profile.model import Accuracy, Profile

SLICE_NS = 50_000_000
"""The core samples this long at a stretch; then signals are handled and the target is looked at."""

_FIRST_POLL_S = 0.0003
_LAST_POLL_S = 0.02


class ProcessSampler:
    """Samples process `pid` as `sampling` says.

    Use `wait_for_python` (a process that was just started) or `attach` (one that runs), then `sample`; `profile` at any
    time. Not for use from several threads.
    """

    def __init__(self, pid: int, sampling: Sampling) -> None:
        self.pid = pid
        self.sampling = sampling
        self.gone = False  # the process ended, or is no Python any more
        self._reader = Reader(pid)
        self._found: Found | None = None  # the program that runs, if it is a Python
        self._last: Found | None = None  # the last one that was found
        self._attachments: list[Attachment] = []  # only the last one may not have ended
        self._cpu_s = 0.0

    @property
    def by_file(self) -> bool:
        """Whether memory is read through /proc/PID/mem, as the quicker system call is missing or refused."""
        return self._reader.by_file

    @property
    def ran_python(self) -> bool:
        """Whether an interpreter was found that can be sampled."""
        return bool(self._attachments)

    @property
    def _attachment(self) -> Attachment | None:
        """The one that samples, if there is one."""
        return self._attachments[-1] if self._attachments and not self._attachments[-1].ended else None

    # ---- finding the interpreter ----

    def attach(self) -> None:
        """Make a process that runs already ready to be sampled; raises what `find_runtime` raises if there is no
        Python, also `NotPython` if it has no thread."""
        if not self._try():
            raise NotPython(f"process {self.pid} has no Python thread", "it is starting or ending; try again")

    def _try(self) -> bool:
        """Find the interpreter, if that was not done yet, and its main thread; false if there is none yet."""
        if self._found is None:
            self._reader.close()  # the file belongs to the program that ran when it was opened
            self._found = self._last = Found.find(self.pid, self._reader, self.sampling)
        if self._attachment is None:
            attachment = Attachment.begin(self._found, self._reader, self.sampling)
            self._attachments += [attachment] if attachment is not None else []
        return self._attachment is not None

    def wait_for_python(self, stop: Stop = never) -> bool:
        """Wait until the process can be sampled: its interpreter is found and has a main thread.

        Returns false if it ended first, or `stop` said so. Polls often at first, as starting takes milliseconds.
        """
        pause = _FIRST_POLL_S
        while not stop():
            try:
                if self._try():
                    return True
            except (TargetGone, TargetNotFound):
                if not process.exists(self.pid):
                    self.gone = True
                    return False
                self._found = None
            except (NotPython, CorruptTarget) as error:
                if isinstance(error, CorruptTarget) and not (self._found is not None and self._found.has_changed()):
                    raise
                self._found = None
            time.sleep(pause)
            pause = min(1.05 * pause, _LAST_POLL_S)
        return False

    # ---- sampling ----

    def sample(
        self, duration_s: float | None = None, stop: Stop = never, watch: Callable[[], None] | None = None
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
            if self._attachment is not None:
                self._attachment.pause()

    def _slice(self, end_ns: int | None) -> bool:
        """Sample for a moment; false if the interpreter is not there any more."""
        if self._attachment is None:
            return False
        until_ns = time.monotonic_ns() + SLICE_NS
        return self._attachment.run(until_ns if end_ns is None else min(until_ns, end_ns))

    def _lost(self, stop: Stop) -> None:
        """The program that was sampled is gone: it ended, or executed another one, which may be Python again."""
        if self._attachment is not None:
            self._attachment.end()
        self._found = None
        if not process.exists(self.pid):
            self.gone = True
            return
        try:
            self.wait_for_python(stop)
        except TachyscopeError:
            time.sleep(_LAST_POLL_S)  # nothing that can be sampled, but it may become so
        if self._attachment is None and not process.exists(self.pid):
            self.gone = True

    # ---- the result ----

    def progress(self) -> Progress:
        """Return the counts so far."""
        counted = self._counted()
        return Progress(*(counted[name] for name in ("hits", "missed", "samples", "failed")))

    def _counted(self) -> Counter[str]:
        counted = Counter[str]()
        for attachment in self._attachments:
            counted.update(attachment.counted())
        return counted

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return self._counted()["samples"]

    def _accuracy(self, parts: list[Part]) -> Accuracy:
        from tachyscope.profile.builder import Totals
        from tachyscope.profile.model import Accuracy, Pauses

        counted = self._counted()
        totals = sum((part.totals for part in parts), Totals())
        stops = [attachment.pauses() for attachment in self._attachments] if self.sampling.blocking else []
        return Accuracy(
            interval_us=self.sampling.interval_ns / 1000,
            duration_s=counted["sampled_ns"] / 1e9,
            ticks=counted["hits"] + counted["missed"],
            missed=counted["missed"],
            reads=counted["reads"],
            interrupted=counted["interrupted"],
            squares=counted["squares"],
            profiler_cpu_s=self._cpu_s,
            pauses=sum(stops, Pauses()),
            **asdict(totals),
        )

    def profile(self) -> Profile:
        """Return everything sampled so far. May be called at any time, also by `watch` during a run."""
        from tachyscope.profile.builder import build
        from tachyscope.profile.model import TargetInfo

        parts = [attachment.part() for attachment in self._attachments]
        command, version = ((), "") if self._last is None else (self._last.command, self._last.runtime.version_text)
        return build(TargetInfo(self.pid, command, version), self._accuracy(parts), parts)

    def comparison(self) -> Comparison | None:
        """Return how what was sampled compares with what stopping shows; None if it was not stopped for that."""
        from tachyscope.profile.check import compare

        checked = [(each.checked, each.collector) for each in self._attachments if each.checked is not None]
        return compare(checked, self._counted()["sampled_ns"] / 1e9)

    def take(self) -> Profile:
        """Return everything sampled so far, and count anew from here on."""
        profile = self.profile()
        self._attachments = [attachment for attachment in self._attachments if not attachment.ended]
        for attachment in self._attachments:
            attachment.clear()
        self._cpu_s = 0.0
        return profile

    def close(self) -> None:
        """Give back what this holds of the system. What was sampled stays."""
        if self._attachment is not None:
            self._attachment.end()
        self._reader.close()

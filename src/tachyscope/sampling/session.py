"""A process, or a tree of them, that is being profiled: what the command line and the Python API share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from tachyscope.sampling.options import Progress, Sampling, Stop, never
from tachyscope.sampling.process import ProcessSampler

if TYPE_CHECKING:
    from tachyscope.profile.check import Comparison
    from tachyscope.profile.model import Profile
    from tachyscope.sampling.descendants import Descendant, Descendants


class Session:
    """A process that is being profiled; made by `attach` and `launch`, used as a context manager.

    Leaving the context gives back what the session holds of the system and ends a process that `launch` started.
    """

    def __init__(self, pid: int, sampling: Sampling, process: subprocess.Popen[bytes] | None = None) -> None:
        self.sampling = sampling
        self.process = process
        """The process that `launch` started; None for `attach`."""
        self._sampler = ProcessSampler(pid, sampling)
        self._descendants: list[Descendant] = []
        self._following: Descendants | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the target."""
        return self._sampler.pid

    @property
    def gone(self) -> bool:
        """Whether the target has ended, or is no Python any more."""
        return self._sampler.gone

    @property
    def by_file(self) -> bool:
        """Whether memory is read through /proc/PID/mem, as the quicker system call is missing or refused."""
        return self._sampler.by_file

    @property
    def descendants(self) -> list[Descendant]:
        """The descendants that there were while they were followed."""
        return self._descendants + (self._following.all if self._following is not None else [])

    # ---- sampling ----

    def attach(self) -> None:
        """Find the interpreter of a process that runs already; raises what `attach` of the API raises."""
        self._sampler.attach()

    def wait(self, stop: Stop = never) -> bool:
        """Wait until the interpreter of a process that was just started can be read; false if it ended first, or `stop`
        said so."""
        return self._sampler.wait_for_python(stop)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the descendants meanwhile, if that is asked for."""
        if not self.sampling.subprocesses or self._following is not None:
            yield
            return
        from tachyscope.sampling.descendants import Descendants

        self._following = Descendants(self.pid, self.sampling)
        self._following.start()
        try:
            yield
        finally:
            self._following.stop()
            self._descendants += self._following.all
            self._following = None

    def sample(self, seconds: float | None = None, stop: Stop = never, watch: Callable[[], None] | None = None) -> int:
        """Sample for `seconds`, or until the target ends or `stop` says so; may be called again, and what was learned
        of the target is kept. `watch` is called some 20 times a second. Returns the samples so far.

        A target that ends is no error: what was sampled stays.
        """
        with self.following():
            self._sampler.sample(seconds, stop, watch)
        return self._sampler.samples

    # ---- the result ----

    def progress(self) -> Progress:
        """Return the counts so far."""
        return self._sampler.progress()

    def profile(self) -> Profile:
        """Return everything sampled so far, without descendants; also while sampling, from `watch`. The profile does
        not change with later samples."""
        return self._sampler.profile()

    def take(self) -> Profile:
        """Return everything sampled so far, and count anew from here on: nothing is counted twice."""
        return self._sampler.take()

    def profiles(self) -> list[Profile]:
        """Return a profile of the target and of each descendant that ran Python, after sampling."""
        return [self.profile(), *(each.process.profile() for each in self._descendants if each.sampled)]

    def comparison(self) -> Comparison | None:
        """Return how what was sampled of the target compares with what stopping it shows, if it was to be checked; None
        if it was never stopped."""
        return self._sampler.comparison()

    def close(self) -> None:
        """End a process that `launch` started and forget the target."""
        self._sampler.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

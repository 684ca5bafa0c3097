"""How the sampling is going: on standard error, a line refreshed each second, or the progress of a timed run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tachyscope.sampling.session import Session

EVERY_S = 1.0
BAR_EVERY_S = 0.25
BAR_FROM_S = 1.0
"""A shorter run is over before a bar has said anything."""


@contextmanager
def watching(
    options: argparse.Namespace, session: Session, duration_s: float | None
) -> Iterator[Callable[[], None] | None]:
    """Yield what is to be called between two slices, if `--realtime-stats` asks for it, or somebody looks on and it is
    known how long it takes. A target of `run` writes to the same terminal: no bar there."""
    progress: Progress | Bar
    if options.realtime_stats:
        progress = Progress(session, duration_s)
    elif hasattr(options, "pid") and duration_s and duration_s >= BAR_FROM_S and sys.stderr.isatty():
        progress = Bar(session, duration_s)
    else:
        yield None
        return
    try:
        yield progress
    finally:
        progress.close()


class Progress:
    """Says once a second what was sampled in that second and so far. A terminal's line is written anew each time."""

    def __init__(self, session: Session, duration_s: float | None) -> None:
        self._session = session
        self._duration_s = duration_s
        self._begin = self._last = time.monotonic()
        self._before = session.progress()
        self._rates: list[float] = []
        self._terminal = sys.stderr.isatty()

    def __call__(self) -> None:
        """Say it, if a second has passed."""
        now = time.monotonic()
        if now - self._last < EVERY_S:
            return
        progress = self._session.progress()
        self._rates.append((progress.hits - self._before.hits) / (now - self._last))
        self._last, self._before = now, progress
        self._write(self._line(now - self._begin))

    def close(self) -> None:
        """End the line on a terminal."""
        if self._terminal and self._rates:
            with suppress(OSError):
                print(file=sys.stderr, flush=True)

    def _line(self, elapsed_s: float) -> str:
        rates, progress = self._rates, self._before
        tried = max(progress.samples + progress.failed, 1)
        ticks = max(progress.hits + progress.missed, 1)
        of = f" of {self._duration_s:g}" if self._duration_s else ""
        return (
            f"tachyscope: {elapsed_s:.0f}{of} s: {rates[-1]:,.0f} a second (mean {sum(rates) / len(rates):,.0f}, "
            f"{min(rates):,.0f} to {max(rates):,.0f}); {progress.samples:,} samples, "
            f"{100 * progress.missed / ticks:.2f} % missed, {100 * progress.failed / tried:.2f} % failed"
        )

    def _write(self, line: str) -> None:
        with suppress(OSError):
            print(f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr)
            sys.stderr.flush()


class Bar:
    """The progress of a run whose length is known, on a terminal; gone when it is over."""

    def __init__(self, session: Session, duration_s: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._session = session
        self._duration_s = duration_s
        self._begin = self._last = time.monotonic()
        columns = (BarColumn(), TextColumn("{task.description}"))
        self._progress = RichProgress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        self._task = self._progress.add_task(self._text(0.0), total=duration_s)
        with suppress(OSError):
            self._progress.start()

    def __call__(self) -> None:
        """Draw it, if it is time."""
        now = time.monotonic()
        if now - self._last >= BAR_EVERY_S:
            self._last, elapsed_s = now, now - self._begin
            with suppress(OSError):  # nobody looks on any more
                self._progress.update(self._task, completed=elapsed_s, description=self._text(elapsed_s), refresh=True)

    def close(self) -> None:
        """Wipe it away."""
        with suppress(OSError):
            self._progress.stop()

    def _text(self, elapsed_s: float) -> str:
        return f"{elapsed_s:.0f} of {self._duration_s:g} s, {self._session.progress().samples:,} samples"

"""Signals to the profiler: Ctrl-C ends the sampling; SIGTERM and SIGHUP do, too, and are passed on to a target that
we started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """A context in which signals ask to stop instead of ending the profiler; a second Ctrl-C does end it."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.target_pid: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, *_PASSED_ON):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stopped(self) -> bool:
        """Return True once a signal has asked for the end of the sampling."""
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        if number in _PASSED_ON and self.target_pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.target_pid, number)

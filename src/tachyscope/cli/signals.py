"""Signals to the profiler: Ctrl-C ends the sampling; SIGTERM and SIGHUP do, too, and are passed on to a target that
we started."""

from __future__ import annotations

import signal
import subprocess
from types import FrameType, TracebackType
from typing import Any

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """A context in which signals ask to stop instead of ending the profiler; a second Ctrl-C does end it."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._target: subprocess.Popen[bytes] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, *_PASSED_ON):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, target: subprocess.Popen[bytes]) -> None:
        """Pass signals on to this process, one that came while it was started, too."""
        self._target = target
        self._pass_on()

    def stopped(self) -> bool:
        """Return True once a signal has asked for the end of the sampling."""
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        self._pass_on()

    def _pass_on(self) -> None:
        if self._target is not None and self.received in _PASSED_ON:
            self._target.send_signal(self.received)  # does nothing once its end is known

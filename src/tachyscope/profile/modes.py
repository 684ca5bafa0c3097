"""Which samples count: the modes are filters on what is known of a track at each moment."""

from __future__ import annotations

from enum import Enum

from tachyscope._core.batch import Status


class Mode(Enum):
    """Which samples count."""

    WALL = "wall"  # all
    CPU = "cpu"  # of a thread on a CPU
    GIL = "gil"  # that holds the GIL
    EXCEPTION = "exception"  # with an exception that is being raised or handled

    def counts(self, status: int, known: int) -> bool:
        """Return whether a sample with this `Status` counts, of which the bits in `known` were looked at. While the
        kernel cannot be asked about a thread, the GIL has to do."""
        if status & Status.FAILED:
            return False
        if self is Mode.CPU:
            return bool(status & (Status.ON_CPU if known & Status.ON_CPU else Status.HOLDS))
        if self is Mode.GIL:
            return bool(status & Status.HOLDS)
        return self is Mode.WALL or bool(status & Status.EXCEPTS)

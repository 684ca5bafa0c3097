"""What is sampled, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tachyscope.errors import UsageError
from tachyscope.profile.modes import Mode

Stop = Callable[[], bool]
"""Says whether to stop."""


def never() -> bool:
    """Do not stop."""
    return False


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
    check: bool = False  # some 20 times a second a sample is taken with it stopped, and compared with the others
    subprocesses: bool = False  # every Python descendant, too

    def __post_init__(self) -> None:
        if self.check and (self.blocking or self.mode is not Mode.WALL):
            other = "blocking" if self.blocking else f"mode {self.mode.value}"
            raise UsageError(f"check has no meaning with {other}", "it compares all samples with stopped ones")


@dataclass(frozen=True)
class Progress:
    """Counts so far: ticks that were sampled and missed, samples of threads that came and failed."""

    hits: int
    missed: int
    samples: int
    failed: int

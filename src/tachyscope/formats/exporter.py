"""What every output format is: a name, a file suffix, and a function from a finished profile to a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tachyscope.profile.model import Profile

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class Exporter(Generic[Options]):
    """One output format.

    `write` takes a profile, a stream (`BinaryIO` if `binary`, else `TextIO`) and an instance of `options`, a
    frozen dataclass whose defaults are those of the command line. It keeps nothing between two calls.
    """

    name: str
    stem: str
    suffix: str
    binary: bool
    options: type[Options]
    write: Callable[[Profile, Any, Options], None]
    instructions: bool = False  # whether it shows the instruction that a frame is at

    def default_name(self, pid: int) -> str:
        """Return the generated file name for the profile of process `pid`."""
        return f"{self.stem}_{pid}{self.suffix}"

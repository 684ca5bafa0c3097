"""What the code of every output format is: a function from a finished profile to a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tachyscope.profile.model import Profile

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class Exporter(Generic[Options]):
    """The code of one output format.

    `write` takes a profile, a stream (`BinaryIO` if the format is binary, else `TextIO`) and an instance of `options`,
    a frozen dataclass whose defaults are those of the command line. It keeps nothing between two calls.
    """

    options: type[Options]
    write: Callable[[Profile, Any, Options], None]

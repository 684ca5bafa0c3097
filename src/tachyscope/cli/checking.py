"""What `--check` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tachyscope.cli.messages import say
from tachyscope.formats.words import counted

if TYPE_CHECKING:
    from tachyscope.profile.check import Comparison
    from tachyscope.sampling.session import Session

MOST = 5
"""Functions that are named."""
NONE = "--check: the target was never stopped, as nobody held its GIL then, or it ended too soon"


def say_comparison(session: Session) -> None:
    """Say how the samples compare with the stopped ones, if that was asked for."""
    for line in verdict(session.comparison()) if session.sampling.check else ():
        say(line)


def verdict(comparison: Comparison | None) -> Iterator[str]:
    """Yield the lines that tell of a comparison."""
    if comparison is None:
        yield NONE
        return
    yield (
        f"--check: {counted(comparison.stops, 'stopped sample')} and those before them differ by "
        f"{_points(comparison.distance)} points of self shares; chance alone makes {_points(comparison.chance)}, "
        f"seldom more than {_points(comparison.chance_most)}. {_seen(comparison)}"
    )
    for each in comparison.differences[:MOST]:
        yield f"--check: {each.function} has {_points(each.running)} %, and {_points(each.stopped)} % when stopped"
    if len(comparison.differences) > MOST:
        yield f"--check: {counted(len(comparison.differences) - MOST, 'more function')} differ"
    if comparison.left_out:
        names = ", ".join(comparison.left_out[:MOST]) + (", ..." if len(comparison.left_out) > MOST else "")
        yield f"--check: left out, as stopping comes late at their system calls: {names}"


def _seen(comparison: Comparison) -> str:
    """Say what was found, and how small a difference would have been."""
    said = "No function differs" if not comparison.differences else "These do not agree"
    more = f"; 5 need {comparison.enough_s:,.0f} s" if comparison.resolution > 0.05 else ""
    return f"{said}: this run would have seen {_points(comparison.resolution)} points{more}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"

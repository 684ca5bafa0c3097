"""The file that the standard library's `pstats.Stats(path)` loads.

It maps (file, line, name) to (direct samples, cumulative samples, own seconds, cumulative seconds, callers).
`callers` maps each caller's key to the numbers of the calls from there, the counts the other way round
because `pstats` wants that. It shows both as `ncalls`: cumulative/direct. Names are the bare ones, as in
files of `cProfile`, so that files of both kinds can be compared.
"""

from __future__ import annotations

import marshal
from dataclasses import dataclass
from typing import BinaryIO

from tachyscope.formats.escape import printable
from tachyscope.formats.exporter import Exporter
from tachyscope.formats.paths import NO_FILE
from tachyscope.profile.model import Frame, Profile
from tachyscope.profile.summary import Samples, by_function, by_line, summarize

StatsKey = tuple[str, int, str]
StatsValue = tuple[int, int, float, float]


@dataclass(frozen=True, slots=True)
class PstatsFileOptions:
    """`lines`: one entry per executing line of a function instead of per function."""

    lines: bool = False


def write(profile: Profile, stream: BinaryIO, options: PstatsFileOptions) -> None:
    """Write the whole file."""
    stream.write(marshal.dumps(stats(profile, options)))


def stats(
    profile: Profile, options: PstatsFileOptions
) -> dict[StatsKey, tuple[int, int, float, float, dict[StatsKey, StatsValue]]]:
    """Return what the file contains: without samples one entry that says so, as `pstats` refuses none."""
    line_of = by_line if options.lines else by_function

    def key(frame: Frame) -> StatsKey:
        function, line = line_of(frame)
        # pstats prints these as they are, and shows what is in "~" without a file.
        if function.filename in NO_FILE:
            return "~", 0, printable(function.name)
        return printable(function.filename), line, printable(function.name)

    seconds = profile.seconds_per_sample
    rows = {
        row.key: (
            *_value(row, seconds),
            {caller: _call_value(samples, seconds) for caller, samples in row.callers.items()},
        )
        for row in summarize(profile, key)
    }
    return rows or {("~", 0, "<no samples of Python code>"): (0, 0, 0.0, 0.0, {})}


def _value(samples: Samples, seconds: float) -> StatsValue:
    return samples.own, samples.cumulative, samples.own * seconds, samples.cumulative * seconds


def _call_value(samples: Samples, seconds: float) -> StatsValue:
    direct, cumulative, own_time, cumulative_time = _value(samples, seconds)
    return cumulative, direct, own_time, cumulative_time


EXPORTER = Exporter(PstatsFileOptions, write)

"""What the four benchmarks of hard programs share: sample for long at two rates, check every stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench import core
from bench.common import Options, Report, Row, one_in, percent
from bench.profilers import HIGHEST_HZ, Recording, Stack
from bench.targets import Target, interpreter, running
from bench.truth import Possible, impossible

RATES = {"10 kHz": 10_000, "highest rate": HIGHEST_HZ}
IMPOSSIBLE_BAR = 100_000
FAILED_BAR = 0.001


def versions(options: Options) -> Sequence[str]:
    """One of each family of frames."""
    if options.python:
        return [options.python]
    return options.pick(["3.8", "3.10", "3.11", "3.12", "3.13", "3.14"], ["3.10", "3.12", "3.13"])


def judge(what: str, recordings: Sequence[Recording], possible: Possible) -> Row:
    """A row: how many stacks were impossible, how many samples failed, of all recordings together."""
    wrong = sum((impossible(recording, possible) for recording in recordings), Counter[Stack]())
    samples = sum(recording.samples for recording in recordings)
    failed = sum(recording.failed for recording in recordings)
    failed_share = failed / max(samples + failed, 1)
    example = f", such as {';'.join(wrong.most_common(1)[0][0][-6:])}" if wrong else ""
    return Row(
        what,
        f"impossible {one_in(wrong.total(), samples)}{example}; failed {percent(failed_share, 3)}",
        bar=f"impossible at most 1 in {IMPOSSIBLE_BAR:,}, failed at most {percent(FAILED_BAR, 1)}",
        met=samples > 0 and wrong.total() * IMPOSSIBLE_BAR <= samples and failed_share <= FAILED_BAR,
    )


def check(report: Report, options: Options, program: str, possible: Possible, *arguments: str) -> None:
    """Add rows for a program: each version, each rate."""
    for version in versions(options):
        with running(interpreter(version), program, *arguments) as target:
            report.rows += [_row(target, program, rate, possible, options) for rate in RATES]


def _row(target: Target, program: str, rate: str, possible: Possible, options: Options) -> Row:
    # At 10 kHz enough samples to see one in a hundred thousand.
    recording = core.record(target, RATES[rate], options.pick(12.0 if RATES[rate] < HIGHEST_HZ else 4.0, 3.0))
    return judge(f"{program}, {rate}, {target.interpreter.version}", [recording], possible)

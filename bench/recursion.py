"""Recursion of changing depth, two functions calling each other: never the same one twice in a row."""

from __future__ import annotations

from bench import hard, truth
from bench.common import Options, Report, main


def benchmark(options: Options) -> Report:
    """Each version at both rates."""
    report = Report()
    hard.check(report, options, "recursion", truth.recursion)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

"""Recursion of changing depth: two functions in turn, and four in an order that changes from round to round."""

from __future__ import annotations

from bench import hard, truth
from bench.common import Options, Report, main


def benchmark(options: Options) -> Report:
    """Each version at both rates."""
    report = Report()
    hard.check(report, options, "recursion", truth.recursion)
    hard.check(report, options, "mutual", truth.mutual, *truth.WAYS)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

"""Functions that come and go, so that addresses of code objects are used again: are the names right?"""

from __future__ import annotations

from bench import hard, truth
from bench.common import Options, Report, main


def benchmark(options: Options) -> Report:
    """Functions made anew all the time, and code objects made anew as well."""
    report = Report()
    hard.check(report, options, "churn", truth.churn)
    hard.check(report, options, "fresh_code", truth.churn)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

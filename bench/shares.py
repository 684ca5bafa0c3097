"""Known shares: four functions that take 10, 20, 30 and 40 % of the time, in calls of 20 µs and of 2 ms.

The target measures what each really took, between the same moments that are sampled. An honest sampler is within the
binomial interval around that: 99.9 % of the time if its samples are independent.
"""

from __future__ import annotations

import math

from bench import core
from bench.common import Options, Report, Row, main, percent
from bench.profilers import Recording
from bench.targets import Target, interpreter, running

FUNCTIONS = ("work_10", "work_20", "work_30", "work_40")
CALLS = {"20 µs": "20", "2 ms": "2000"}
RATES = {"1 kHz": 1000, "10 kHz": 10_000, "100 kHz": 100_000}
SIGMAS = 3.2905  # 99.9 % of a normal distribution lie within


def _deviations(recording: Recording, spent: dict[str, float]) -> tuple[list[float], list[float], list[float]]:
    """Shares, true shares, and their differences in standard deviations; main's own work is left out."""
    counts = [recording.share(name) * recording.samples for name in FUNCTIONS]
    total, seconds = sum(counts), sum(spent.values())
    shares = [count / total for count in counts]
    true = [spent[name] / seconds for name in FUNCTIONS]
    sigmas = [(p - q) / math.sqrt(q * (1 - q) / total) for p, q in zip(shares, true, strict=True)]
    return shares, true, sigmas


def _row(target: Target, call: str, rate: str, seconds: float) -> Row:
    before = target.report()
    recording = core.record(target, RATES[rate], seconds)
    shares, true, sigmas = _deviations(recording, target.spent_since(before))
    worst = max(sigmas, key=abs)
    return Row(
        f"calls of {call}, {rate}, {target.interpreter.version}",
        f"{' / '.join(percent(share) for share in shares)}; worst {worst:+.1f} σ of {recording.samples:,}",
        reference=" / ".join(percent(share) for share in true),
        bar="within the 99.9 % interval (3.3 σ)",
        met=abs(worst) <= SIGMAS,
    )


def benchmark(options: Options) -> Report:
    """Each length of call at each rate."""
    report = Report()
    for call, microseconds in CALLS.items():
        with running(interpreter(options.python or "3.13"), "shares", microseconds) as target:
            for rate in RATES:
                report.rows.append(_row(target, call, rate, options.pick(30.0, 5.0)))
    report.note("milliseconds in which the profiler does not run while the target's clock does add to the deviation")
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

"""A program with a period: `python period.py PERIOD_US SHARE` is in part_a for SHARE of each.

The rest of the time it is in part_b. SIGUSR1: report the seconds spent in each so far.
"""

import json
import signal
import sys
import time

clock = time.perf_counter
PERIOD = float(sys.argv[1]) / 1e6
LENGTH_A = PERIOD * float(sys.argv[2])
spent = {"part_a": 0.0, "part_b": 0.0}


def report(*_: object) -> None:
    print(json.dumps(spent), flush=True)


def part_a(start: float, end: float) -> None:
    now = start
    while now < end:
        now = clock()
    spent["part_a"] += now - start


def part_b(start: float, end: float) -> None:
    now = start
    while now < end:
        now = clock()
    spent["part_b"] += now - start


def main() -> None:
    """Periods start on time: one that was late is followed by a shorter one, so the phase never drifts."""
    start = clock()
    while True:
        part_a(clock(), start + LENGTH_A)
        part_b(clock(), start + PERIOD)
        start += PERIOD
        if clock() > start + PERIOD:  # lost a whole period to something else: skip, in phase
            start += int((clock() - start) / PERIOD) * PERIOD


signal.signal(signal.SIGUSR1, report)
print("ready", flush=True)
main()

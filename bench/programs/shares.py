"""Four functions that take 10, 20, 30 and 40 % of the time, in calls of equal length: `python shares.py CALL_US`.

SIGUSR1: report the seconds spent in each so far.
"""

import json
import random
import signal
import sys
import time

clock = time.perf_counter
CALL = float(sys.argv[1]) / 1e6
spent = [0.0, 0.0, 0.0, 0.0]


def report(*_: object) -> None:
    print(json.dumps({f"work_{i + 1}0": seconds for i, seconds in enumerate(spent)}), flush=True)


def work_10() -> None:
    start = now = clock()
    while now - start < CALL:
        now = clock()
    spent[0] += now - start


def work_20() -> None:
    start = now = clock()
    while now - start < CALL:
        now = clock()
    spent[1] += now - start


def work_30() -> None:
    start = now = clock()
    while now - start < CALL:
        now = clock()
    spent[2] += now - start


def work_40() -> None:
    start = now = clock()
    while now - start < CALL:
        now = clock()
    spent[3] += now - start


def main() -> None:
    calls = [work_10] * 100 + [work_20] * 200 + [work_30] * 300 + [work_40] * 400
    random.Random(1).shuffle(calls)
    while True:
        for call in calls:
            call()


signal.signal(signal.SIGUSR1, report)
print("ready", flush=True)
main()

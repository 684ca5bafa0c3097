"""Four functions that take 10, 20, 30 and 40 % of the work, and tell at the end how much time each of them had.

Work is counted in iterations; the argument says how many make one call. Time is what `perf_counter` measures around
blocks of many calls, as the machine does not do the same number of iterations in the same time everywhere. After
"ready" the program waits for a line; it works for the seconds that the second argument says.
"""

import json
import os
import sys
import time

LOOPS, SECONDS = int(sys.argv[1]), float(sys.argv[2])
CALLS_PER_BLOCK = 100_000 // LOOPS

spent = {}


def work_10(loops):
    for _ in range(loops):
        pass


def work_20(loops):
    for _ in range(2 * loops):
        pass


def work_30(loops):
    for _ in range(3 * loops):
        pass


def work_40(loops):
    for _ in range(4 * loops):
        pass


def block(function):
    start = time.perf_counter()
    for _ in range(CALLS_PER_BLOCK):
        function(LOOPS)
    spent[function.__name__] = spent.get(function.__name__, 0.0) + time.perf_counter() - start


def main():
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for function in (work_10, work_20, work_30, work_40):
            block(function)


def parked():
    """Where the program is while the sampler is started and stopped."""
    return os.read(0, 1)


print("ready", flush=True)
parked()
main()
print(json.dumps(spent), flush=True)
parked()

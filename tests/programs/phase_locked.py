"""30 % of every period in one function and the rest in another: the argument is the period in nanoseconds.

Tells at the end how much time each of them had.
"""

import json
import os
import sys
import time

PERIOD_NS, SECONDS = int(sys.argv[1]), float(sys.argv[2])
clock = time.perf_counter_ns


def first(until):
    while clock() < until:
        pass


def second(until):
    while clock() < until:
        pass


def main():
    due = clock()
    end = due + int(SECONDS * 1e9)
    spent = {"first": 0, "second": 0}
    now = due
    while now < end:
        due += PERIOD_NS
        while due < now:
            due += PERIOD_NS
        first(due - PERIOD_NS * 7 // 10)
        between = clock()
        second(due)
        after = clock()
        spent["first"] += between - now
        spent["second"] += after - between
        now = after
    return spent


def parked():
    """Where the program is while the sampler is started and stopped."""
    return os.read(0, 1)


print("ready", flush=True)
parked()
spent = main()
print(json.dumps(spent), flush=True)
parked()

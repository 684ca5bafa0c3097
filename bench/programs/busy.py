"""A busy program with a stack of fixed depth: `python busy.py DEPTH`. SIGUSR1: report the work done so far.

DEPTH counts all frames, from the module to the leaf. The leaf takes half a microsecond or so.
"""

import json
import signal
import sys
import time

CALLS_PER_BLOCK = 200
blocks = 0


def report(*_: object) -> None:
    print(json.dumps({"work": blocks, "time": time.perf_counter()}), flush=True)


def leaf() -> int:
    total = 0
    for i in range(10):
        total += i
    return total


def work() -> None:
    global blocks
    print("ready", flush=True)
    while True:
        for _ in range(CALLS_PER_BLOCK):
            leaf()
        blocks += 1


def down(levels: int) -> None:
    if levels:
        down(levels - 1)
    else:
        work()


depth = int(sys.argv[1])
sys.setrecursionlimit(depth + 200)
signal.signal(signal.SIGUSR1, report)
down(depth - 4)  # beside this module, work, leaf and the call with 0 levels

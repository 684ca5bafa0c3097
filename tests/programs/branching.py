"""Recursion that takes one of eight ways at each step: nearly every stack is a new one."""

import random
import sys
import time

DEPTH = int(sys.argv[1])
PAUSE_NS = 150_000
ways = []


def spin():
    end = time.perf_counter_ns() + PAUSE_NS
    while time.perf_counter_ns() < end:
        pass


def descend(depth):
    if depth:
        random.choice(ways)(depth - 1)
    else:
        spin()


for each in range(8):
    exec(f"def way_{each}(depth):\n    descend(depth)\nways.append(way_{each})\n", globals())

print("ready", flush=True)
while True:
    descend(DEPTH)

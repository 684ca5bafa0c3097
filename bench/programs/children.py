"""Runs children one after the other, each of which computes for 50 ms of CPU time. Argument: how many. Tells at the end
how much CPU time their work took, and how much time by the clock on the wall, in seconds; exit status 3."""

import subprocess
import sys

CHILD = """
import time

def work():
    clock, wall = time.process_time, time.perf_counter()
    begin = clock()
    while clock() - begin < 0.05:
        for _ in range(500):
            pass
    return clock() - begin, time.perf_counter() - wall

print(*work(), flush=True)
"""

total = [0.0, 0.0]
for _ in range(int(sys.argv[1])):
    child = subprocess.run([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, check=True)
    total = [whole + float(part) for whole, part in zip(total, child.stdout.split(), strict=True)]
print(*total, flush=True)
sys.exit(3)

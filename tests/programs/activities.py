"""Does what its arguments say, each for some milliseconds in turn, and tells how long, in seconds of the clock.

Kinds: compute (Python), sleep, hash (C code without the GIL), handle (Python inside an exception handler), collect
(the garbage collector). After a byte on standard input it tells [{kind: seconds}, seconds that sleep came late].
"""

import gc
import hashlib
import json
import os
import sys
import time

kinds, slice_s = sys.argv[1].split(","), float(sys.argv[2]) / 1000
clock = time.perf_counter
block = bytes(200_000)
garbage = [[] for _ in range(200_000)]
gc.disable()


def compute(until):
    total = 0
    while clock() < until:
        for each in range(100):
            total += each


def sleep(until):
    global late
    time.sleep(max(until - clock(), 0))
    late += clock() - until


def hash(until):
    while clock() < until:
        hashlib.sha256(block).digest()


def handle(until):
    try:
        raise ValueError(until)
    except ValueError:
        compute(until)


def collect(until):
    while clock() < until:
        gc.collect()


doers = {each.__name__: each for each in (compute, sleep, hash, handle, collect)}
spent, late = dict.fromkeys(kinds, 0.0), 0.0
print("ready", flush=True)
os.read(0, 1)
end = clock() + float(sys.argv[3])
while clock() < end:
    for kind in kinds:
        begin = clock()
        doers[kind](begin + slice_s)
        spent[kind] += clock() - begin
print(json.dumps([spent, late]), flush=True)
os.read(0, 1)

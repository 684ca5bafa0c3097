"""Go from one function to another every 50 ms or so, and tell when each began, by the monotonic clock."""

import json
import os
import time

print("ready", flush=True)
os.read(0, 1)
begun = []


def even():
    begun.append(time.monotonic_ns())
    while time.monotonic_ns() < begun[-1] + 47_000_000:
        pass


def odd():
    begun.append(time.monotonic_ns())
    while time.monotonic_ns() < begun[-1] + 53_000_000:
        pass


for _ in range(14):
    even()
    odd()
print(json.dumps(begun), flush=True)
os.read(0, 1)

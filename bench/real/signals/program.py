"""What `python -m bench.real.signals` samples: CPython 3.8 to 3.15.

    program.py INSIDE LIBRARY OUTPUT INTERVAL_US PROGRESS DEPTH

It works for ever DEPTH calls deep: in turns `alone`, which calls `plain` again and again, and `beside`, which calls
`asking`, a short system call, after each. What `beside` takes longer is what `asking` and its call take.
PROGRESS is a file to map: int64 iterations, then float64 seconds of CPU in `alone` and in `beside`.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import struct
import sys
import time

CALLS = 50  # of each function in each iteration
PLAIN = 100  # rounds of each call: some 5 us
PROGRESS = struct.Struct("qdd")


def install(inside_path: str, library: str, output: str, interval_us: str) -> None:
    """Load inside.py by its path, and the sampler."""
    spec = importlib.util.spec_from_file_location("inside", inside_path)
    assert spec is not None and spec.loader is not None
    inside = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inside)
    inside.install(library, output, float(interval_us))


def plain() -> int:
    """Work without system calls."""
    total = 0
    for i in range(PLAIN):
        total += i * i
    return total


def asking() -> None:
    """One short system call."""
    os.getpid()


def alone() -> None:
    """Work without system calls."""
    for _ in range(CALLS):
        plain()


def beside() -> None:
    """The same work, with them."""
    for _ in range(CALLS):
        plain()
        asking()


def below(depth: int, progress: mmap.mmap) -> None:
    """Work for ever, so many calls deep."""
    if depth:
        below(depth - 1, progress)
    iterations, in_alone, in_beside, now = 0, 0.0, 0.0, time.thread_time
    while True:
        start = now()
        alone()
        middle = now()
        beside()
        end = now()
        iterations += 1
        in_alone += middle - start
        in_beside += end - middle
        PROGRESS.pack_into(progress, 0, iterations, in_alone, in_beside)


def main() -> None:
    """Do as told."""
    *installation, path, depth = sys.argv[1:]
    install(*installation)
    sys.setrecursionlimit(10_000)
    with open(path, "r+b") as stream:
        progress = mmap.mmap(stream.fileno(), PROGRESS.size)
    print("ready", flush=True)
    below(int(depth), progress)


if __name__ == "__main__":
    main()

"""Many threads: some compute in Python, the others wait, 15 frames deep. Arguments: all, computing."""

import sys
import threading

threads, busy = int(sys.argv[1]), int(sys.argv[2])
over = threading.Event()
started = threading.Barrier(threads)


def leaf(count: int) -> int:
    total = 0
    for each in range(count):
        total += each
    return total


def work() -> None:
    started.wait()
    while True:
        leaf(300)


def down(depth: int) -> bool:
    if depth:
        return down(depth - 1)
    started.wait()
    return over.wait()


for number in range(threads - 1):
    if number < busy:
        threading.Thread(target=work, daemon=True).start()
    else:
        threading.Thread(target=down, args=(12,), daemon=True).start()
started.wait()
print("ready", flush=True)
over.wait()

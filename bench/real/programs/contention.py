"""For -a: three Python workers and the main thread contend for the GIL beside threads that wait for a lock, a queue, an
event, sleep and read a pipe. An iteration ends when each worker has done its part."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable

ALL_THREADS = True
WORKERS = 3
PARTS = 120


def count(end: int) -> int:
    total = 0
    for number in range(end):
        total += number ^ 3
    return total


def shuffle(words: list[str]) -> str:
    return "".join(sorted(words, key=lambda word: word[::-1]))


def part(kind: int) -> None:
    """Each worker has a mix of its own."""
    words = ["alpha", "beta", "gamma", "delta"]
    for number in range(PARTS):
        if number % WORKERS == kind:
            shuffle(words * 20)
        else:
            count(300)


def worker(kind: int, together: threading.Barrier) -> None:
    while True:
        together.wait()
        part(kind)
        together.wait()


def holding(lock: threading.Lock, ready: threading.Barrier) -> None:
    lock.acquire()
    ready.wait()
    while True:
        time.sleep(3600)


def for_lock(lock: threading.Lock, ready: threading.Barrier) -> None:
    ready.wait()
    with lock:
        pass


def for_queue(ready: threading.Barrier) -> None:
    ready.wait()
    queue.Queue().get()


def for_event(ready: threading.Barrier) -> None:
    ready.wait()
    threading.Event().wait()


def for_pipe(ready: threading.Barrier) -> None:
    reading, _ = os.pipe()
    ready.wait()
    os.read(reading, 1)


def start(name: str, target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, name=name, daemon=True).start()


def setup() -> Callable[[], object]:
    together, ready, lock = threading.Barrier(WORKERS + 1), threading.Barrier(6), threading.Lock()
    start("holder", holding, lock, ready)
    start("for lock", for_lock, lock, ready)
    start("for queue", for_queue, ready)
    start("for event", for_event, ready)
    start("for pipe", for_pipe, ready)
    ready.wait()
    for number in range(WORKERS):
        start(f"worker {number}", worker, number, together)

    def iterate() -> None:
        together.wait()
        part(WORKERS)
        together.wait()

    return iterate

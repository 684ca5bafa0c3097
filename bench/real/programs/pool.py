"""For -a: four threads of a pool work off tasks that compute and sleep a little; the main thread waits for results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

ALL_THREADS = True
THREADS = 4
TASKS = 48


def numbers(end: int) -> Iterator[int]:
    yield from (number for number in range(end) if number % 3)


def compute(size: int) -> int:
    return sum(number * number for number in numbers(size))


def task(number: int) -> int:
    result = compute(1500 + 100 * (number % 4))
    time.sleep(0.0005)
    return result


def round_of(pool: ThreadPoolExecutor) -> int:
    futures = [pool.submit(task, number) for number in range(TASKS)]
    return sum(future.result() for future in as_completed(futures))


def setup() -> Callable[[], object]:
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="pool")
    return lambda: round_of(pool)

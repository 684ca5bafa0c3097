"""A function that makes a system call, two that make none: a stop by ptrace comes late here, a signal does not."""

from __future__ import annotations

import os
from collections.abc import Callable

NEAR_SYSTEM_CALLS = True


def ask() -> int:
    return os.getpid()


def short() -> int:
    total = 0
    for number in range(10):
        total += number
    return total


def long() -> int:
    total = 0
    for number in range(20):
        total += number
    return total


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(5000):
            ask()
            short()
            long()

    return iterate

"""Two call chains in turn, so that a torn read mixes them: `python alternating.py LEAF_US` (0: leaves do nothing)."""

import sys
import time

LEAF_US = float(sys.argv[1])
rounds = 0

if LEAF_US:

    def leaf_a() -> None:
        for _ in range(rounds):
            pass

    def leaf_b() -> None:
        for _ in range(rounds):
            pass

else:

    def leaf_a() -> None:
        pass

    def leaf_b() -> None:
        pass


def a3() -> None:
    leaf_a()


def a2() -> None:
    a3()


def a1() -> None:
    a2()


def b3() -> None:
    leaf_b()


def b2() -> None:
    b3()


def b1() -> None:
    b2()


def time_of_leaf(count: int) -> float:
    """Seconds of one leaf with `count` rounds, the least of some measurements."""
    global rounds
    rounds = count
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(200):
            leaf_a()
        best = min(best, (time.perf_counter() - start) / 200)
    return best


def main() -> None:
    while True:
        a1()
        b1()


if LEAF_US:
    time_of_leaf(100)  # warm
    base = time_of_leaf(0)
    per_round = max(time_of_leaf(1000) - base, 1e-9) / 1000
    rounds = max(int((LEAF_US * 1e-6 - base) / per_round) + 1, 1)
print("ready", flush=True)
main()

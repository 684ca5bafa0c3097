"""The judge's arithmetic: what chance does is not wrong, what a sampler does to one function is, and is named."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from bench.real import distance, stacks
from bench.real.distance import Turn
from bench.real.judge import SPOILS, delayed, dropped, spoilable, swapped, verdict
from bench.real.measure import Measured
from bench.real.samplers import STOPPED, Take
from hypothesis import given
from hypothesis import strategies as st

MANY = 200
SHARES = {"a": 0.3, "b": 0.25, "c": 0.2, "d": 0.1, "e": 0.08, "f": 0.05, "g": 0.02}

shares = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1).map(
    lambda found: {name: value / (sum(found.values()) or 1) for name, value in found.items()}
)


def drawn(true: dict[str, float], samples: int, chosen: random.Random, seconds: float = 1.0) -> Turn:
    counted = Counter(chosen.choices(list(true), weights=list(true.values()), k=samples))
    return Turn({name: count / samples for name, count in counted.items()}, samples, seconds)


def turns(true: dict[str, float], chosen: random.Random, count: int = 6, samples: int = 1000) -> list[Turn]:
    return [drawn(true, samples, chosen) for _ in range(count)]


@given(shares, shares)
def test_distance_is_a_distance(left: dict[str, float], right: dict[str, float]) -> None:
    assert distance.distance(left, left) == 0
    assert distance.distance(left, right) == pytest.approx(distance.distance(right, left))
    assert 0 <= distance.distance(left, right) <= 100 + 1e-6


@pytest.mark.parametrize(("samples", "others"), [(1000, 6000), (1000, 500), (200, 20_000)])
def test_honest_samples_have_no_excess(samples: int, others: int) -> None:
    chosen = random.Random(3)
    excesses = [
        distance.excess(turns(SHARES, chosen, samples=samples), drawn(SHARES, others, chosen, 6.0)) for _ in range(MANY)
    ]
    assert abs(sum(excesses) / MANY) < 0.3


def test_phases_of_the_program_are_no_excess() -> None:
    """Each turn meets more of one of two phases: turns differ by far more than chance would have it."""
    chosen, excesses = random.Random(4), []

    def phased() -> Turn:
        a_lot = chosen.uniform(0.1, 0.5)
        return drawn({"a": a_lot, "b": 1 - a_lot}, 2000, chosen)

    for _ in range(MANY):
        candidate = distance.joined([phased() for _ in range(8)])
        excesses.append(distance.excess([phased() for _ in range(8)], candidate))
    assert abs(sum(excesses) / MANY) < 1.5
    chances = [distance.chance([phased() for _ in range(8)], Turn({}, 16_000, 8.0)) for _ in range(MANY)]
    assert sum(chances) / MANY > 3  # independent samples would be some 0.4 points apart


def test_honest_samples_name_no_function() -> None:
    chosen = random.Random(5)
    named = sum(bool(distance.off(turns(SHARES, chosen), turns(SHARES, chosen), 2.0)) for _ in range(MANY))
    assert named <= 0.02 * MANY


def test_a_function_that_loses_half_is_named() -> None:
    chosen = random.Random(6)
    wrong = {name: share / 2 if name == "d" else share * (1 + 0.05 / 0.9) for name, share in SHARES.items()}
    found = [distance.off(turns(SHARES, chosen), turns(wrong, chosen), 2.0) for _ in range(MANY)]
    assert sum(each[:1] != [] and each[0].function == "d" for each in found) >= 0.95 * MANY


def test_more_samples_and_longer_looks_leave_less_to_chance() -> None:
    chosen = random.Random(7)
    reference = turns(SHARES, chosen, count=20)
    sizes = [distance.chance(reference, Turn(SHARES, samples, samples / 1000)) for samples in (100, 1000, 10_000)]
    assert sizes == sorted(sizes, reverse=True)


def a_turn(chosen: random.Random) -> Take:
    calls = Counter(chosen.choices(list(SHARES), weights=list(SHARES.values()), k=2000))
    return Take(Counter({("x.py:main:1", f"x.py:{name}:1"): count for name, count in calls.items()}), 1.0)


def test_a_judge_names_what_was_spoilt_and_nothing_else() -> None:
    chosen = random.Random(8)
    measured = Measured("made up", "3.13", {STOPPED: [a_turn(chosen) for _ in range(12)]})
    found = verdict(measured, runs=40)
    assert found.function == "x.py:d:1"
    assert found.clean >= 39
    assert all(count >= 39 for count in found.named.values()), found.named
    assert set(found.named) == set(SPOILS)


def test_spoilt_samples() -> None:
    chosen = random.Random(9)
    whole = Counter({("m", "f"): 1000, ("m", "g"): 3000})
    assert 400 < dropped(whole, "f", chosen)["m", "f"] < 600
    assert delayed(whole, "f", chosen).total() == swapped(whole, "f", chosen).total() == 4000
    assert 400 < swapped(whole, "f", chosen)[("m",)] < 600
    assert spoilable(whole) == "" and spoilable(Counter({("f",): 11, ("g",): 89})) == "f"


def test_stacks_of_all_profilers_have_one_form() -> None:
    expected = Counter({("target.py:steady:1", "x.py:A.f:3"): 2})
    assert stacks.collapsed("thread:Main (7);/a b/target.py:steady:1;../c/x.py:A.f:3 2") == expected
    assert stacks.pyspy("steady (/a b/target.py:1);__init__ (__init__);A.f (/c/x.py:3) 2") == expected
    assert stacks.collapsed("<frozen runpy>:run:3;<GC> 5") == Counter({("<frozen runpy>:run:3", "<GC>"): 5})


def test_shares() -> None:
    counted = Counter({("m", "f"): 1, ("m", "f", "f"): 1, ("m",): 2, ("m", "<GC>"): 4})
    assert stacks.self_shares(counted) == {"f": 0.25, "m": 0.25, "<GC>": 0.5}
    assert stacks.total_shares(counted) == {"m": 1.0, "f": 0.25, "<GC>": 0.5}
    assert stacks.self_shares(stacks.python_only(counted)) == {"f": 0.25, "m": 0.75}
    assert stacks.below_root(("x.py:m:1", "target.py:steady:9", "x.py:f:1")) == ("x.py:f:1",)
    assert stacks.below_root(("x.py:m:1",)) is None

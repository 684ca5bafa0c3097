"""`bench/real` works from end to end: two programs, a few seconds, limits so loose that only a break reaches them."""

from __future__ import annotations

import os
import platform
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("the benchmarks need Python 3.11 or later", allow_module_level=True)

from bench.real import figures, measure, report, samplers
from bench.real.measure import Limits, Program
from bench.real.samplers import RATES, SIGNALS, STOPPED

VERSION = ".".join(platform.python_version_tuple()[:2])
LOOSE_POINTS = 60.0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="target and sampler need a CPU each")
@pytest.mark.parametrize("name", ["small/fib", "small/forgen"])
def test_a_program_is_judged(name: str) -> None:
    own = samplers.our_own()
    who = [samplers.reference(own), *samplers.ours(own).values()]
    measured = measure.measure(Program(name), VERSION, Limits(rounds=2, seconds=60), who)
    assert {STOPPED, SIGNALS, *RATES} == set(measured.turns)
    assert all(take.stacks.total() > 0 for takes in measured.turns.values() for take in takes)
    found = figures.figures(measured)
    for each in found:
        assert each.samples > 0 and each.chance > 0 and each.judge == STOPPED
        assert 0 <= each.distance < LOOSE_POINTS, each
    text = report.document({(name, VERSION): found}, ["nothing"], "this one")
    assert f"| {name} | stopped | " in text and "- nothing" in text

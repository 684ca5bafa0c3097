"""Run by test_core.py in a process of its own: sample a live target with impossible layouts and garbage addresses.

Arguments: the interpreter of the target, the number of examples. Ends with status 0 and the line "survived".
"""

from __future__ import annotations

import dataclasses
import faulthandler
import sys
from types import SimpleNamespace
from typing import Any

from core_support import PROGRAMS, attach, run_for, stacks_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import spawn_target

from tachyscope._core.sampler import Sampler
from tachyscope.errors import CorruptTarget
from tachyscope.target import runtime
from tachyscope.target.layouts import layout_fields
from tachyscope.target.process import read_maps

OFFSETS = st.one_of(st.integers(-2, 330), st.sampled_from([4095, 4096, 1 << 20, 2**31 - 1, -(2**31), -64]))
CHANGES = st.dictionaries(st.sampled_from(layout_fields()), OFFSETS, max_size=2)
SECONDS = 0.002
EVERY_THREAD = 0
HANGS_SECONDS = 300
GARBAGE = "<GC>"  # stands beside the frames that were read


def fuzz(python: str, examples: int) -> None:
    with spawn_target(python, PROGRAMS / "mixed.py") as target:
        here = attach(target.pid)
        usual = dataclasses.asdict(here.runtime.layout)
        readable = [each for each in read_maps(target.pid) if "r" in each.permissions and each.path != "[vvar]"]
        inside = st.sampled_from(readable).flatmap(lambda each: st.integers(each.start, each.end - 1))
        threads = st.one_of(st.sampled_from([here.thread, EVERY_THREAD]), inside, st.integers(0, 2**64 - 1))
        interpreters = runtime.interpreters(here.runtime, here.read)

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(CHANGES, threads, st.integers(1, 50))
        def survives(changes: dict[str, int], thread: int, max_depth: int) -> None:
            layout: Any = SimpleNamespace(**(usual | changes))
            try:
                sampler = Sampler(
                    target.pid, layout, thread, interval_ns=1, max_depth=max_depth, interpreters=interpreters
                )
            except CorruptTarget:
                return
            run_for(sampler, SECONDS)
            for stack in stacks_of(sampler):
                assert sum(seen.name != GARBAGE for seen in stack) <= max_depth

        survives()


faulthandler.enable()
faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True)
fuzz(sys.argv[1], int(sys.argv[2]))
print("survived")

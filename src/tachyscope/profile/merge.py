"""One profile of several processes: each has a frame of its own at the root of its stacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tachyscope.profile.model import Accuracy, Frame, Function, Pauses, Profile, StackTree, ThreadInfo

MAX_COMMAND = 60
"""Characters of a command line in the name of a process."""


def merge(profiles: Sequence[Profile]) -> Profile:
    """Return the sum of the profiles, in the name of the first one's process; times are of all processes together.

    Where a process had several threads, each has a frame below that of the process: the result has one thread.
    """
    tree, counts = StackTree(), Counter[int]()
    for profile in profiles:
        for thread, raw in zip(profile.threads, profile.counts, strict=True):
            base = [_frame(_process(profile))]
            if len(profile.threads) > 1:
                base.append(_frame(f"thread {thread.name or 'unnamed'} ({thread.tid})"))
            for node, count in raw.items():
                counts[tree.add([*base, *profile.tree.stack(node)])] += count
    accuracy = _sum([profile.accuracy for profile in profiles])
    whole = ThreadInfo(profiles[0].target.pid, is_main=True, samples=accuracy.samples, seen=accuracy.samples)
    return Profile(profiles[0].target, accuracy, [whole], tree, [dict(counts)])


def _process(profile: Profile) -> str:
    command = " ".join(profile.target.command)
    command = command if len(command) <= MAX_COMMAND else f"{command[: MAX_COMMAND - 1]}…"
    return f"process {profile.target.pid} ({command})"


def _frame(name: str) -> Frame:
    return Frame(Function(name, name, "~", 0), 0)


def _sum(said: Sequence[Accuracy]) -> Accuracy:
    names = (
        "duration_s", "ticks", "samples", "failed", "missed", "reads", "uncertain", "reconstructed", "interrupted",
        "truncated", "left_out", "squares",
    )  # fmt: skip
    sums = {name: sum(getattr(each, name) for each in said) for name in (*names, "profiler_cpu_s")}
    pauses = sum((each.pauses for each in said), Pauses())
    return replace(said[0], **sums, pauses=pauses)

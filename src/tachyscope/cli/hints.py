"""What may help whoever reads a result: one line, where a run mostly waited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tachyscope.profile.model import Frame, Profile

MOSTLY = 0.5
KNOWN_LEAST_S = 0.04
"""Of what the kernel said, before it is believed that a thread waits: it is asked every 2 ms."""

CHILDREN = {
    ("subprocess.py", "_try_wait"), ("subprocess.py", "_wait"), ("subprocess.py", "wait"),
    ("subprocess.py", "communicate"), ("multiprocessing/popen_fork.py", "poll"),
    ("multiprocessing/popen_forkserver.py", "poll"), ("concurrent/futures/process.py", "wait_result_broken_or_wakeup"),
}  # fmt: skip
"""Functions of the standard library in which a program waits for its children."""


def hint(profile: Profile, follows_children: bool) -> str | None:
    """Return what to say, if anything. `follows_children`: descendants are sampled already."""
    waited = _waited_share(profile)
    if waited < MOSTLY:
        return None
    in_children, functions = Counter[bool](), Counter[str]()
    for _, stack, count in profile.stacks():
        in_children[_waits_for_children(stack)] += count
        functions[_leaf(stack)] += count
    part = in_children[True] / max(in_children.total(), 1)
    if part >= MOSTLY and not follows_children:
        return f"{_percent(part)} of the time it waited for its child processes: --subprocesses shows where theirs goes"
    ((name, count),) = functions.most_common(1)
    where = f", most of it in {name} ({_percent(count / functions.total())})" if name else ""
    return f"{_percent(waited)} of the time it waited{where}; --mode cpu leaves that out"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _waited_share(profile: Profile) -> float:
    """How often the kernel had the sampled threads not on a CPU; 0 if it was not asked often enough."""
    known = sum(thread.cpu_known for thread in profile.threads)
    found = sum(thread.on_cpu for thread in profile.threads)
    return 1 - found / known if known * profile.accuracy.interval_us >= KNOWN_LEAST_S * 1e6 else 0.0


def _waits_for_children(stack: Sequence[Frame]) -> bool:
    return any(
        frame.function.name == name and frame.function.filename.endswith(f"/{file}")
        for frame in stack
        for file, name in CHILDREN
    )


def _leaf(stack: Sequence[Frame]) -> str:
    functions = [frame.function for frame in stack if frame.function.first_line]
    if not functions:
        return ""
    return f"{functions[-1].filename.rpartition('/')[2]}:{functions[-1].first_line}({functions[-1].name})"

"""The share of empty leaf functions, against three truths.

*Differential timing*, in the target: the time of a loop with the calls less that of the same loop without them
(`full - none`). That is what a call costs: looking the name up, making the call, and the leaf itself. A profiler can
only see the last part, as only then the leaf's frame is the one that runs; `full - mention`, without the looking-up, is
closer.

*A target that stands still*: stopped by the kernel at random moments and read at leisure, by the same rules for which
frame is the leaf.

*What memory shows*: bare readings of the current frame, eight bytes and nothing else. An interrupt finds an
instruction that has not finished; another CPU finds what has left the store buffer, where a call's two writes follow
each other more closely than its instructions. No reader of memory can see more than this; what is left is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import core, stopped
from bench.common import Options, Report, Row, alternate, main, median, percent
from bench.profilers import Profiler, PySpy, Recording, available
from bench.targets import Interpreter, Target, interpreter, running

RATE_HZ = 10_000
FACTOR = 1.3
LEAVES = ("leaf_a", "leaf_b")


@dataclass(frozen=True)
class _Found:
    """The leaves' share as each profiler has it, in a stopped target, in memory, and by timing: whole, and without the
    name."""

    version: str
    shares: dict[str, float]
    still: float
    visible: float
    whole: float
    without_name: float


def _share(recording: Recording) -> float:
    return sum(recording.share(leaf) for leaf in LEAVES)


def _share_when_stopped(target: Target, seconds: float) -> float:
    stacks = stopped.stacks(target, seconds)
    return sum(count for stack, count in stacks.items() if stack and stack[-1] in LEAVES) / stacks.total()


def _find(python: Interpreter, peers: list[Profiler], options: Options) -> _Found:
    seconds = options.pick(8.0, 3.0)
    with running(python, "empty_leaves") as target:
        nanoseconds = target.report()
        measures: dict[str, Callable[[], float]] = {
            "tachyscope": lambda: _share(core.record(target, RATE_HZ, seconds)),
            "stopped": lambda: _share_when_stopped(target, seconds),
            "visible": lambda: stopped.visible_share(target, LEAVES, seconds),
        }
        for peer in peers:
            measures[peer.name] = lambda peer=peer: _share(peer.record(target, RATE_HZ, seconds))  # type: ignore[misc]
        shares = {name: median(each) for name, each in alternate(options.pick(5, 2), measures).items()}
    full = nanoseconds["full"]
    timed = [(full - nanoseconds[less]) / full for less in ("none", "mention")]
    return _Found(python.version, shares, shares.pop("stopped"), shares.pop("visible"), *timed)


def _row(found: _Found, what: str, truth: float, explanation: str) -> Row:
    ours = found.shares["tachyscope"]
    theirs = [
        f"{name} {percent(share, 1)} = {share / truth:.2f} ×"
        for name, share in found.shares.items()
        if name != "tachyscope"
    ]
    return Row(
        f"share of empty leaves, {found.version}, against {what}",
        f"{percent(ours, 1)} = {ours / truth:.2f} ×",
        ", ".join(theirs) or "–",
        explanation,
        f"within a factor of {FACTOR}",
        1 / FACTOR <= ours / truth <= FACTOR,
    )


def _rows(python: Interpreter, peers: list[Profiler], options: Options) -> list[Row]:
    found = _find(python, peers, options)
    timed = f"{percent(found.whole, 1)} ({percent(found.without_name, 1)} without looking the name up)"
    return [
        _row(found, "timing", found.whole, timed),
        _row(found, "a stopped target", found.still, percent(found.still, 1)),
        _row(found, "what memory shows", found.visible, percent(found.visible, 1)),
    ]


def benchmark(options: Options) -> Report:
    """Several versions, as they differ in what a call costs; the standard library's profiler on its own."""
    report = Report()
    versions = [options.python] if options.python else options.pick(["3.10", "3.11", "3.12", "3.13"], ["3.11", "3.13"])
    for version in versions:
        report.rows += _rows(interpreter(version), available(report.notes, PySpy), options)
    beside = core.beside_stdlib(report.notes)
    if beside:
        report.rows += _rows(*beside, options)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

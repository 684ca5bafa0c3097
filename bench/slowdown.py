"""How much slower the target is while it is profiled: its own count of work, with and without, in turns.

The sampler runs inside this process for exactly the window in question. The reference is a clock loop of the same rate
that reads nothing: what it costs the target comes from the machine (caches, clock frequency, a shared core), not from
us.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bench import core
from bench.common import Options, Report, Row, alternate, main, median, percent
from bench.profilers import HIGHEST_HZ, Profiler, PySpy, available
from bench.targets import Target, interpreter, running
from tachyscope._core.memory import floor_rate

BARS = {"10 kHz": (10_000, 0.01), "highest rate": (HIGHEST_HZ, 0.10)}


def _work_rate(target: Target, action: Callable[[], object]) -> float:
    """What the target does per second while the action goes on."""
    before = target.report()
    action()
    done = target.spent_since(before)
    return done["work"] / done["time"]


def _measures(target: Target, rate_hz: float, seconds: float) -> dict[str, Callable[[], float]]:
    return {
        "alone": lambda: _work_rate(target, lambda: time.sleep(seconds)),
        "ours": lambda: _work_rate(target, lambda: core.record(target, rate_hz, seconds)),
        "bare": lambda: _work_rate(target, lambda: core.bare_clock(rate_hz, seconds)),
    }


def _slowdowns(rates: dict[str, list[float]], name: str) -> list[float]:
    """One figure per round, each against the undisturbed window of the same round."""
    return [1 - work / alone for work, alone in zip(rates[name], rates["alone"], strict=True)]


def _peer_slowdown(peer: Profiler, target: Target, rate_hz: float, options: Options) -> float:
    slowdowns = []
    for _ in range(options.pick(5, 2)):
        alone = _work_rate(target, lambda: time.sleep(1.0))
        with peer.at_work(target, rate_hz):
            slowdowns.append(1 - _work_rate(target, lambda: time.sleep(1.0)) / alone)
    return median(slowdowns)


def _row(target: Target, name: str, peers: list[Profiler], options: Options) -> Row:
    rate_hz, bar = BARS[name]
    rates = alternate(options.pick(15, 9), _measures(target, rate_hz, options.pick(0.6, 0.4)))
    ours, bare = (median(_slowdowns(rates, each)) for each in ("ours", "bare"))
    theirs = [f"{peer.name} {percent(_peer_slowdown(peer, target, rate_hz, options), 1)}" for peer in peers]
    return Row(
        f"slowdown at {name}, depth 25, {target.interpreter.version}",
        percent(ours),
        ", ".join(theirs) or "–",
        f"{percent(bare)} by a bare clock",
        f"at most {percent(bar, 0)}",
        ours <= bar,
    )


def _work_rate_beside(peer: Profiler, target: Target, seconds: float) -> float:
    with peer.at_work(target, HIGHEST_HZ):
        return _work_rate(target, lambda: time.sleep(seconds))


def _row_as_many(target: Target, peer: Profiler, options: Options) -> Row:
    """Both take as many samples a second as the peer can."""
    seconds = options.pick(0.6, 0.4)
    rate_hz = median([peer.record(target, HIGHEST_HZ, 1.0).rate_hz for _ in range(3)])
    measures = _measures(target, rate_hz, seconds)
    measures["peer"] = lambda: _work_rate_beside(peer, target, seconds)
    rates = alternate(options.pick(25, 15), measures)
    ours, theirs, bare = (median(_slowdowns(rates, each)) for each in ("ours", "peer", "bare"))
    return Row(
        f"slowdown at {peer.name}'s highest rate ({rate_hz:,.0f}/s), depth 25",
        percent(ours),
        f"{peer.name} {percent(theirs)}",
        f"{percent(bare)} by a bare clock",
        "no larger than the peer's",
        ours <= theirs,
    )


def _loss_ns(target: Target, alone: float, action: Callable[[], float]) -> float:
    """What the target loses by one of the samples that `action` takes; it returns how many those are per second."""
    rates: list[float] = []
    slowdown = 1 - _work_rate(target, lambda: rates.append(action())) / alone
    return 1e9 * slowdown / rates[0]


def _peer_loss_ns(peer: Profiler, target: Target, alone: float, seconds: float) -> float:
    with peer.at_work(target, HIGHEST_HZ) as at_work:
        slowdown = 1 - _work_rate(target, lambda: time.sleep(seconds)) / alone
        return 1e9 * slowdown / at_work.stop().rate_hz


def _losses(target: Target, peer: Profiler, rounds: int, seconds: float) -> dict[str, list[float]]:
    """One figure of each per round, against an undisturbed window of its own."""
    ranges = core.ranges(target)
    measures: dict[str, Callable[[float], float]] = {
        "ours": lambda alone: _loss_ns(target, alone, lambda: core.record(target, HIGHEST_HZ, seconds).rate_hz),
        "floor": lambda alone: _loss_ns(target, alone, lambda: floor_rate(target.pid, ranges, seconds)),
        "peer": lambda alone: _peer_loss_ns(peer, target, alone, seconds),
    }
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure(_work_rate(target, lambda: time.sleep(seconds))))
    return found


def _row_each(target: Target, peer: Profiler, options: Options) -> Row:
    """What one sample costs the target, where each takes as many as it can. Judged by the ratio of each round: the host
    moves the CPUs apart or together, which changes all of these fivefold, for seconds to minutes."""
    rounds = _losses(target, peer, options.pick(25, 15), options.pick(0.6, 0.4))
    found = {name: median(values) for name, values in rounds.items()}
    ratio = median(ours / theirs for ours, theirs in zip(rounds["ours"], rounds["peer"], strict=True))
    return Row(
        f"the target's loss by one sample at the highest rate, depth 25, {target.interpreter.version}",
        f"{found['ours']:,.0f} ns = {ratio:.2f} × (median of the rounds)",
        f"{peer.name} {found['peer']:,.0f} ns",
        f"{found['floor']:,.0f} ns by a loop that reads the same bytes",
        "no larger than the peer's",
        ratio <= 1,
    )


def benchmark(options: Options) -> Report:
    """Both rates, and the one that the standard library's profiler reaches; that one beside us on its own version."""
    report = Report()
    with running(interpreter(options.python or "3.13"), "busy", "25") as target:
        pyspy = available(report.notes, PySpy)
        report.rows += [_row(target, name, pyspy, options) for name in BARS]
    beside = core.beside_stdlib(report.notes)
    if beside:
        with running(beside[0], "busy", "25") as target:
            report.rows += [_row(target, name, beside[1], options) for name in BARS]
            report.rows += [_row_as_many(target, peer, options) for peer in beside[1]]
            report.rows += [_row_each(target, peer, options) for peer in beside[1]]
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

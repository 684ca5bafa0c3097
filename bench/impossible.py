"""Impossible stacks: two call chains in turn, read while they change. Every sample is checked against the chains."""

from __future__ import annotations

from bench import core, truth
from bench.common import Options, Report, Row, main, one_in
from bench.profilers import HIGHEST_HZ, Profiler, PySpy, Recording, available
from bench.targets import Target, interpreter, running

BARS = {"1": 100_000, "0": 5_000}
LEAVES = {"1": "leaves of 1 µs", "0": "empty leaves"}
RATES = {"1 kHz": 1000, "10 kHz": 10_000, "100 kHz": 100_000, "highest": HIGHEST_HZ}


def _count(recording: Recording) -> tuple[int, str]:
    wrong = truth.impossible(recording, truth.alternating).total()
    return wrong, one_in(wrong, recording.samples)


def _verdict(wrong: int, samples: int, bar: int) -> bool | None:
    """One event among too few samples says nothing."""
    return None if wrong == 1 and samples < bar else wrong * bar <= samples


def _row(target: Target, leaf: str, rate: str, peers: list[Profiler], options: Options) -> Row:
    seconds = options.pick(60.0, 4.0)
    ours = core.record(target, RATES[rate], seconds)
    wrong, text = _count(ours)
    theirs = [f"{peer.name} {_count(peer.record(target, RATES[rate], seconds / 4))[1]}" for peer in peers]
    return Row(
        f"{LEAVES[leaf]}, {rate}, {target.interpreter.version}",
        text,
        ", ".join(theirs) or "–",
        bar=f"at most 1 in {BARS[leaf]:,}",
        met=_verdict(wrong, ours.samples, BARS[leaf]),
    )


def benchmark(options: Options) -> Report:
    """Both kinds of leaves, at several rates; the peers once."""
    report = Report()
    pyspy, beside = available(report.notes, PySpy), core.beside_stdlib(report.notes)
    rates = [rate for rate in RATES if not options.quick or rate in ("10 kHz", "highest")]
    for leaf in LEAVES:
        with running(interpreter(options.python or "3.13"), "alternating", leaf) as target:
            for rate in rates:
                peers = pyspy if rate == "10 kHz" else []
                report.rows.append(_row(target, leaf, rate, peers, options))
        if beside:
            with running(beside[0], "alternating", leaf) as target:
                report.rows.append(_row(target, leaf, "10 kHz", beside[1], options))
    report.note("one impossible stack in fewer samples than the bar allows one for is no verdict (–)")
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

"""The highest sustained rate: one thread, stacks of 25 frames, samples counted in what was written.

The floor is how often the same bytes can be read from the same target by a loop that does nothing else. The standard
library's profiler needs a target of its own version, so we are measured on that one as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench import core
from bench.common import Options, Report, Row, alternate, main, median
from bench.profilers import HIGHEST_HZ, Ours, Profiler, PySpy, available
from bench.targets import Interpreter, Target, interpreter, running

DEPTH = 25
PYSPY_FACTOR, STDLIB_FACTOR, FLOOR_SHARE = 20, 5, 0.7
Rates = Mapping[str, Sequence[float]]


def _measures(target: Target, profilers: Sequence[Profiler], options: Options) -> dict[str, Callable[[], float]]:
    seconds = options.pick(4.0, 1.5)

    def rate_of(profiler: Profiler) -> Callable[[], float]:
        return lambda: profiler.record(target, HIGHEST_HZ, seconds).rate_hz

    measures = {profiler.name: rate_of(profiler) for profiler in profilers}
    measures["floor"] = lambda: core.floor(target, options.pick(1.0, 0.5))
    return measures


def _row(python: Interpreter, rates: Rates, peer: str | None, factor: int) -> list[Row]:
    ours, floor = median(rates["tachyscope"]), median(rates["floor"])
    what = f"highest rate, Python {python.version}, depth {DEPTH}"
    text = f"{ours:,.0f}/s"
    rows = [
        Row(
            f"{what}, against the floor",
            f"{text} = {100 * ours / floor:.0f} %",
            reference=f"{floor:,.0f}/s",
            bar=f"{100 * FLOOR_SHARE:.0f} % of the floor",
            met=ours >= FLOOR_SHARE * floor,
        )
    ]
    if peer is not None:
        theirs = median(rates[peer])
        bar, met = f"{factor} × {peer}", ours >= factor * theirs
        rows.append(
            Row(f"{what}, against {peer}", f"{text} = {ours / theirs:.1f} ×", f"{theirs:,.0f}/s", bar=bar, met=met)
        )
    return rows


def _compare(python: Interpreter, peers: list[Profiler], factor: int, options: Options) -> list[Row]:
    with running(python, "busy", str(DEPTH)) as target:
        measures = _measures(target, [Ours(), *peers], options)
        rates = alternate(options.pick(5, 2), measures)
    return _row(python, rates, peers[0].name if peers else None, factor)


def benchmark(options: Options) -> Report:
    """Ours, py-spy and the floor; then ours, the standard library's and the floor."""
    report = Report()
    python = interpreter(options.python or "3.13")
    report.rows += _compare(python, available(report.notes, PySpy), PYSPY_FACTOR, options)
    beside = core.beside_stdlib(report.notes)
    if beside:
        report.rows += _compare(*beside, STDLIB_FACTOR, options)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

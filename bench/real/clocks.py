"""Programs that know their shares by their own clock: half of the time in easy code, half in hard code.

    python -m bench.real.clocks [--versions 3.8,3.13] [--seconds 4]

`phases`: short coroutines are hard; `phases2`: recursive generators and a visitor; `deep N`: a function below N frames
beside a shallow one; `collecting`: the share of `<GC>` beside the program's own clock in `gc.callbacks`; `once LOOPS`,
`bodies`: functions and bodies of classes that run once.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import struct
import sys
import tempfile

from bench.real import measure, packages, samplers
from bench.real.measure import Program
from bench.real.samplers import Sampler, Take
from bench.targets import Target, Unavailable

PROGRAMS = ("phases", "phases2", "deep 1000", "deep 3000", "collecting", "once 500", "once 10000", "bodies")
GARBAGE = "<GC>"
PROGRESS = struct.Struct("qddd")
"""Iterations, the time, and the seconds of the program's own two clocks: see target.py."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.real.clocks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(PROGRAMS)}")
    parser.add_argument("--versions", default=",".join(packages.VERSIONS), metavar="V,V")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    samplers.check_machine()
    for version, name in itertools.product(options.versions.split(","), options.names or PROGRAMS):
        try:
            print(one(name, version, options.seconds, options.rounds), flush=True)
        except (Unavailable, RuntimeError) as error:
            print(f"{version} {name}: {error}")
    return 0


def one(name: str, version: str, seconds: float, rounds: int) -> str:
    """A line: by sampler, its share less the true share of the same seconds, in points."""
    program = Program(f"small/{name}")
    who = [samplers.reference(samplers.pinned()), *samplers.ours(samplers.our_own()).values(), *samplers.peers(version)]
    who = [dataclasses.replace(each, seconds=seconds) for each in who]
    clock = packages.facts(program.words[0]).clocks[0]
    wanted = GARBAGE if clock == "collecting" else clock
    errors: dict[str, list[float]] = {each.name: [] for each in who}
    figures: dict[str, dict[str, float]] = {}
    with tempfile.NamedTemporaryFile() as progress, measure.running(program, version, progress.name) as (target, _):
        while not _clocks(progress.name)[0]:  # its first iteration
            pass
        for _ in range(rounds):
            for each in who:
                error, take = _turn(each, target, progress.name, wanted)
                errors[each.name].append(error)
                figures[each.name] = take.figures
    cells = [f"{name} {statistics.mean(each):+.1f}{_missed(figures[name])}" for name, each in errors.items()]
    return f"{version} {name:10} points over the true share: " + "  ".join(cells)


def _turn(sampler: Sampler, target: Target, progress: str, wanted: str) -> tuple[float, Take]:
    before = _clocks(progress)
    take = sampler.take(target.pid)
    passed, first, second = (now - then for now, then in zip(_clocks(progress), before, strict=True))
    true = first / (first + second) if second else first / passed
    return 100 * (_share(take, wanted) - true), take


def _share(take: Take, wanted: str) -> float:
    """The share of the samples with a function, or `<GC>`, anywhere on the stack."""
    counted = sum(count for stack, count in take.stacks.items() if any(wanted in frame.split(":") for frame in stack))
    return counted / max(take.stacks.total(), 1)


def _clocks(progress: str) -> tuple[float, float, float]:
    with open(progress, "rb") as stream:
        _, now, first, second = PROGRESS.unpack(stream.read(PROGRESS.size))
    return now, first, second


def _missed(figures: dict[str, float]) -> str:
    return f" (missed {100 * figures['missed'] / max(figures['ticks'], 1):.0f} %)" if figures.get("missed") else ""


if __name__ == "__main__":
    sys.exit(main())

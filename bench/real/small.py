"""The small programs: each shows one pattern, and its shares by every sampler say which pattern is told wrong.

python -m bench.real.small [NAME ...] [--versions 3.13,3.15] [--rounds 3]
python -m bench.real.small "calls init 10" "calls init 100"
python -m bench.real.small --calls [--versions 3.13]     how a body is called × how long it is: the callee's share
"""

from __future__ import annotations

import argparse
import itertools
import sys

from bench.real import distance, measure, samplers
from bench.real.figures import figures
from bench.real.measure import HERE, Limits, Measured, Program
from bench.real.samplers import PYSPY, SIGNALS, STDLIB, STOPPED
from bench.real.stacks import Shares, added, python_only, self_shares
from bench.targets import Unavailable

NAMES = (STOPPED, SIGNALS, *samplers.RATES, PYSPY, STDLIB)
FUNCTIONS = 5
KINDS = (
    "direct", "init", "initkw", "operator", "cfunc", "poly",
    "next", "property", "getattr", "forgen", "nextgen", "coroutine",
)  # fmt: skip
LENGTHS = ("0", "10", "100")
OTHERS = {"calls", "deep", "phases", "phases2", "collecting", "witness", "colours", "once", "bodies"}
"""Programs with arguments, and those that bench.real.clocks and bench.real.witness ask."""

CALLERS = ("caller", "iterate", "steady")
"""The functions of `calls` that are no callees."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.real.small", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--versions", default="3.13,3.15", metavar="V,V")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", action="store_true", help="all kinds of calls and lengths of bodies")
    options = parser.parse_args()
    names = options.names or (all_calls() if options.calls else all_small())
    for version, name in itertools.product(options.versions.split(","), names):
        program = Program(f"small/{name}")
        try:
            measured = measure.measure(program, version, Limits(options.rounds, 120.0))
        except (Unavailable, RuntimeError) as error:
            print(f"{version} {name}: {error}")
            continue
        print(calls_line(measured) if name.startswith("calls ") else text(measured), flush=True)
    return 0


def all_small() -> list[str]:
    """The names of all that need no argument."""
    return sorted(path.stem for path in (HERE / "small").glob("[a-z]*.py") if path.stem not in OTHERS)


def all_calls() -> list[str]:
    """Each kind of call with each length."""
    return [f"calls {kind} {length}" for kind, length in itertools.product(KINDS, LENGTHS)]


def text(measured: Measured) -> str:
    """Distances, then the shares of the largest functions by everybody."""
    name = measured.program.partition("/")[2]
    lines = [f"{measured.version} {name}: " + ", ".join(
        f"{each.sampler} {each.excess:.1f} ({each.chance:.1f})" for each in figures(measured))]  # fmt: skip
    shares = {name: _own_shares(measured, name) for name in _present(measured)}
    functions = sorted(shares[STOPPED], key=lambda each: -shares[STOPPED][each])
    lines.append(f"    {'own share, %':44}" + "".join(f"{name:>10}" for name in shares))
    for function in functions[:FUNCTIONS]:
        lines.append(
            f"    {function[:44]:44}" + "".join(f"{100 * own.get(function, 0):10.1f}" for own in shares.values())
        )
    return "\n".join(lines)


def _own_shares(measured: Measured, name: str) -> Shares:
    return self_shares(python_only(added(take.stacks for take in measured.turns[name])))


def calls_line(measured: Measured) -> str:
    """The share of the callee: of all functions but the caller, which does as much itself."""
    _, kind, length = measured.program.split()
    cells = [f"{name} {callee_share(measured, name):5.1f}" for name in _present(measured)]
    off = [each for each in figures(measured) if each.off_self and each.sampler in samplers.RATES]
    return f"{measured.version} {kind:10} {length:>4}  callee, %: {'  '.join(cells)}  " + (
        f"off: {', '.join(each.sampler for each in off)}" if off else ""
    )


def callee_share(measured: Measured, name: str) -> float:
    """In percent."""
    shares = distance.joined(measured.shares(name)).shares
    return 100 * sum(share for function, share in shares.items() if _name(function) not in CALLERS)


def _name(function: str) -> str:
    """The last part of a qualified name."""
    return function.split(":")[1].rpartition(".")[2] if ":" in function else function


def _present(measured: Measured) -> list[str]:
    return [name for name in NAMES if measured.turns.get(name)]


if __name__ == "__main__":
    sys.exit(main())

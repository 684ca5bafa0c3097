"""Measure real programs, and print the table of what is right and what is not."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

from bench.real import measure, packages, report, samplers
from bench.real.figures import Figures, figures
from bench.real.measure import Limits, Measured, Program
from bench.targets import ROOT, Unavailable

BUSY = 0.02
"""From here on a line says that somebody else used the target's CPU."""

RESULTS = ROOT / "bench" / "real" / "RESULTS.md"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m bench.real", description=__doc__)
    made.add_argument("programs", nargs="*", metavar="PROGRAM", help="names in bench/real/programs (default: all)")
    made.add_argument("--versions", default=",".join(packages.VERSIONS), metavar="V,V", help="default: %(default)s")
    made.add_argument("--quick", action="store_true", help="one round of shorter turns: rough, an hour for everything")
    made.add_argument("--rounds", type=int, default=12, help="rounds of turns at most (default: %(default)s)")
    made.add_argument("--seconds", type=float, default=300, help="seconds for a program at most (default: %(default)s)")
    made.add_argument("--keep", type=Path, metavar="DIR", help="keep all turns there, and use those that are there")
    made.add_argument("--write", action="store_true", help=f"write the table to {RESULTS.relative_to(ROOT)}")
    made.add_argument("--label", default="", help="what was measured, for the table; `TACHYSCOPE` names its command")
    made.add_argument("--estimate", action="store_true", help="say how long it takes at most, and end")
    return made


def main() -> int:
    """Measure all cells, one after the other; one that breaks is told and left out."""
    options = parser().parse_args()
    limits = measure.QUICK if options.quick else Limits(options.rounds, options.seconds)
    wanted = [Program(name) for name in options.programs] or measure.programs()
    cells, notes = _possible(wanted, options.versions.split(","))
    seconds = sum(measure.most_seconds(program, version, limits) for program, version in cells)
    print(f"{len(cells)} measurements, at most {seconds / 60:.0f} minutes", file=sys.stderr, flush=True)
    if options.estimate:
        return 0
    found: dict[tuple[str, str], list[Figures]] = {}
    for number, (program, version) in enumerate(cells):
        start = time.monotonic()
        try:
            measured = _measured(program, version, limits, options.keep)
            found[program.name, version] = figures(measured)
        except Exception as error:
            traceback.print_exc()
            notes.append(f"{program.name} on {version}: {str(error).splitlines()[-1][:200] if str(error) else error!r}")
            continue
        said = "; ".join(f"{each.sampler} {report.excess(each)}" for each in found[program.name, version])
        busy = f", waited {100 * measured.waited:.0f} %" if measured.waited >= BUSY else ""
        took = time.monotonic() - start
        print(f"[{number + 1}/{len(cells)}, {took:.0f} s{busy}] {version} {program.name}: {said}", flush=True)
    text = report.document(found, notes, options.label or " ".join(samplers.our_own()))
    if options.write:
        report.write(RESULTS, text)
    print(text)
    return 0


def _possible(wanted: list[Program], versions: list[str]) -> tuple[list[tuple[Program, str]], list[str]]:
    """The cells that can be measured here, and why the others cannot."""
    cells, notes = [], []
    for version in versions:
        for program in wanted:
            try:
                measure.command(program, version)
                cells.append((program, version))
            except Unavailable as reason:
                notes.append(str(reason))
    return cells, notes


def _measured(program: Program, version: str, limits: Limits, keep: Path | None) -> Measured:
    kept = keep / f"{program.name.replace('/', '-').replace(' ', '-')}-{version}.json" if keep else None
    if kept is not None and kept.exists():
        return measure.load(kept)
    measured = measure.measure(program, version, limits)
    if kept is not None:
        measure.save(measured, kept)
    return measured


if __name__ == "__main__":
    sys.exit(main())

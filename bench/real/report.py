"""The tables: all programs of a version, and what is wrong where."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.everything import _output, _processor
from bench.real import samplers
from bench.real.distance import Off
from bench.real.figures import Figures
from bench.real.samplers import PYSPY, SIGNALS, STDLIB

Cells = Mapping[tuple[str, str], Sequence[Figures]]
"""By program and version."""

DETAILS = 3
"""Functions that are named of each program and rate; the number of all stands beside."""

HEAD = """# Truth on real programs

Written by `python -m bench.real --write`; do not edit. How it is measured: `bench/real/__init__.py` and
`bench/README.md`.

{facts}

*Excess* is the distance of self shares to those of the judge (total variation, in points), less what chance would do,
which stands in brackets. *Off* are functions of 1 % and more whose own share is wrong by more than 2 points and
3 standard errors, and after "+" those whose share with all below it is wrong by more than 3 points and 3 standard
errors. *Impossible* are samples with a stack that an exact run does not know, less what the stopped samples show;
*stacks* are distinct possible ones, in percent of the peer's at equal numbers of samples. *Not as read* are failed,
missed, interrupted, uncertain, reconstructed and recalled samples, in percent of the ticks, at 10 kHz.
"""


def facts(label: str) -> str:
    """When, where, and of what."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    lines = {
        "Date": now,
        "Measured": label,
        "Judge": f"stopped samples of tachyscope {samplers.PINNED} (`--blocking`, 2.5 kHz)",
        "Machine": f"2 of {_processor()}, target and sampler on one each",
        "Bench": f"commit {_output('git', 'describe', '--always', '--dirty')}",
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def document(cells: Cells, notes: Iterable[str], label: str) -> str:
    """All of it as Markdown."""
    versions = sorted({version for _, version in cells}, key=lambda version: int(version.partition(".")[2]))
    parts = [HEAD.format(facts=facts(label)), "## In short\n", summary(cells, versions)]
    for version in versions:
        own = {program: each for (program, other), each in sorted(cells.items()) if other == version}
        parts += [f"\n## {version}\n", table(own), "\nWorst functions (by the judge → by the sampler):\n", details(own)]
    said = [f"- {note}" for note in notes]
    return "\n".join([*parts, *(["\n## Not measured\n", *said] if said else [])]) + "\n"


def summary(cells: Cells, versions: Sequence[str]) -> str:
    """Median and worst excess of each version, by sampler."""
    names = (*samplers.RATES, PYSPY, STDLIB, SIGNALS)
    rows = [["version", "programs", *(f"{name}: median / worst" for name in names), "named off at 10 kHz"]]
    for version in versions:
        found = [each for (_, other), each in cells.items() if other == version]
        named = [each for figures in found for each in figures if each.sampler == "10 kHz"]
        off = sum(bool(each.off_self or each.off_total) for each in named)
        excesses = [_median_and_worst(found, name) for name in names]
        rows.append([version, str(len(found)), *excesses, f"{off} of {len(named)}"])
    return markdown(rows)


def _median_and_worst(found: Iterable[Sequence[Figures]], name: str) -> str:
    excesses = [each.excess for figures in found for each in figures if each.sampler == name]
    return f"{statistics.median(excesses):.1f} / {max(excesses):.1f}" if excesses else "–"


def table(own: Mapping[str, Sequence[Figures]]) -> str:
    """One row for each program of a version."""
    names = (*samplers.RATES, PYSPY, STDLIB, SIGNALS)
    present = [name for name in names if any(each.sampler == name for figures in own.values() for each in figures)]
    rows = [["program", "judge", *(f"{name}: excess, off" for name in present), "impossible", "stacks", "not as read"]]
    for program, figures in own.items():
        by_name = {each.sampler: each for each in figures}
        at_10k = by_name.get("10 kHz")
        cells = [excess(by_name.get(name)) for name in present]
        rows.append([program, figures[0].judge, *cells, *(_ten(at_10k) if at_10k else ["–"] * 3)])
    return markdown(rows)


def excess(figures: Figures | None) -> str:
    """Excess, chance, and how many functions are off, as text."""
    if figures is None:
        return "–"
    off = f", {len(figures.off_self)} + {len(figures.off_total)}" if figures.off_self or figures.off_total else ""
    return f"{figures.excess:.1f} ({figures.chance:.1f}){off}"


def _ten(figures: Figures) -> list[str]:
    impossible = "–" if figures.impossible is None else f"{figures.impossible:.2f} %"
    coverage = "–" if figures.coverage is None else f"{100 * figures.coverage:.0f} %"
    read = ", ".join(f"{name} {part:.1f}" for name, part in figures.counted.items() if part >= 0.05)
    return [impossible, coverage, read or "–"]


def details(own: Mapping[str, Sequence[Figures]]) -> str:
    """The functions that are off most."""
    lines = []
    for program, figures in own.items():
        for each in figures:
            for what, off in (("self", each.off_self), ("total", each.off_total)):
                if off and each.sampler in samplers.RATES:
                    lines.append(f"- {program}, {each.sampler}, {what}: {_named(off)}")
    return "\n".join(lines) or "- none"


def _named(off: Sequence[Off]) -> str:
    more = f"; {len(off) - DETAILS} more" if len(off) > DETAILS else ""
    return "; ".join(f"`{each.function}` {each.true_share:.1f} → {each.share:.1f} %" for each in off[:DETAILS]) + more


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(path: Path, text: str) -> None:
    """Write it whole or not at all."""
    half = path.with_suffix(".half")
    half.write_text(text)
    half.rename(path)

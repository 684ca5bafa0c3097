"""All benchmarks, one after the other; without --quick, the results go to bench/RESULTS.md."""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import re
import subprocess
import time
import traceback
from pathlib import Path

import tomllib

from bench.common import COLUMNS, Options, Report, Row, print_report
from bench.profilers import pyspy_version
from bench.targets import ROOT, Unavailable, interpreter

NAMES = (
    "rate", "failed", "impossible", "bias", "phase", "shares", "intervals", "slowdown", "missed",
    "cpu", "threads", "children", "beside", "memory_use", "start", "churn", "recursion", "generators", "deep",
)  # fmt: skip
RESULTS = ROOT / "bench" / "RESULTS.md"
REASONS = ROOT / "bench" / "reasons.toml"

HEAD = """# Results

Written by `python -m bench`; do not edit: reasons come from `bench/reasons.toml`. How to read it: `bench/__init__.py`.

{facts}
"""


def _run(name: str, options: Options) -> Report:
    """One benchmark; one that breaks is a row, too, and does not stop the others."""
    try:
        report: Report = importlib.import_module(f"bench.{name}").benchmark(options)
        return report
    except Unavailable as reason:
        return Report(notes=[f"skipped: {reason}"])
    except Exception as error:
        traceback.print_exc()
        return Report([Row(name, f"failed to run: {error!r}"[:300], met=False)])


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version_of_peer(what: str) -> str:
    try:
        return interpreter("3.15").version if what == "stdlib" else pyspy_version()
    except Unavailable as reason:
        return f"none ({reason})"


def _facts() -> str:
    """Date, machine and versions."""
    facts = {
        "Date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "Commit": _output("git", "describe", "--always", "--dirty"),
        "Machine": f"{os.cpu_count()} × {_processor()}, Linux {platform.release()}",
        "Load at the start": f"{os.getloadavg()[0]:.2f}",
        "Profiler runs on": f"Python {platform.python_version()}",
        "py-spy": _version_of_peer("py-spy"),
        "Standard library's profiler": _version_of_peer("stdlib"),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _reason(reasons: dict[str, dict[str, str]], name: str, row: Row) -> str:
    fitting = [text for what, text in reasons.get(name, {}).items() if row.what.startswith(what)]
    return fitting[-1] if fitting else ("**no reason given yet**" if row.met is False else "")


def _section(name: str, report: Report, reasons: dict[str, dict[str, str]]) -> str:
    lines = [f"## {name}", "", f"`python -m bench.{name}`", ""]
    lines.append("| " + " | ".join((*COLUMNS, "reason")) + " |")
    lines.append("| " + " | ".join("---" for _ in range(len(COLUMNS) + 1)) + " |")
    for row in report.rows:
        cells = [cell.replace("|", "\\|") for cell in (*row.cells, _reason(reasons, name, row))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"* {note}" for note in report.notes)])


def write_results(facts: str, reports: dict[str, Report]) -> None:
    """Write RESULTS.md; what it says of benchmarks that were not run now stays, with a word on when that was."""
    reasons = tomllib.loads(REASONS.read_text())
    sections = _earlier_sections(reasons) | {name: _section(name, report, reasons) for name, report in reports.items()}
    ordered = [sections[name] for name in NAMES if name in sections]
    RESULTS.write_text("\n\n".join([HEAD.format(facts=facts).rstrip(), *ordered]) + "\n")


def _earlier_sections(reasons: dict[str, dict[str, str]]) -> dict[str, str]:
    if not RESULTS.exists():
        return {}
    head, *sections = re.split(r"^## ", RESULTS.read_text(), flags=re.MULTILINE)
    date = re.search(r"^- Date: (.*)$", head, re.MULTILINE)
    kept = {}
    for section in sections:
        name = section.partition("\n")[0]
        when = "" if "Measured earlier" in section or date is None else f"\n\nMeasured earlier, at {date[1]}."
        lines = [_with_reason(line, name, reasons) for line in section.rstrip().splitlines()]
        kept[name] = "## " + "\n".join(lines) + when
    return kept


def _with_reason(line: str, name: str, reasons: dict[str, dict[str, str]]) -> str:
    """Put the reason as it is now into a row of an earlier run."""
    cells = line.strip("| ").split(" | ")
    if not line.startswith("| ") or len(cells) < len(COLUMNS) or cells[0] in (COLUMNS[0], "---"):
        return line
    row = Row(cells[0], cells[1], met={"met": True, "MISSED": False}.get(cells[len(COLUMNS) - 1]))
    return "| " + " | ".join([*cells[: len(COLUMNS)], _reason(reasons, name, row)]) + " |"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="rough, in a few minutes")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md even if quick or not of everything")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark called {', '.join(sorted(unknown))}")
    facts, reports = _facts(), {}
    if arguments.quick:
        facts += "\n- Quick run: short and rough; the full one is `python -m bench`"
    for name in arguments.names or NAMES:
        start = time.monotonic()
        reports[name] = _run(name, Options(arguments.quick))
        print(f"\n== {name} ({time.monotonic() - start:.0f} s, load {os.getloadavg()[0]:.1f})")
        print_report(reports[name])
    if arguments.write or not (arguments.quick or arguments.names):
        write_results(facts, reports)
        print(f"\nwritten to {RESULTS}")


if __name__ == "__main__":
    main()

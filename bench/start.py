"""What profiling adds to a program that does nothing: `tachyscope run empty.py` over `python empty.py`, in pairs."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.common import Options, Report, Row, alternate, main, median
from bench.profilers import PySpy, Stdlib, our_command
from bench.targets import Unavailable, own_interpreter

BAR_MS = 150.0


def _milliseconds(command: list[str], may_fail: bool = False) -> Callable[[], float]:
    """How long a command takes; py-spy sometimes fails as the script ends before it is found."""

    def measure() -> float:
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=not may_fail)
        return 1000 * (time.perf_counter() - start)

    return measure


def _own_row(directory: Path, report: Report, options: Options) -> Row:
    script = directory / "empty.py"
    script.touch()
    python = own_interpreter()
    plain = python.run(script)
    commands = {"plain": plain, "tachyscope": [*our_command(), "run", str(script)]}
    try:
        commands["py-spy"] = [PySpy().path, "record", "--format", "raw", "-o", str(directory / "raw"), "--", *plain]
    except Unavailable as reason:
        report.note(f"skipped PySpy: {reason}")
    measures = {name: _milliseconds(command, name == "py-spy") for name, command in commands.items()}
    times = alternate(options.pick(25, 15), measures)
    ours = median([with_us - alone for with_us, alone in zip(times["tachyscope"], times["plain"], strict=True)])
    theirs = ""
    if "py-spy" in times:
        theirs = f"py-spy +{median(times['py-spy']) - median(times['plain']):.0f} ms"
    return Row(
        f"run of an empty script, {python.version}",
        f"+{ours:.0f} ms",
        theirs or "–",
        f"plain Python {median(times['plain']):.0f} ms",
        f"at most +{BAR_MS:.0f} ms",
        ours <= BAR_MS,
    )


def _stdlib_row(report: Report, options: Options) -> list[Row]:
    try:
        peer = Stdlib()
    except Unavailable as reason:
        report.note(f"skipped Stdlib: {reason}")
        return []
    command = peer.interpreter.command
    program = ["-m", "this"]
    commands = {"plain": [*command, *program], "stdlib": [*command, "-m", "profiling.sampling", "run", *program]}
    times = alternate(options.pick(15, 5), {name: _milliseconds(each) for name, each in commands.items()})
    added = median(times["stdlib"]) - median(times["plain"])
    plain = f"plain Python {median(times['plain']):.0f} ms"
    return [Row(f"run of `-m this`, {peer.interpreter.version}", "–", f"{peer.name} +{added:.0f} ms", plain)]


def benchmark(options: Options) -> Report:
    """Ours and py-spy on our own interpreter, the standard library's on its own."""
    report = Report()
    with tempfile.TemporaryDirectory() as directory:
        report.rows.append(_own_row(Path(directory), report, options))
    report.rows += _stdlib_row(report, options)
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

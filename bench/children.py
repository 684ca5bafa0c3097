"""Many short children, one after the other: are they seen, and is the time of their work right?

The truth is what each child measured of itself while it worked: its CPU time, and the time by the clock on the wall, in
which a sampler in wall mode counts. They differ where a child has to wait for a CPU.
"""

from __future__ import annotations

import pstats
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.common import Options, Report, Row, main, percent
from bench.targets import PROGRAMS, Interpreter, interpreter

SEEN_LEAST = 0.95
OFF_MOST = 0.03
STATUS = 3
RATE = "1khz"


def _profile(python: Interpreter, children: int) -> tuple[list[float], list[float]]:
    """Run the program under the profiler; return seconds of work: CPU and wall as it says, and one figure for each
    process in which the profiler saw some."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tachyscope", "run", "--subprocesses", "-r", RATE]
        command += ["--python", python.command[0], "-o", str(Path(folder) / "all.pstats")]
        command += [str(PROGRAMS / "children.py"), str(children)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != STATUS:
            raise RuntimeError(f"status {run.returncode} instead of {STATUS}: {run.stderr}")
        seen = [
            cumulative_s
            for path in Path(folder).iterdir()
            for (_, _, name), (_, _, _, cumulative_s, _) in pstats.Stats(str(path)).stats.items()  # type: ignore[attr-defined]
            if name == "work"
        ]
        return [float(word) for word in run.stdout.split()], seen


def benchmark(options: Options) -> Report:
    """One run."""
    report, children = Report(), options.pick(1000, 150)
    python = interpreter(options.python or "3.13")
    (cpu_s, wall_s), seen = _profile(python, children)
    what = f"{children:,} children of 50 ms, {python.version}"
    share, most = len(seen) / children, f"within {percent(OFF_MOST, 0)}"
    least = f"at least {percent(SEEN_LEAST, 0)}"
    report.rows.append(
        Row(f"{what}: seen", f"{len(seen):,} = {percent(share, 1)}", "–", f"{children:,}", least, share >= SEEN_LEAST)
    )
    for truth_s, clock in ((wall_s, "wall"), (cpu_s, "CPU")):
        met = abs(sum(seen) / truth_s - 1) <= OFF_MOST
        ours = f"{sum(seen):.2f} s = {percent(sum(seen) / truth_s, 1)}"
        report.rows.append(Row(f"{what}: {clock} time of their work", ours, "–", f"{truth_s:.2f} s", most, met))
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

"""Do the target programs run, everywhere and steadily? `python -m bench.real.packages --check` prints, for each:

ms        the median of an iteration
spread    between the first and the third quarter, in percent of the median: noise of the machine included
drift     the median of the last third of the iterations over that of the first, less one, in percent
contexts  the distinct calling contexts of a run under sys.setprofile, threads included
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.real.packages import HERE, benchmarks, missing, site_for
from bench.targets import Unavailable, interpreter

ARGUMENTS = {"small/calls": ("direct", "10"), "small/deep": ("1000",)}
"""For programs that need some."""

RUN_SECONDS = 300.0


def check(programs: Sequence[str], versions: Sequence[str], seconds: float) -> int:
    """Run each program on each version and print what comes out; 1 if one did not run that should."""
    failed, left_out = [], []
    print(f"{'version':8} {'program':20} {'ms':>8} {'spread':>7} {'drift':>7} {'contexts':>9}")
    for version in versions:
        for program in programs:
            try:
                reason = missing(program, version)
                if reason:
                    left_out.append(f"{version} {program}: {reason}")
                else:
                    print(f"{version:8} {program:20} {_run(program, version, seconds)}", flush=True)
            except (Unavailable, RuntimeError, subprocess.TimeoutExpired) as error:
                failed.append(f"{version} {program}: {error}")
                print(failed[-1], flush=True)
    for title, lines in (("left out", left_out), ("failed", failed)):
        print(f"{title}: {len(lines)}", *lines, sep="\n    ")
    return 1 if failed else 0


def _run(program: str, version: str, seconds: float) -> str:
    took = _result(program, version, "durations", seconds)
    found = _result(program, version, "contexts", seconds / 2)
    median = statistics.median(took)
    quarters = statistics.quantiles(took, n=4)
    third = max(len(took) // 3, 1)
    drift = statistics.median(took[-third:]) / statistics.median(took[:third]) - 1
    spread = (quarters[2] - quarters[0]) / median
    return f"{1e3 * median:8.1f} {100 * spread:7.1f} {100 * drift:7.1f} {len(found['nodes']):9}"


def _result(program: str, version: str, what: str, seconds: float) -> Any:
    """Return what target.py writes with the option --`what`."""
    python = Path(interpreter(version).command[0])
    words = [program, *ARGUMENTS.get(program, ())]
    folders = ["--site", str(site_for(version, python)), "--benchmarks", str(benchmarks())]
    with tempfile.NamedTemporaryFile() as output:
        command = [
            str(python),
            str(HERE / "target.py"),
            *words,
            *folders,
            f"--{what}",
            output.name,
            "--seconds",
            str(seconds),
        ]
        run = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL)
        if run.returncode != 0:
            lines = run.stderr.strip().splitlines() or [f"status {run.returncode}"]
            raise RuntimeError(f"--{what}: {lines[-1]}")
        if run.stdout or run.stderr:
            raise RuntimeError(f"--{what}: it says {(run.stdout + run.stderr)[-200:]!r}")
        return json.load(output)

"""`--blocking` beside threads of C code: what 200 of them, and the thread that runs Python, do per second, with and
without, in turns. Only the thread that runs Python is ever stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.common import Options, Report, Row, alternate, main, median, percent
from bench.targets import PROGRAMS, Interpreter, Unavailable, interpreter
from tachyscope import attach

INTERVAL_US = 1000.0
BARS = {"Python": 0.6, "C code": 0.1}
"""By how much each may be slower: Python's own thread stands still while it is read, the others do not."""


def _library(folder: Path) -> Path:
    if shutil.which("cc") is None:
        raise Unavailable("no C compiler")
    library, source = folder / "native.so", PROGRAMS / "native_threads.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-pthread", source, "-o", library], check=True)
    return library


def _tell(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return dict(zip(BARS, json.loads(process.stdout.readline()), strict=True))


def _rates(process: subprocess.Popen[str], action: Callable[[], object]) -> dict[str, float]:
    """Rounds per second of each kind of thread while the action goes on."""
    begin, before = time.monotonic(), _tell(process)
    action()
    after, seconds = _tell(process), time.monotonic() - begin
    return {kind: (after[kind] - before[kind]) / seconds for kind in BARS}


def _watch(pid: int, seconds: float) -> None:
    with attach(pid, interval_us=INTERVAL_US, blocking=True) as session:
        session.sample(seconds)


def _measure(python: Interpreter, library: Path, options: Options) -> dict[str, list[dict[str, float]]]:
    seconds = options.pick(1.0, 0.5)
    command = python.run(PROGRAMS / "native_threads.py", str(library))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            return alternate(
                options.pick(9, 5),
                {
                    "alone": lambda: _rates(process, lambda: time.sleep(seconds)),
                    "watched": lambda: _rates(process, lambda: _watch(process.pid, seconds)),
                },
            )
        finally:
            process.kill()


def benchmark(options: Options) -> Report:
    """One version."""
    report = Report()
    python = interpreter(options.python or "3.13")
    with tempfile.TemporaryDirectory() as folder:
        turns = _measure(python, _library(Path(folder)), options)
    for kind, bar in BARS.items():
        pairs = zip(turns["watched"], turns["alone"], strict=True)
        slower = median(1 - watched[kind] / alone[kind] for watched, alone in pairs)
        what = f"--blocking at 1 kHz beside 200 threads of C code, {python.version}: {kind} slower by"
        report.rows.append(Row(what, percent(slower, 1), "–", "–", f"at most {percent(bar, 0)}", slower <= bar))
    return report


if __name__ == "__main__":
    main(benchmark, __doc__)

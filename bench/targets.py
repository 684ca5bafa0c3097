"""Interpreters and the programs that they run to be profiled."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "bench" / "programs"
EXAMPLES = ROOT / "examples"
TIMEOUT_SECONDS = 60.0


class Unavailable(Exception):
    """Something that a benchmark needs is not on this machine; the text names it and how to get it."""


@dataclass(frozen=True)
class Interpreter:
    """A command that starts Python. `root` is the directory that it sees as "/", if that is another one."""

    command: tuple[str, ...]
    version: str
    root: Path | None = None

    def run(self, program: Path, *arguments: str) -> list[str]:
        """Return the command for a program; below another root its text is passed along, the file is not there."""
        source = [str(program)] if self.root is None else ["-c", program.read_text()]
        return [*self.command, *source, *arguments]


def _script(*arguments: str) -> str:
    script = ROOT / "scripts" / "interpreters.sh"
    result = subprocess.run([script, *arguments], capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    return result.stdout.strip() if result.returncode == 0 else ""


def _version_of(command: list[str]) -> str:
    question = "import platform; print(platform.python_version())"
    result = subprocess.run([*command, "-ISc", question], capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if result.returncode != 0:
        raise Unavailable(f"{shlex.join(command)} does not run")
    return result.stdout.strip()


@cache
def interpreter(name: str) -> Interpreter:
    """Return an interpreter by version ("3.13") or path; raises `Unavailable`."""
    command = [name] if "/" in name else shlex.split(_script("path", name))
    if not command:
        raise Unavailable(f"no CPython {name} here: scripts/interpreters.sh install")
    root = Path(command[1]) if command[0] == "chroot" else None
    if root is not None and not (root / "proc" / "self").exists():
        raise Unavailable(f"CPython {name} has no /proc: scripts/interpreters.sh mount")
    return Interpreter(tuple(command), _version_of(command), root)


def own_interpreter() -> Interpreter:
    """Return the interpreter that runs this."""
    return interpreter(sys.executable)


@dataclass(frozen=True)
class Target:
    """A running program that said that it is ready."""

    process: subprocess.Popen[bytes]
    interpreter: Interpreter

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def read_line(self) -> bytes:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(TIMEOUT_SECONDS):
                raise RuntimeError(f"process {self.pid} said nothing for {TIMEOUT_SECONDS} seconds")
        return self.process.stdout.readline()

    def report(self) -> dict[str, float]:
        """Ask a program that knows SIGUSR1 for its figures."""
        self.process.send_signal(signal.SIGUSR1)
        figures: dict[str, float] = json.loads(self.read_line())
        return figures

    def spent_since(self, before: dict[str, float]) -> dict[str, float]:
        """Return how much its figures grew."""
        return {name: value - before[name] for name, value in self.report().items()}


@contextmanager
def running(python: Interpreter, program: str | Path, *arguments: str) -> Iterator[Target]:
    """Run a program of programs/ (or any path), wait until it is ready; killed at the end."""
    path = PROGRAMS / f"{program}.py" if isinstance(program, str) else program
    # Unbuffered, so that a selector sees every line that has not been read.
    with subprocess.Popen(python.run(path, *arguments), stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            target = Target(process, python)
            said = target.read_line()
            if said != b"ready\n":
                raise RuntimeError(f"{path.name} said {said!r} instead of being ready")
            yield target
        finally:
            process.kill()
            process.wait()


@contextmanager
def pinned(process_id: int, cpu: int) -> Iterator[None]:
    """Keep a process on one CPU for a while."""
    before = os.sched_getaffinity(process_id)
    os.sched_setaffinity(process_id, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(process_id, before)

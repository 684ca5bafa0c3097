"""What many tests need: the interpreters of this machine, and targets that say when they are ready.

A target is a program that prints the line "ready" when it is where the test wants it, and then usually waits
on its standard input. Nothing here sleeps or guesses a delay.
"""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("TACHYSCOPE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "tachyscope"))
SID = CACHE.expanduser() / "interpreters" / "sid"
"""Where scripts/interpreters.sh keeps CPython 3.14 and 3.15."""

READY = b"ready\n"
READY_TIMEOUT_SECONDS = 180.0
"""How long anything is waited for. It only ends what hangs: on a busy machine all may take ten times as long."""

WAITING = "import sys; print('ready', flush=True); sys.stdin.read()"
"""The smallest target: it waits until its standard input is closed."""

_FOUND = "TACHYSCOPE_INTERPRETERS"
_QUESTION = "import json, sys; print(json.dumps(sys.version_info[:2]))"


def _installed() -> Iterator[Path]:
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    yield from sorted(versions.glob("3.*/bin/python3"))
    for minor in range(8, 16):
        path = shutil.which(f"python3.{minor}")
        if path is not None:
            yield Path(path)
    yield from sorted(SID.glob("usr/bin/python3.*-direct"))
    yield Path(sys.executable)


def _version_of(path: Path) -> tuple[int, int] | None:
    try:
        run = subprocess.run([path, "-I", "-S", "-c", _QUESTION], capture_output=True, timeout=READY_TIMEOUT_SECONDS)
        major, minor = json.loads(run.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return major, minor


def _discover() -> dict[str, Path]:
    """Return an interpreter for each version from 3.8 to 3.15 by name; the system's own is "3.N-system"."""
    found: dict[tuple[int, str], Path] = {}
    for path in _installed():
        version = _version_of(path)
        if version is not None and (3, 8) <= version <= (3, 15):
            found.setdefault((version[1], f"3.{version[1]}"), path)
    for path in sorted(Path("/usr/bin").glob("python3.*[0-9]")):
        version = _version_of(path)
        known = [other.resolve() for other in found.values()]
        if version is not None and (3, 8) <= version <= (3, 15) and path.resolve() not in known:
            found[version[1], f"3.{version[1]}-system"] = path
    return {name: path for (_, name), path in sorted(found.items())}


def interpreters() -> dict[str, Path]:
    """Return what `_discover` finds. It is searched for once: processes that tests start, and the workers that run
    tests side by side, all find it in their environment."""
    if _FOUND not in os.environ:
        os.environ[_FOUND] = json.dumps({name: str(path) for name, path in _discover().items()})
    return {name: Path(path) for name, path in json.loads(os.environ[_FOUND]).items()}


INTERPRETERS: dict[str, Path] = interpreters()
"""The interpreters to test with, such as {"3.8": Path(".../bin/python3"), ...}."""


@dataclass(frozen=True)
class Target:
    """A running target; close `process.stdin` to let a waiting one go on."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def wait_until_ready(self) -> None:
        """Wait for (another) "ready" line of the target; an error with its output if none comes."""
        line = self._read_line()
        if line != READY:
            raise AssertionError(f"the target said {line!r} instead of {READY!r}; status {self.process.poll()}")

    def _read_line(self) -> bytes:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(READY_TIMEOUT_SECONDS):
                raise AssertionError(f"the target was not ready after {READY_TIMEOUT_SECONDS} seconds")
        return self.process.stdout.readline()


@contextmanager
def spawn(command: list[str], environment: dict[str, str] | None = None) -> Iterator[Target]:
    """Start any command as a target, without waiting; always killed and reaped."""
    # Unbuffered, so that a selector sees every line that has not been read.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
    ) as process:
        try:
            yield Target(process)
        finally:
            process.kill()
            process.wait()


@contextmanager
def spawn_target(
    python: str | Path, source_or_path: str | Path, *args: str, options: tuple[str, ...] = ()
) -> Iterator[Target]:
    """Start a Python target and wait until it is ready; always killed and reaped.

    A `Path` is a script, a `str` is source text; `options` go before either.
    """
    program = [str(source_or_path)] if isinstance(source_or_path, Path) else ["-c", source_or_path]
    with spawn([str(python), *options, *program, *args]) as target:
        target.wait_until_ready()
        yield target


@contextmanager
def memory_reader(pid: int) -> Iterator[Callable[[int, int], bytes]]:
    """Yield a reader over /proc/PID/mem, with the manners of the compiled one: all bytes or an `OSError`."""
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def read(address: int, size: int) -> bytes:
        data = os.pread(descriptor, size, address)
        if not data:  # the process has ended
            raise ProcessLookupError(3, os.strerror(3))
        return data

    try:
        yield read
    finally:
        os.close(descriptor)


def load_script(name: str) -> ModuleType:
    """Import a module from scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def tachyscope(
    *arguments: str | Path, cwd: Path | None = None, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end and return its exit status and what it and its target wrote."""
    command = [sys.executable, "-m", "tachyscope", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, input=stdin, env=environment, capture_output=True, text=True, timeout=READY_TIMEOUT_SECONDS
    )

"""Starting a target for `run`: the plain command that the user would type, with nothing injected."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tachyscope.errors import TargetNotFound

_LOOK_UP_SECONDS = 20.0

# Run by the target's interpreter: finds a module without importing its parents. Exits with one of _LOOK_UP_ANSWERS.
_LOOK_UP = """
import sys, importlib.machinery, importlib.util
def spec_of(name, path):
    for finder in sys.meta_path:
        found = finder.find_spec(name, path) if hasattr(finder, "find_spec") else None
        if found is not None:
            return found
parts = sys.argv[1].split(".")
path, name = None, ""
for at, part in enumerate(parts + ["__main__"]):
    name = name + "." + part if name else part
    spec = spec_of(name, path)
    if spec is None:
        sys.exit(40 if at < len(parts) else 41)
    path = spec.submodule_search_locations
    if path is None:
        break  # a submodule of a module without a path is known only after its import, as with os.path
"""
_NOT_FOUND, _NO_MAIN = 40, 41


class Kind(Enum):
    """What the words after the options of `run` are."""

    PATH = "path"  # a script, or a directory or zip file with a __main__.py
    MODULE = "module"
    CODE = "code"
    COMMAND = "command"  # any command that starts Python


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: `words` begins with the path, module name, code or command; the rest are its arguments."""

    kind: Kind
    words: tuple[str, ...]

    def command(self, python: str) -> list[str]:
        """Return the command line that runs this with the interpreter `python`."""
        if self.kind is Kind.COMMAND:
            return list(self.words)
        option = {Kind.MODULE: ["-m"], Kind.CODE: ["-c"]}.get(self.kind, [])
        return [python, *option, *self.words]


def find_python(path: str | None) -> str:
    """Return the interpreter to run targets with: `path`, looked up like a command, or the running one."""
    if path is None:
        return sys.executable
    found = _which(path)
    if found is None:
        raise TargetNotFound(f"no interpreter {path!r}", "give --python the path of a Python executable")
    return found


def _which(name: str) -> str | None:
    from shutil import which  # not needed for the usual run

    return which(name)


def check(program: Program, python: str) -> None:
    """Raise `TargetNotFound` if there is nothing to run, before anything is started."""
    name = program.words[0]
    if program.kind is Kind.PATH:
        _check_path(name)
    elif program.kind is Kind.MODULE:
        _check_module(name, python)
    elif program.kind is Kind.COMMAND and _which(name) is None:
        if os.access(name, os.R_OK):
            raise TargetNotFound(f"{name!r} is not executable", "leave out -- to run it as a script")
        raise TargetNotFound(f"no command {name!r}", "check its spelling and PATH")


def _check_path(name: str) -> None:
    path = Path(name)
    if not name or not _is_there(path):
        raise TargetNotFound(f"no script {name!r}", "check the path; a module is run with -m, a command after --")
    if not os.access(path, os.R_OK):
        raise TargetNotFound(f"script {name!r} cannot be read", "check its permissions")
    if path.is_dir() and not _is_there(path / "__main__.py"):
        raise TargetNotFound(f"directory {name!r} has no __main__.py", "name a script inside it")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # not even looking is permitted, or no file can have such a name
        reason = os.strerror(error.errno or 0)
        raise TargetNotFound(f"script {str(path)!r} cannot be read", reason) from None


def _check_module(name: str, python: str) -> None:
    try:
        look_up = subprocess.run(
            [python, "-c", _LOOK_UP, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_LOOK_UP_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # running it will tell
    if look_up.returncode == _NOT_FOUND:
        raise TargetNotFound(f"no module {name!r} for {python}", "install it there, or choose another --python")
    if look_up.returncode == _NO_MAIN:
        raise TargetNotFound(f"package {name!r} has no __main__", "name a module inside it")


def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a target with our standard streams, working directory and environment."""
    try:
        # A directory keeps Popen from using posix_spawn, with which glibc leaves two signals ignored in the target.
        return subprocess.Popen(command, close_fds=False, cwd=".")
    except PermissionError:
        raise TargetNotFound(f"{command[0]!r} cannot be executed", "check its permissions") from None
    except OSError as error:
        raise TargetNotFound(f"{command[0]!r} cannot be started", os.strerror(error.errno or 0)) from None

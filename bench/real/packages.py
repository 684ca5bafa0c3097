"""What the target programs need: packages for each CPython, pyperformance's benchmarks, and which program runs where.

    python -m bench.real.packages                               make what is not there yet, 10 to 30 s a version
    python -m bench.real.packages --check [--versions 3.8,3.15] [NAME ...]
                                    run the programs: how long iterations take, how many contexts, what does not run

Everything lies in the cache directory, below `real`: `site-3.N` and `benchmarks-VERSION`. Each is built beside and
renamed when it is complete. The versions are pinned in packages.toml.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from bench.targets import Unavailable, interpreter

HERE = Path(__file__).parent
PINS = HERE / "packages.toml"
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
PIP_SECONDS = 600.0
BENCHMARKS = "pyperformance/data-files/benchmarks/"
COMPLETE = "complete.json"
"""In a site: {"key": what it was built from, "absent": {import name: why it cannot be imported}}."""

NOT_RUNNING: dict[tuple[str, str], str] = {}
"""(program, version): why it does not run there, although all of its packages can be imported."""

_IMPORT = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
absent = {}
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        absent[name] = f"{type(error).__name__}: {error}"
print(json.dumps(absent))
"""


@dataclass(frozen=True)
class Facts:
    """What a program's module says about itself in constants."""

    packages: tuple[str, ...] = ()
    oldest: tuple[int, int] = (3, 8)
    all_threads: bool = False
    near_system_calls: bool = False
    clocks: tuple[str, ...] = ()


def names() -> list[str]:
    """All programs as target.py names them, those of small/ last."""
    real, small = (sorted(path.stem for path in (HERE / folder).glob("[a-z]*.py")) for folder in ("programs", "small"))
    return real + [f"small/{name}" for name in small]


@functools.cache
def facts(program: str) -> Facts:
    """Read a program's constants; it is not imported, as what it needs is there for its target only."""
    path = HERE / (f"{program}.py" if "/" in program else f"programs/{program}.py")
    found: dict[str, Any] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("PACKAGES", "OLDEST", "ALL_THREADS", "NEAR_SYSTEM_CALLS", "CLOCKS"):
                found[name.lower()] = ast.literal_eval(node.value)
    return Facts(**found)


def missing(program: str, version: str) -> str:
    """Return why a program does not run on a version; empty where it does. Makes the site if it needs one."""
    about = facts(program)
    if numbers(version) < about.oldest:
        return "needs CPython " + ".".join(map(str, about.oldest))
    if (program, version) in NOT_RUNNING:
        return NOT_RUNNING[program, version]
    if not about.packages:
        return ""
    absent = _absent(site_for(version, Path(interpreter(version).command[0])))
    return "; ".join(f"{name}: {absent[name]}" for name in about.packages if name in absent)


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that compare."""
    return tuple(int(part) for part in version.split("."))


def site_for(version: str, python: Path) -> Path:
    """Return the folder with all packages for a version, made when it is not there or the pins have changed."""
    site = _cache() / f"site-{version}"
    key = hashlib.sha256(PINS.read_bytes()).hexdigest()
    with _locked(site):
        if not _is_complete(site, key):
            with _beside(site) as half:
                absent = _install(half, version)
                absent = {**_not_importable(python, half), **absent}
                (half / COMPLETE).write_text(json.dumps({"key": key, "absent": absent}, indent=1))
    return site


def benchmarks() -> Path:
    """Return pyperformance's folder of benchmarks, taken out of its wheel."""
    pin = f"pyperformance=={_pins()['pyperformance']}"
    folder = _cache() / f"benchmarks-{_pins()['pyperformance']}"
    with _locked(folder):
        if not folder.exists():
            with _beside(folder) as half:
                _pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(half), pin)
                _extract(next(half.glob("*.whl")), half)
    return folder


def _extract(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(BENCHMARKS):
                path = folder / name[len(BENCHMARKS) :]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    wheel.unlink()


def _install(site: Path, version: str) -> dict[str, str]:
    """Install all pins into a folder; return which of them there is no wheel for, and pip's words."""
    # pip of the host installs for all versions: some have none of their own, and the old ones' know too little.
    common = ["install", "--no-deps", "--only-binary=:all:", "--no-compile", "--ignore-requires-python", "--upgrade"]
    common += ["--implementation=cp", f"--python-version={version}", f"--target={site}"]
    absent = {}
    for kind, platform in (("pure", ["--platform=any"]), ("compiled", [])):
        pins = {name: f"{name}=={_at(version, pin)}" for name, pin in _pins()[kind].items()}
        try:
            _pip(*common, *platform, *pins.values())
        except Unavailable:  # one by one: those that there are, and what is wrong with the others
            for name, pin in pins.items():
                try:
                    _pip(*common, *platform, pin)
                except Unavailable as error:
                    absent[_import_name(name)] = str(error)
    return absent


def _not_importable(python: Path, site: Path) -> dict[str, str]:
    """Compile all modules for an interpreter, and return which packages it cannot import."""
    # Some files are not meant for every version; an import tells whether they matter.
    subprocess.run([python, "-W", "ignore", "-m", "compileall", "-q", site], capture_output=True, timeout=PIP_SECONDS)
    modules = [_import_name(name) for kind in ("pure", "compiled") for name in _pins()[kind]]
    command = [str(python), "-B", "-W", "ignore", "-c", _IMPORT, str(site), *modules]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS)
    if run.returncode != 0:
        raise Unavailable(f"{python} cannot try its packages: {run.stderr[-200:]}")
    absent: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return absent


def _import_name(pin: str) -> str:
    return pin.replace("-", "_")


@functools.cache
def _pins() -> dict[str, Any]:
    return tomllib.loads(PINS.read_text())


def _at(version: str, pin: str | dict[str, str]) -> str:
    """Return the version of a package for a version of CPython."""
    if isinstance(pin, str):
        return pin
    return pin[max((since for since in pin if numbers(since) <= numbers(version)), key=numbers)]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS)
    if run.returncode != 0:
        errors = [line for line in run.stderr.splitlines() if "WARNING" not in line]
        raise Unavailable(errors[-1].removeprefix("ERROR: ") if errors else f"pip failed with {run.returncode}")


def _absent(site: Path) -> dict[str, str]:
    absent: dict[str, str] = json.loads((site / COMPLETE).read_text())["absent"]
    return absent


def _is_complete(site: Path, key: str) -> bool:
    try:
        return bool(json.loads((site / COMPLETE).read_text())["key"] == key)
    except (OSError, ValueError, KeyError):
        return False


def _cache() -> Path:
    given = os.environ.get("TACHYSCOPE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "tachyscope")
    return Path(given).expanduser() / "real"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a folder to build in, which takes the path's place when all went well. The lock is held."""
    half = path.with_name(f"{path.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    yield half
    shutil.rmtree(path, ignore_errors=True)
    half.rename(path)


def main() -> int:
    """Make all that is needed; with `--check` run the programs."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.real.packages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="programs, such as richards or small/fib; default: all"
    )
    parser.add_argument("--versions", default=",".join(VERSIONS), metavar="V,V")
    parser.add_argument("--check", action="store_true", help="run the programs")
    parser.add_argument("--seconds", type=float, default=2.0, help="for how long each")
    options = parser.parse_args()
    versions: Sequence[str] = options.versions.split(",")
    if options.check:
        from bench.real import check

        return check.check(options.names or names(), versions, options.seconds)
    print(benchmarks())
    for version in versions:
        site = site_for(version, Path(interpreter(version).command[0]))
        print(site, *(f"{name}: {reason}" for name, reason in _absent(site).items()), sep="\n    ")
    return 0


if __name__ == "__main__":
    sys.exit(main())

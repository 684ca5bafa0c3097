"""Compiles the sampler for one interpreter, with the headers of that interpreter."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.real.samplers import cache_directory
from bench.targets import TIMEOUT_SECONDS, Unavailable

SOURCE = Path(__file__).with_name("sampler.c")
FLAGS = ("-O2", "-g0", "-std=gnu11", "-shared", "-fPIC", "-fno-strict-aliasing", "-DNDEBUG", "-Wall", "-Wextra")
LINKED = ("-Wl,-z,now", "-lrt", "-lm")  # now: a signal handler must not be the first to look a function up

_QUESTION = """
import json, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({"hexversion": sys.hexversion, "soabi": sysconfig.get_config_var("SOABI"),
                  "include": paths["include"]}))
"""


def library_for(python: Path) -> Path:
    """Return the sampler for an interpreter, compiled at first use; raises `Unavailable`, in one line."""
    facts = _ask(python)
    headers = headers_of(python, facts["include"])
    options = [*FLAGS, f"-DEXPECTED_VERSION={facts['hexversion']:#x}"]
    # Where it lives in a root of its own, some of its headers are beside them; this system's C library comes first.
    options += [f"-isystem{headers}", f"-isystem{headers}/internal", f"-idirafter{headers.parent}"]
    key = hashlib.sha256(SOURCE.read_bytes() + json.dumps([facts, options, LINKED]).encode()).hexdigest()[:16]
    library = cache_directory() / "signals" / f"{facts['soabi']}-{key}.so"
    if not library.exists():
        _compile(options, library)
    return library


def headers_of(python: Path, include: str) -> Path:
    """Return where an interpreter's headers are: it may be one of a root that it does not know of."""
    for root in Path(os.path.abspath(python)).parents:  # noqa: PTH100  # links are part of the answer
        headers = root / include.lstrip("/")
        if (headers / "internal" / "pycore_pystate.h").is_file():
            return headers
    raise Unavailable(f"no headers of {python} in {include}: install its development files")


def _ask(python: Path) -> dict[str, Any]:
    try:
        run = subprocess.run([python, "-Ic", _QUESTION], capture_output=True, timeout=TIMEOUT_SECONDS, check=True)
        facts: dict[str, Any] = json.loads(run.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unavailable(f"{python} does not run: {error}") from None
    return facts


def _compiler() -> str:
    for name in (os.environ.get("CC", ""), "gcc", "cc", "clang"):
        path = shutil.which(name) if name else None
        if path is not None:
            return path
    raise Unavailable("no C compiler for the signal sampler: install gcc, or set CC")


def _compile(options: list[str], library: Path) -> None:
    """Compile under another name first: whoever sees the library sees all of it."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        unfinished = Path(folder, "library.so")
        command = [_compiler(), *options, str(SOURCE), "-o", str(unfinished), *LINKED]
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        if run.returncode != 0:
            first = next((line for line in run.stderr.splitlines() if "error" in line), f"status {run.returncode}")
            raise Unavailable(f"the signal sampler does not compile: {first}")
        unfinished.rename(library)

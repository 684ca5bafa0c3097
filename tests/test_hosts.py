"""Any host, any target: the same wheel, installed for another Python than the one that runs the tests.

For each host and target: some thousand samples of a busy program at 10 kHz. How many of the ticks are missed says
`python -m bench.missed`, run by any host.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import INTERPRETERS, READY_TIMEOUT_SECONDS, ROOT, spawn_target

pytestmark = pytest.mark.long

INTERVAL_US = 100
SAMPLES = 5000
HOSTS = [name for name in INTERPRETERS if name in ("3.10", "3.13", "3.15")]

BUSY = """
def leaf(count):
    total = 0
    for each in range(count):
        total += each
    return total

def middle(count):
    return leaf(count)

def outer(count):
    return middle(count)

def main():
    print("ready", flush=True)
    while True:
        outer(1000)

main()
"""
STACK = ["<module>", "main", "outer", "middle", "leaf"]

# Run by the host: sample the target, print what came of it as JSON.
MEASURE = f"""
import json, sys
from tachyscope import attach
with attach(int(sys.argv[1]), interval_us={INTERVAL_US}) as session:
    while session.sample(0.2) < {SAMPLES}:
        pass
    profile = session.profile()
stacks = {{}}
for _, stack, samples in profile.stacks():
    names = tuple(frame.function.name for frame in stack)
    stacks[names] = stacks.get(names, 0) + samples
print(json.dumps([profile.accuracy.samples, profile.accuracy.failed, list(stacks.items())]))
"""


@contextmanager
def only_one(folder: Path) -> Iterator[bool]:
    """Let one process in at a time, all of those that run tests side by side; True until one was done."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        yield not done.exists()
        done.touch()


def install(folder: Path, name: str) -> None:
    """Make an environment of another version, with the wheel under test or one built now."""
    wheel = os.environ.get("TACHYSCOPE_WHEEL") or build(folder / "wheel")
    # Not every host can make a pip of its own; the one that runs here serves them all.
    subprocess.run(
        [INTERPRETERS[name], "-m", "venv", "--clear", "--without-pip", folder / "venv"],
        check=True,
        timeout=READY_TIMEOUT_SECONDS,
    )
    python = str(folder / "venv" / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel]
    subprocess.run(command, check=True, timeout=READY_TIMEOUT_SECONDS)


def build(folder: Path) -> str:
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv*", "build", "*.so"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=2 * READY_TIMEOUT_SECONDS)
    return str(next(folder.glob("*.whl")))


@pytest.fixture(scope="session", params=HOSTS, ids=[f"host{name}" for name in HOSTS])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of another version with the wheel installed."""
    here = tmp_path_factory.getbasetemp()
    folder = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / f"host{request.param}"
    with only_one(folder) as is_first:
        if is_first:
            install(folder, request.param)
    return folder / "venv" / "bin" / "python"


def test_a_busy_program_at_10_khz(host: Path, python: Path) -> None:
    with spawn_target(python, BUSY) as target:
        run = subprocess.run(
            [str(host), "-c", MEASURE, str(target.pid)], capture_output=True, timeout=READY_TIMEOUT_SECONDS
        )
    assert run.returncode == 0, run.stderr.decode()
    samples, failed, stacks = json.loads(run.stdout)
    assert failed <= 0.005 * samples
    assert sum(count for _, count in stacks) == samples
    certain = [(names, count) for names, count in stacks if names[:1] != ["<uncertain>"]]
    assert sum(count for _, count in certain) >= 0.9 * samples
    for names, count in certain:
        assert names == STACK[: len(names)], (names, count)


def test_the_whole_command_line(host: Path, python: Path, tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text("def work():\n    return sum(range(5_000_000))\n\nwork()\n")
    command = [str(host), "-m", "tachyscope", "run", "--collapsed", "-o", "-", "--python", str(python), str(script)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=READY_TIMEOUT_SECONDS)
    assert run.returncode == 0, run.stderr
    assert any(line.startswith("work.py:<module>:1;work.py:work:1 ") for line in run.stdout.splitlines()), run.stdout

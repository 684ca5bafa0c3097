"""Descendants: found, sampled by the same profiler, each with its own output or all in one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support import spawn_target, tachyscope

from tachyscope.target.children import Tree

CHILDREN = 40
SEEN = 0.5
"""Of them at least: bench.children says how many really are, on a machine that is not busy."""

FAMILY = """
import subprocess, sys
source = "import sys; print('ready', flush=True); sys.stdin.read()"
inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {source!r}])"
subprocess.run([sys.executable, "-c", inner])
"""

SPIN = """
import multiprocessing, os, subprocess, sys, time

def spin_{name}(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""

WAYS = (
    SPIN.format(name="in_child")
    + """
def forked():
    if os.fork() == 0:
        spin_in_child(0.2)
        os._exit(0)
    os.wait()

def executed():
    subprocess.run([sys.executable, __file__, "child"])

def started(method):
    process = multiprocessing.get_context(method).Process(target=spin_in_child, args=(0.2,))
    process.start()
    process.join()

if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        spin_in_child(0.2)
    elif sys.argv[1] in ("forked", "executed"):
        globals()[sys.argv[1]]()
    else:
        started(sys.argv[1])
"""
)

SHORT = f"""
import subprocess, sys
for number in range({CHILDREN}):
    source = "import time\\nwhile time.process_time() < 0.05: pass"
    subprocess.run([sys.executable, "-I", "-S", "-c", source])
sys.exit(7)
"""


def outputs(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.iterdir()) if path.suffix == ".txt"]


def test_the_tree_of_a_process(python: Path) -> None:
    with spawn_target(python, FAMILY) as target:
        tree = Tree(target.pid)
        assert len(tree.new()) == 2  # the grandchild, which is ready, and its parent
        assert tree.new() == []


@pytest.mark.parametrize("way", ["forked", "executed", "fork", "spawn", "forkserver"])
def test_every_way_to_make_a_process(way: str, tmp_path: Path) -> None:
    script = tmp_path / "ways.py"
    script.write_text(WAYS)
    folder = tmp_path / "out"
    folder.mkdir()
    run = tachyscope("run", "--subprocesses", "--collapsed", "-o", folder / "all.txt", script, way)
    assert run.returncode == 0, run.stderr
    assert (folder / "all.txt").exists()
    assert sum(":spin_in_child:" in text for text in outputs(folder)) == 1, run.stderr
    assert ":spin_in_child:" not in (folder / "all.txt").read_text()


def test_another_version_below(python: Path, tmp_path: Path) -> None:
    source = f"import subprocess; subprocess.run([{str(python)!r}, '-c', 'sum(range(30_000_000))'])"
    run = tachyscope("run", "--subprocesses", "--collapsed", "-o", tmp_path / "all.txt", "-c", source)
    assert run.returncode == 0, run.stderr
    assert len(outputs(tmp_path)) == 2, run.stderr


def test_short_children_are_seen(tmp_path: Path) -> None:
    script = tmp_path / "short.py"
    script.write_text(SHORT)
    folder = tmp_path / "out"
    folder.mkdir()
    run = tachyscope("run", "--subprocesses", "--collapsed", "-o", folder / "all.txt", script)
    assert run.returncode == 7
    assert len(outputs(folder)) - 1 >= SEEN * CHILDREN, run.stderr


def test_one_output_for_all(tmp_path: Path) -> None:
    script = tmp_path / "ways.py"
    script.write_text(WAYS)
    run = tachyscope("run", "--merge-subprocesses", "--collapsed", "-o", "-", script, "executed")
    assert run.returncode == 0, run.stderr
    roots = {line.rpartition(" ")[0].partition(";")[0] for line in run.stdout.splitlines()}
    assert len(roots) == 2
    assert all(re.fullmatch(r"process \d+ \(.*python.*\)", root) for root in roots), roots
    assert "of 2 processes" in run.stderr


def test_what_is_no_python_is_listed(tmp_path: Path) -> None:
    """Until it becomes `sleep`, the child is a copy of its parent; on a busy machine it is one for long enough."""
    source = "import subprocess; subprocess.run(['sleep', '2'])"
    run = tachyscope("run", "--subprocesses", "--collapsed", "-o", tmp_path / "all.txt", "-c", source)
    assert run.returncode == 0
    listed = re.search(r"1 process ran no Python that could be seen: \d+ \(sleep\)", run.stderr)
    assert listed or len(outputs(tmp_path)) == 2, run.stderr


def test_a_shell_that_starts_python(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'sum(range(5_000_000))'; exit 3"
    run = tachyscope("run", "--subprocesses", "--collapsed", "-o", tmp_path / "all.txt", "--", "sh", "-c", command)
    assert run.returncode == 3
    assert len(outputs(tmp_path)) == 1, run.stderr


def test_generated_names(tmp_path: Path) -> None:
    source = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(5_000_000))'])"
    run = tachyscope("run", "--subprocesses", "-c", source, cwd=tmp_path)
    assert run.returncode == 0
    assert run.stdout.startswith("Profile of ")
    assert [re.sub(r"\d+", "N", path.name) for path in tmp_path.iterdir()] == ["profile_N.pstats"]

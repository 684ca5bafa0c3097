"""The public Python API."""

from __future__ import annotations

import dataclasses
import os
import pstats
import re
import subprocess
import sys
import textwrap
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from support import WAITING, spawn, spawn_target

import tachyscope
from tachyscope import (
    NotPython,
    OutputError,
    Profile,
    TachyscopeError,
    TargetGone,
    TargetNotFound,
    UsageError,
    attach,
    export,
    launch,
)

BUSY = """
import time
def hot(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""
FOREVER = BUSY + "print('ready', flush=True)\nhot(1e9)\n"


@pytest.fixture(scope="module")
def profile() -> Profile:
    """The profile of a program that imports much, works and ends."""
    with launch([sys.executable, "-c", f"{BUSY}import asyncio, typing, unittest.mock\nhot(0.3)"]) as session:
        session.sample()
        return session.profile()


def functions_of(profile: Profile) -> Counter[str]:
    """Return the samples of each function, its callees included."""
    counts: Counter[str] = Counter()
    for _, stack, samples in profile.stacks():
        for name in {frame.function.name for frame in stack}:
            counts[name] += samples
    return counts


def test_everything_public_can_be_imported() -> None:
    assert list(tachyscope.__all__) == sorted(set(tachyscope.__all__))
    for name in tachyscope.__all__:
        assert getattr(tachyscope, name).__name__ == name
    namespace: dict[str, object] = {}
    exec("from tachyscope import *", namespace)
    assert set(tachyscope.__all__) <= set(namespace)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="module 'tachyscope' has no attribute 'profile_everything'"):
        _ = tachyscope.profile_everything


def test_importing_loads_nothing_but_errors() -> None:
    source = "import sys, tachyscope; print([name for name in sys.modules if name.startswith('tachyscope.')])"
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert run.stdout == "['tachyscope.errors']\n"


def test_attach_sample_twice_and_leave_the_target_alone() -> None:
    with spawn_target(sys.executable, FOREVER) as target:
        with attach(target.pid, interval_us=500) as session:
            assert session.pid == target.pid
            assert session.process is None
            first = session.sample(0.2)
            early = session.profile()
            second = session.sample(seconds=0.2)
            late = session.profile()
        assert target.process.poll() is None
    assert 0 < first < second
    assert (early.accuracy.samples, late.accuracy.samples) == (first, second)
    assert sum(early.totals().values()) == first
    assert late.accuracy.interval_us == 500
    assert late.accuracy.duration_s > 0.3
    assert late.target.pid == target.pid
    assert late.target.command[0] == sys.executable
    assert late.target.python_version == ".".join(map(str, sys.version_info[:3]))
    assert functions_of(late)["hot"] > 0.9 * second


def test_short_bursts_lose_nothing() -> None:
    """What was learned of the target is kept from one to the next: each begins at once, and all see what one sees.
    Where a busy machine did not let one run it took longer."""
    counts, took = [0], []
    with spawn_target(sys.executable, FOREVER) as target, attach(target.pid) as session:
        for _ in range(1000):
            begin = time.monotonic()
            counts.append(session.sample(0.005))
            took.append(time.monotonic() - begin)
        profile = session.profile()
    in_time = [later > earlier for (earlier, later), each in zip(pairwise(counts), took, strict=True) if each < 0.006]
    assert sum(in_time) >= 0.99 * len(in_time)
    assert functions_of(profile)["hot"] > 0.99 * profile.samples
    assert 0.9 * sum(took) - 1 <= profile.accuracy.duration_s <= sum(took)


def test_what_was_taken_is_not_counted_again() -> None:
    with spawn_target(sys.executable, FOREVER) as target, attach(target.pid, all_threads=True) as session:
        session.sample(0.1)
        first = session.take()
        assert session.profile().samples == session.profile().accuracy.ticks == 0
        session.sample(0.1)
        second = session.take()
    for each in (first, second):
        assert each.samples == each.accuracy.samples == each.accuracy.ticks - each.accuracy.missed > 0
        assert 0.05 <= each.accuracy.duration_s <= 0.5
        assert functions_of(each)["hot"] == each.samples


def test_a_profile_during_a_run_has_everything_so_far() -> None:
    seen = []
    with spawn_target(sys.executable, FOREVER) as target, attach(target.pid) as session:
        session.sample(0.4, watch=lambda: seen.append((session.progress().samples, session.profile().samples)))
    assert len(seen) > 3
    assert all(counted == profiled > 0 for counted, profiled in seen)
    assert [profiled for _, profiled in seen] == sorted({profiled for _, profiled in seen})


def test_a_tree_of_processes() -> None:
    child = [sys.executable, "-c", f"{BUSY}hot(0.4)"]
    with launch([sys.executable, "-c", f"import subprocess; subprocess.run({child})"], subprocesses=True) as session:
        session.sample()
        first, second = session.profiles()
    assert first.target.pid == session.pid != second.target.pid
    assert functions_of(second)["hot"] > 0.5 * second.samples > 0
    assert first.samples == session.profile().samples > 0


def test_a_target_that_ends_is_no_error() -> None:
    with spawn_target(sys.executable, WAITING) as target, attach(target.pid) as session:
        first = session.sample(0.05)
        target.process.communicate()
        assert session.sample(5) >= first
        assert session.sample() >= first
        assert session.profile().accuracy.samples >= first


def test_launch_samples_from_the_start_to_the_end(profile: Profile) -> None:
    counts = functions_of(profile)
    assert counts["hot"] > 10
    assert counts["_find_and_load"] > 0
    assert profile.accuracy.duration_s >= 0.3


def test_leaving_ends_a_launched_process() -> None:
    with launch([sys.executable, "-c", FOREVER]) as session:
        assert session.process is not None
        session.sample(0.05)
        assert session.process.poll() is None
    assert session.process.returncode == -9
    session.close()  # once more is no error


@pytest.mark.parametrize(
    ("name", "options", "pattern"),
    [
        ("pstats", {}, r"\(hot\)"),
        ("pstats", {"limit": 1, "summary": False, "sort": "tottime", "lines": True}, r"1 line of"),
        ("collapsed", {}, r"<module>:\d;<string>:hot:3 \d+\n"),
        ("collapsed", {"lines": True}, r"<string>:hot:[56] \d+\n"),
    ],
)
def test_export(profile: Profile, name: str, options: dict[str, object], pattern: str, tmp_path: Path) -> None:
    export(profile, name, tmp_path / "out", **options)
    assert re.search(pattern, (tmp_path / "out").read_text())
    export(profile, name, str(tmp_path / "again"), **options)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "out").read_bytes()


def test_export_for_the_pstats_module(profile: Profile, tmp_path: Path) -> None:
    export(profile, "pstats-file", tmp_path / "out")
    stats = pstats.Stats(str(tmp_path / "out"))
    assert ("<string>", 3, "hot") in stats.stats  # type: ignore[attr-defined]


def test_a_profile_is_not_changed_by_its_users(profile: Profile) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.target.pid = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.accuracy.samples = 1  # type: ignore[misc]


# ---- errors ----


def test_no_such_process() -> None:
    with spawn(["/bin/true"]) as target:
        target.process.wait()
        with pytest.raises(TargetNotFound, match=f"no process {target.pid}"):
            attach(target.pid)


def test_a_process_without_python() -> None:
    with spawn(["/bin/sleep", "60"]) as target, pytest.raises(NotPython):
        attach(target.pid)


@pytest.mark.parametrize("interval_us", [0, -1, 0.5, float("nan"), float("inf")])
def test_bad_intervals_start_nothing(interval_us: float, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"open({str(tmp_path / 'started')!r}, 'w')"]
    with pytest.raises(UsageError, match="interval_us"):
        launch(command, interval_us=interval_us)
    with pytest.raises(UsageError, match="interval_us"):
        attach(os.getpid(), interval_us=interval_us)
    assert not list(tmp_path.iterdir())


def test_commands_that_cannot_be_launched(tmp_path: Path) -> None:
    commands: tuple[list[str] | str, ...] = ([], "python app.py")
    for command in commands:
        with pytest.raises(UsageError, match="list of words"):
            launch(command)
    with pytest.raises(TargetNotFound, match="no-such-command"):
        launch(["no-such-command"])
    with pytest.raises(TargetNotFound, match="permissions"):
        launch([str(tmp_path)])
    with pytest.raises(TargetGone, match="'/bin/true' ended"):
        launch(["/bin/true"])


def test_exports_that_cannot_be_made(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="collapsed"):
        export(profile, "svg", tmp_path / "out")
    with pytest.raises(UsageError, match="'collapsed' does not have these options"):
        export(profile, "collapsed", tmp_path / "out", limit=3)
    with pytest.raises(OutputError, match="No such file or directory"):
        export(profile, "collapsed", tmp_path / "no" / "out")
    with pytest.raises(OutputError, match="Is a directory"):
        export(profile, "collapsed", tmp_path)
    assert not list(tmp_path.iterdir())


def test_errors_are_of_one_family_and_say_what_to_do() -> None:
    error = TargetNotFound("no script 'x'", "check the path")
    assert isinstance(error, TachyscopeError)
    assert str(error) == "no script 'x': check the path"
    assert (error.cause, error.remedy) == ("no script 'x'", "check the path")
    assert (error.exit_status, UsageError("").exit_status) == (1, 2)


# ---- documentation ----


def test_the_example_of_the_package_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tachyscope.__doc__ is not None
    blocks = re.findall(r"\n\n((?:    .*\n|\n)+)", tachyscope.__doc__)
    example = textwrap.dedent("\n".join(blocks))
    assert "4321" in example and "seconds=5" in example
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    Path("train.py").write_text(BUSY + "hot(0.2)\n")
    with spawn_target(sys.executable, FOREVER) as target:
        example = example.replace("4321", str(target.pid)).replace("seconds=5", "seconds=0.1")
        namespace: dict[str, object] = {}
        exec(example, namespace)
    found = namespace["profile"]
    assert isinstance(found, Profile)
    assert functions_of(found)["hot"]
    assert ":hot:" in Path("train.txt").read_text()

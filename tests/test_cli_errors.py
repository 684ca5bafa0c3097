"""What goes wrong before anything starts: one line with cause and remedy, the right status, nothing left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import READY_TIMEOUT_SECONDS, WAITING, spawn, spawn_target, tachyscope

NOBODY = 65534
MARK = "started"
APP = f"open({MARK!r}, 'w').close()\n"

AS_NOBODY = f"""
import os, sys
import elftools.elf.elffile
from tachyscope import api
from tachyscope.cli import main, messages, output, parser
parser.parse(["attach", "1"])  # imports what is imported at the first use
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
sys.exit(main(sys.argv[1:]))
"""
"""The command line as another user, who need not be able to read our interpreter's files."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with programs that leave a mark when they are started."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "empty").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(APP)
    (tmp_path / "plain.txt").write_text("no program")
    return tmp_path


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def assert_refused(run: subprocess.CompletedProcess[str], status: int, *words: str, remedy: bool = True) -> None:
    """One line on standard error that names cause and remedy, and nothing on standard output."""
    assert (run.returncode, run.stdout) == (status, ""), run.stderr
    assert run.stderr.endswith("\n")
    assert run.stderr.count("\n") == 1, run.stderr
    assert run.stderr.startswith("tachyscope: ")
    assert not remedy or len(run.stderr.split(": ")) >= 3, f"no remedy: {run.stderr}"
    for word in words:
        assert word in run.stderr


def as_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AS_NOBODY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=READY_TIMEOUT_SECONDS)


# ---- options ----

BAD_OPTIONS: dict[str, tuple[Any, ...]] = {
    "no-command": ([], "COMMAND"),
    "unknown-command": (["app.py"], "'app.py'", "tachyscope run app.py"),
    "unknown-option": (["run", "--frobnicate", "app.py"], "--frobnicate", "tachyscope run --help"),
    "abbreviated-option": (["run", "--dur", "3", "app.py"], "--dur"),
    "unknown-option-line-break": (["run", "--a\nb", "app.py"], "--a\\nb"),
    "unknown-option-before-command": (["--frobnicate", "run", "app.py"], "--frobnicate"),
    "nothing-to-run": (["run"], "nothing to run"),
    "only-options": (["run", "-d", "3"], "nothing to run"),
    "module-without-name": (["run", "-m"], "-m"),
    "code-without-text": (["run", "-c"], "-c"),
    "no-command-after-dashes": (["run", "--"], "--"),
    "attach-without-pid": (["attach"], "PID"),
    "attach-two-pids": (["attach", "1", "2"], "2", "tachyscope attach --help"),
    "interval-missing": (["run", "-i"], "-i"),
    "interval-zero": (["run", "-i", "0", "app.py"], "-i", "0"),
    "interval-negative": (["run", "-i", "-5", "app.py"], "-i", "-5"),
    "interval-text": (["run", "-i", "fast", "app.py"], "-i", "'fast'"),
    "interval-fraction": (["run", "-i", "1.5", "app.py"], "-i", "'1.5'"),
    "interval-huge": (["run", "--interval=1" + 30 * "0", "app.py"], "--interval"),
    "interval-endless": (["run", "-i", 5000 * "1", "app.py"], "-i"),
    "rate-text": (["run", "-r", "often", "app.py"], "'often'", "10khz"),
    "rate-unit": (["run", "-r", "10ghz", "app.py"], "'10ghz'", "10khz"),
    "rate-zero": (["run", "-r", "0", "app.py"], "'0'"),
    "rate-negative": (["run", "-r", "-100", "app.py"], "'-100'"),
    "rate-above-a-microsecond": (["run", "-r", "2mhz", "app.py"], "1mhz"),
    "rate-infinite": (["run", "-r", "inf", "app.py"], "'inf'"),
    "duration-negative": (["run", "-d", "-1", "app.py"], "-d", "'-1'"),
    "duration-text": (["run", "-d", "1m", "app.py"], "-d", "'1m'"),
    "duration-nan": (["run", "-d", "nan", "app.py"], "-d"),
    "duration-infinite": (["run", "-d", "inf", "app.py"], "-d"),
    "limit-zero": (["run", "-l", "0", "app.py"], "--limit"),
    "limit-negative": (["run", "--limit", "-3", "app.py"], "--limit"),
    "limit-text": (["run", "--limit", "all", "app.py"], "'all'"),
    "sort-unknown": (["run", "--sort", "size", "app.py"], "'size'", "tottime"),
    "interval-and-rate": (["run", "-i", "100", "-r", "10khz", "app.py"], "-i", "-r"),
    "rate-and-interval": (["attach", "-r", "10khz", "-i", "100", "1"], "-i", "-r"),
    "two-formats": (["run", "--pstats", "--collapsed", "app.py"], "--pstats", "--collapsed"),
    "sort-of-stacks": (["run", "--collapsed", "--sort", "name", "app.py"], "--sort", "--collapsed", "--pstats"),
    "limit-of-stacks": (["run", "--collapsed", "-l", "3", "app.py"], "--limit", "--collapsed", "--pstats"),
    "summary-of-stacks": (["run", "--collapsed", "--no-summary", "app.py"], "--no-summary", "--collapsed"),
    "python-for-attach": (["attach", "--python=python3", "1"], "--python"),
    "stop-target-for-attach": (["attach", "--stop-target", "1"], "--stop-target"),
    "pid-zero": (["attach", "0"], "'0'"),
    "pid-negative": (["attach", "-5"], "-5"),
    "pid-text": (["attach", "python"], "'python'"),
    "pid-fraction": (["attach", "1.5"], "'1.5'"),
    "pid-too-big": (["attach", "99999999999"], "'99999999999'"),
    "pid-other-digits": (["attach", "١٢٣"], "PID"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_refused_before_anything_starts(case: str, folder: Path) -> None:
    arguments, *words = BAD_OPTIONS[case]
    before = sorted(folder.rglob("*"))
    assert_refused(tachyscope(*arguments, cwd=folder), 2, *words)
    assert sorted(folder.rglob("*")) == before


# ---- targets ----

MISSING: dict[str, tuple[Any, ...]] = {
    "script": (["nope.py"], "no script 'nope.py'", "check the path"),
    "script-without-name": ([""], "no script ''"),
    "script-with-endless-name": ([300 * "x"], "name too long"),
    "script-below-a-file": (["app.py/more.py"], "'app.py/more.py'"),
    "module": (["-m", "no_such_module"], "no module 'no_such_module'", "--python"),
    "submodule": (["-m", "package.nope"], "no module 'package.nope'"),
    "module-of-missing-package": (["-m", "nope.nope"], "no module 'nope.nope'"),
    "package-without-main": (["-m", "package"], "package 'package' has no __main__"),
    "directory-without-main": (["empty"], "directory 'empty' has no __main__.py"),
    "command": (["--", "no-such-command"], "no command 'no-such-command'", "PATH"),
    "command-not-executable": (["--", "./app.py"], "'./app.py' is not executable", "leave out --"),
    "interpreter": (["--python", "no-such-python", "app.py"], "no interpreter 'no-such-python'", "--python"),
    "interpreter-is-directory": (["--python", "empty", "app.py"], "no interpreter 'empty'"),
    "interpreter-is-no-program": (["--python", "./plain.txt", "app.py"], "no interpreter './plain.txt'"),
}


@pytest.mark.parametrize("case", MISSING)
def test_nothing_to_run_is_one_line(case: str, folder: Path) -> None:
    arguments, *words = MISSING[case]
    before = sorted(folder.rglob("*"))
    assert_refused(tachyscope("run", *arguments, cwd=folder), 1, *words)
    assert sorted(folder.rglob("*")) == before


def test_a_zip_file_without_main_is_left_to_python(folder: Path) -> None:
    with zipfile.ZipFile(folder / "app.zip", "w") as archive:
        archive.writestr("other.py", "")
    run = tachyscope("run", "-o", "out", "app.zip", cwd=folder)
    assert run.returncode == 1
    assert "__main__" in run.stderr
    assert "the target ended with exit status 1" in run.stderr


def test_a_program_that_the_system_cannot_execute(folder: Path) -> None:
    broken = folder / "broken"
    broken.write_bytes(b"\x7fELF but no more")
    broken.chmod(0o755)
    assert_refused(tachyscope("run", "--", broken), 1, "'" + str(broken) + "' cannot be started")


def _python_with_path(path: Path, modules: str) -> Path:
    """Write an interpreter that sees only the modules in one directory."""
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(modules)} exec {shlex.quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
    return path


def test_a_module_is_looked_up_with_the_targets_interpreter(tmp_path: Path) -> None:
    for name in ("host", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"only_{name}.py").write_text(f"print('this is {name}')")
    python = _python_with_path(tmp_path / "python", str(tmp_path / "target"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "host")}
    run = tachyscope("run", "--python", python, "-m", "only_host", environment=environment)
    assert_refused(run, 1, "no module 'only_host'", str(python))
    arguments = ("run", "--python", python, "-o", tmp_path / "out", "-m", "only_target")
    run = tachyscope(*arguments, environment=environment)
    assert (run.returncode, run.stdout) == (0, "this is target\n"), run.stderr


# ---- processes ----


def test_a_dead_process() -> None:
    with spawn(["/bin/true"]) as target:
        target.process.wait()
        assert_refused(tachyscope("attach", str(target.pid)), 1, f"no process {target.pid}")


def test_a_process_that_was_not_reaped() -> None:
    with spawn(["/bin/true"]) as target:
        os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
        run = tachyscope("attach", str(target.pid))
        assert_refused(run, 1, f"process {target.pid} has ended", remedy=False)  # nothing can be done about it


def test_a_process_that_is_not_python() -> None:
    with spawn(["/bin/sleep", "60"]) as target:
        assert_refused(tachyscope("attach", str(target.pid)), 1, str(target.pid), "Python")
        assert target.process.poll() is None


def test_the_profiler_itself() -> None:
    source = "import os, sys; from tachyscope.cli import main; sys.exit(main(['attach', str(os.getpid())]))"
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert_refused(run, 1, "tachyscope itself", "another program")


@needs_root
def test_a_process_of_another_user() -> None:
    with spawn_target(sys.executable, WAITING) as target:
        run = as_nobody("attach", str(target.pid))
        words = ("not permitted", "runs as user 0", "CAP_SYS_PTRACE", f"tachyscope doctor {target.pid}")
        assert_refused(run, 1, str(target.pid), *words)
        assert target.process.poll() is None


@needs_root
def test_a_script_of_another_user(shared: Path) -> None:
    (shared / "app.py").write_text(APP)
    (shared / "app.py").chmod(0o600)
    assert_refused(as_nobody("run", shared / "app.py"), 1, "app.py' cannot be read", "permissions")
    (shared / "closed").mkdir(mode=0o700)
    assert_refused(as_nobody("run", shared / "closed" / "app.py"), 1, "app.py' cannot be read")


# ---- output paths ----

BAD_OUTPUT = {
    "missing-directory": ("no/such/out.txt", "no directory 'no/such'", "create it"),
    "below-a-file": ("plain.txt/out.txt", "'plain.txt/out.txt'"),
    "endless-name": (300 * "x", "name too long"),
}


@pytest.mark.parametrize("option", ["-o", "--stats-json"])
@pytest.mark.parametrize("case", BAD_OUTPUT)
def test_output_that_cannot_be_written_is_found_first(case: str, option: str, folder: Path) -> None:
    path, *words = BAD_OUTPUT[case]
    before = sorted(folder.rglob("*"))
    assert_refused(tachyscope("run", option, path, "app.py", cwd=folder), 1, *words)
    assert sorted(folder.rglob("*")) == before


def test_stats_do_not_go_into_a_directory(folder: Path) -> None:
    run = tachyscope("run", "--stats-json", "empty", "app.py", cwd=folder)
    assert_refused(run, 1, "'empty' is a directory", "file name")
    assert not (folder / MARK).exists()


@needs_root
@pytest.mark.parametrize("option", ["-o", "--stats-json"])
def test_a_directory_that_we_may_not_write_to(shared: Path, option: str) -> None:
    script = shared / "app.py"
    script.write_text("")
    run = as_nobody("run", option, shared / "out.txt", script)
    assert_refused(run, 1, f"directory '{shared}' is not writable", "-o")
    (shared / "old.txt").write_text("old")
    assert_refused(as_nobody("run", option, shared / "old.txt", script), 1, "old.txt' is not writable")
    (shared / "closed").mkdir(mode=0o700)
    assert_refused(as_nobody("run", option, shared / "closed" / "out.txt", script), 1, "Permission denied")
    assert (shared / "old.txt").read_text() == "old"


@needs_root
def test_a_file_system_that_is_read_only(folder: Path) -> None:
    mount = f"mount -t tmpfs -o ro none {shlex.quote(str(folder / 'empty'))}"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "sh", "-c", mount]).returncode:
        pytest.skip("a mount namespace of our own is not to be had here")
    tool = shlex.join([sys.executable, "-m", "tachyscope", "run", "-o", "empty", "app.py"])
    command = ["unshare", "-m", "sh", "-c", f"{mount} && exec {tool}"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert_refused(run, 1, "directory 'empty' is not writable")
    assert not (folder / MARK).exists()


@needs_root
def test_a_device_is_written_to_and_not_replaced(shared: Path) -> None:
    with spawn_target(sys.executable, WAITING) as target:
        run = as_nobody("attach", "-o", "/dev/null", str(target.pid))
    assert_refused(run, 1, "not permitted")  # and not that /dev is not writable
    run = tachyscope("run", "-o", "/dev/null", "-c", "")
    assert run.returncode == 0, run.stderr
    assert Path("/dev/null").is_char_device()

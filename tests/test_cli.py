"""The command line with real targets: how they are run, how they end, what is written where."""

from __future__ import annotations

import fcntl
import json
import os
import pstats
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import INTERPRETERS, READY_TIMEOUT_SECONDS, WAITING, spawn_target, tachyscope

from tachyscope.cli import attach, parser

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

HOT = """
import time
def {name}(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""
"""A function that is busy for so many seconds of CPU time, so that a profile has something to show."""

SHORT = HOT.format(name="hot") + "hot(0.1)\n"
FOREVER = HOT.format(name="hot") + "print('ready', flush=True)\nhot(1e9)\n"


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- what a profiler says while it runs ----


@dataclass
class Profiler:
    """A running `tachyscope`; the target's "ready" line and our messages can be waited for."""

    process: subprocess.Popen[bytes]
    output: int  # descriptor of standard output, or of the terminal
    messages: int  # descriptor of standard error, or of the terminal
    seen: dict[int, str] = field(default_factory=dict)

    def wait_for(self, descriptor: int, text: str) -> str:
        """Read until `text` has appeared; return everything read so far."""
        while text not in self.seen.get(descriptor, ""):
            if not select.select([descriptor], [], [], READY_TIMEOUT_SECONDS)[0]:
                raise AssertionError(f"no {text!r}: {self.seen}")
            if not self._read(descriptor):
                raise AssertionError(f"no {text!r}, but the end: {self.seen}")
        return self.seen[descriptor]

    def _read(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, 1 << 16)
        except OSError:  # the other side of a terminal was closed
            data = b""
        self.seen[descriptor] = self.seen.get(descriptor, "") + data.decode()
        return bool(data)

    def wait_until_sampling(self) -> None:
        """Wait until many samples were taken: the profiler sleeps before each, and hardly ever otherwise."""
        status = Path(f"/proc/{self.process.pid}/status")
        while int(re.findall(r"voluntary_ctxt_switches:\s+(\d+)", status.read_text())[0]) < 1000:
            assert self.process.poll() is None
            time.sleep(0.001)

    def end(self) -> int:
        """Wait for the end, keep what is said until then, and return the exit status."""
        status = self.process.wait(READY_TIMEOUT_SECONDS)
        for descriptor in {self.output, self.messages}:
            while self._read(descriptor):
                pass
        return status


@contextmanager
def profiler(*arguments: str | Path) -> Iterator[Profiler]:
    command = [sys.executable, "-m", "tachyscope", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True) as process:
        assert process.stdout is not None and process.stderr is not None
        yield from _until_killed(Profiler(process, process.stdout.fileno(), process.stderr.fileno()))


@contextmanager
def on_terminal(*arguments: str | Path) -> Iterator[tuple[Profiler, int]]:
    """Run on a terminal of its own, whose foreground process group it is with its target."""
    command = ["setsid", "--ctty", sys.executable, "-m", "tachyscope", *map(str, arguments)]
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        for running in _until_killed(Profiler(process, master, master)):
            yield running, master
    os.close(master)


def _until_killed(running: Profiler) -> Iterator[Profiler]:
    """Yield once; afterwards end the whole session."""
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()


def functions_in(path: Path) -> set[str]:
    """Return the names of the functions in a pstats file."""
    return {key[2] for key in pstats.Stats(str(path)).stats}  # type: ignore[attr-defined]


def names() -> list[str]:
    """Return what there is in the test's directory, where nothing may be left behind."""
    return sorted(path.name for path in Path().iterdir())


def only_messages(text: str) -> bool:
    return all(line.startswith("tachyscope: ") for line in text.splitlines())


# ---- how a target ends ----

ENDINGS = {
    "well": ("pass", 0, ""),
    "sys.exit": ("import sys; sys.exit(7)", 7, "exit status 7"),
    "exception": ("1 / 0", 1, "ZeroDivisionError"),
    "os._exit": ("import os; os._exit(9)", 9, "exit status 9"),
    "within-milliseconds": ("import os; os._exit(0)", 0, ""),
    "segfault": ("import ctypes; ctypes.string_at(0)", 139, "SIGSEGV"),
    "kill": ("import os; os.kill(os.getpid(), 9)", 137, "SIGKILL"),
    "unnamed-signal": ("import os; os.kill(os.getpid(), 40)", 168, "signal 40"),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_exit_status_is_that_of_the_target(case: str) -> None:
    source, status, words = ENDINGS[case]
    run = tachyscope("run", "-o", "out", "--stats-json", "stats", "-c", source)
    assert run.returncode == status, run.stderr
    assert words in run.stderr
    assert functions_in(Path("out"))
    assert json.loads(Path("stats").read_text())["target_exit_status"] == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("handled", [True, False])
def test_signals_to_the_profiler(number: signal.Signals, handled: bool) -> None:
    """SIGTERM and SIGHUP are passed on; SIGINT, which a terminal sends to the target, too, is not."""
    handler = f"import signal, os; signal.signal({number:d}, lambda *unused: (print('told'), exit(5)))\n"
    with profiler("run", "-o", "out", "-c", (handler if handled else "") + FOREVER) as running:
        running.wait_for(running.output, "ready\n")
        running.wait_until_sampling()
        running.process.send_signal(number)
        if number == signal.SIGINT:
            pid = re.findall(r"runs on as process (\d+)", running.wait_for(running.messages, "waiting for it to end"))
            os.kill(int(pid[0]), number)
        assert running.end() == (5 if handled else 128 + number)
    assert ("told" in running.seen[running.output]) == handled
    assert "hot" in functions_in(Path("out"))


def test_a_target_killed_in_the_middle() -> None:
    source = "import os; print(os.getpid(), flush=True)" + FOREVER
    with profiler("run", "-o", "out", "-c", source) as running:
        pid = int(running.wait_for(running.output, "ready").split()[0])
        running.wait_until_sampling()
        os.kill(pid, signal.SIGKILL)
        assert running.end() == 137
    assert "the target was ended by SIGKILL" in running.seen[running.messages]
    assert "hot" in functions_in(Path("out"))


CLEANING_UP = (
    HOT.format(name="hot")
    + """
import os, sys
try:
    print("ready", flush=True)
    hot(1e9)
except KeyboardInterrupt:
    print("interrupted", flush=True)
finally:
    while not os.path.exists("out"):
        pass
    print("cleaned up", flush=True)
sys.exit(7)
"""
)


def test_ctrl_c_lets_the_target_clean_up() -> None:
    """The profile is written at once: the target's clean-up waits for it, and runs to its end."""
    with on_terminal("run", "-o", "out", "-c", CLEANING_UP) as (running, terminal):
        running.wait_for(terminal, "ready")
        running.wait_until_sampling()
        os.write(terminal, b"\x03")
        assert running.end() == 7
    for text in ("interrupted", "cleaned up", "written to out", "exit status 7"):
        assert text in running.seen[terminal]
    assert "hot" in functions_in(Path("out"))


def test_ctrl_c_before_the_first_sample() -> None:
    with on_terminal("run", "-o", "out", "--", "sh", "-c", "echo ready; read line") as (running, terminal):
        running.wait_for(terminal, "ready")
        os.write(terminal, b"\x03")
        assert running.end() == 130
    assert "no samples" in running.seen[terminal]


def test_second_ctrl_c_leaves_a_target_that_ignores_it() -> None:
    source = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + FOREVER
    with on_terminal("run", "-o", "out", "-c", source) as (running, terminal):
        running.wait_for(terminal, "ready")
        running.wait_until_sampling()
        os.write(terminal, b"\x03")
        pid = re.findall(r"process (\d+)", running.wait_for(terminal, "waiting for it to end"))[-1]
        assert "hot" in functions_in(Path("out"))
        os.write(terminal, b"\x03")
        running.wait_for(terminal, "the target still runs")
        assert running.process.wait(READY_TIMEOUT_SECONDS) == 130
        os.kill(int(pid), signal.SIGKILL)
    assert "Traceback" not in running.seen[terminal]


# ---- targets that change ----


def test_a_target_that_executes_another_program() -> None:
    source = HOT.format(name="hot") + "hot(0.3)\nimport os; os.execv('/bin/sh', ['sh', '-c', 'echo shell; exit 3'])"
    run = tachyscope("run", "-o", "out", "-c", source)
    assert (run.returncode, run.stdout) == (3, "shell\n"), run.stderr
    assert "hot" in functions_in(Path("out"))


def test_a_target_that_executes_another_python() -> None:
    others = [path for name, path in INTERPRETERS.items() if name != f"3.{sys.version_info[1]}"]
    if not others:
        pytest.skip("there is one interpreter only")
    for other in (others[0], others[-1]):
        Path("second.py").write_text(HOT.format(name="second") + "second(0.3)")
        source = (
            HOT.format(name="first") + f"first(0.3)\nimport os; os.execv({str(other)!r}, [{str(other)!r}, 'second.py'])"
        )
        run = tachyscope("run", "-o", "out", "-c", source)
        assert run.returncode == 0, run.stderr
        assert {"first", "second"} <= functions_in(Path("out"))


def test_a_target_that_forks() -> None:
    """The parent is followed; a child that lives on keeps nobody waiting."""
    os.mkfifo("fifo")
    source = f"""{HOT.format(name="parent")}
import os, sys
if os.fork():
    parent(0.2)
    print("parent", flush=True)
else:
    os.dup2(os.open("/dev/null", os.O_RDWR), 1), os.dup2(1, 2)
    open("fifo").read()
"""
    run = tachyscope("run", "-o", "out", "-c", source)
    Path("fifo").write_text("end")
    assert (run.returncode, run.stdout) == (0, "parent\n"), run.stderr
    assert "parent" in functions_in(Path("out"))


def test_a_command_that_ends_before_the_first_sample() -> None:
    run = tachyscope("run", "-o", "out", "--", "/bin/true")
    assert run.returncode == 0
    assert "no samples" in run.stderr
    assert pstats.Stats("out")
    run = tachyscope("run", "--collapsed", "-o", "-", "--", "sh", "-c", "exit 4")
    assert (run.returncode, run.stdout) == (4, "")


# ---- the target finds everything as without us ----

TELL = """
import json, os, re, sys
told = {
    "argv": sys.argv, "path": sys.path, "directory": os.getcwd(), "environment": dict(os.environ),
    "command": sys.orig_argv, "flags": repr(sys.flags), "modules": sorted(sys.modules), "tty": os.isatty(0),
    "group": os.getpgid(0) == os.getpgid(os.getppid()), "descriptors": sorted(os.listdir("/proc/self/fd")),
    "signals": [line for line in open("/proc/self/status") if re.match("Sig[PBIC]|Shd", line)],
    "nice": os.nice(0), "cpus": sorted(os.sched_getaffinity(0)), "slack": open("/proc/self/timerslack_ns").read(),
    "input": sys.stdin.read(), "name": __name__, "tracer": [l for l in open("/proc/self/status") if "Tracer" in l],
}
print(json.dumps(told))
print("to standard error", file=sys.stderr)
"""


def _programs(folder: Path) -> dict[str, list[str]]:
    for name in ("script.py", "package/__init__.py", "package/__main__.py", "folder/__main__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("" if name.endswith("__init__.py") else TELL)
    with zipfile.ZipFile(folder / "app.zip", "w") as archive:
        archive.writestr("__main__.py", TELL)
    return {
        "script": ["script.py"],
        "absolute-script": [str(folder / "script.py")],
        "package": ["-m", "package"],
        "module": ["-m", "folder.__main__"],
        "code": ["-c", TELL],
        "directory": ["folder"],
        "zip": ["app.zip"],
    }


@pytest.mark.parametrize(
    "case", ["script", "absolute-script", "package", "module", "code", "directory", "zip", "command"]
)
def test_the_target_finds_everything_as_without_us(case: str, tmp_path: Path) -> None:
    plain = _programs(tmp_path).get("script" if case == "command" else case, [])
    plain = [*plain, "word", "-o", "two words", "--help", "--", "-i", "0", ""]
    alone = subprocess.run([sys.executable, *plain], input="told\n", capture_output=True, text=True)
    words = ["--", sys.executable, *plain] if case == "command" else plain
    profiled = tachyscope("run", "-o", "out", "--stats-json", "stats", *words, stdin="told\n")
    assert (alone.returncode, profiled.returncode) == (0, 0), alone.stderr + profiled.stderr
    assert json.loads(profiled.stdout) == json.loads(alone.stdout)
    theirs, *ours = profiled.stderr.splitlines(keepends=True)
    assert theirs == alone.stderr
    assert only_messages("".join(ours))


def test_the_glued_forms_of_m_and_c() -> None:
    assert tachyscope("run", "-o", "out", "-cprint(1)").stdout == "1\n"
    assert "usage" in tachyscope("run", "-o", "out", "-mjson.tool", "--help").stdout


def test_closed_standard_streams_stay_closed() -> None:
    for descriptor in (1, 2):
        source = f"import os\ntry: os.fstat({descriptor})\nexcept OSError: os._exit(5)"
        tool = shlex.join([sys.executable, "-m", "tachyscope", "run", "-c", source])
        run = subprocess.run(["sh", "-c", f"exec {tool} {descriptor}>&-"], capture_output=True, text=True)
        assert run.returncode == 5
        assert "Traceback" not in run.stderr
        assert "tachyscope:" not in run.stdout


# ---- commands that start Python ----


def test_a_console_script() -> None:
    script = Path("console-script")
    script.write_text(f"#!{sys.executable}\n{HOT.format(name='hot')}\nimport sys\nhot(0.3)\nprint(sys.argv[1:])")
    script.chmod(0o755)
    run = tachyscope("run", "-o", "out", "--", "./console-script", "-m", "x")
    assert (run.returncode, run.stdout) == (0, "['-m', 'x']\n"), run.stderr
    assert "hot" in functions_in(Path("out"))


def test_a_shell_wrapper_that_executes_python() -> None:
    Path("app.py").write_text(HOT.format(name="hot") + "\nimport sys\nhot(0.3)\nprint(sys.argv[1:])\nsys.exit(4)")
    Path("wrapper").write_text(f'#!/bin/sh\ncd .\nexec {shlex.quote(sys.executable)} app.py "$@"\n')
    Path("wrapper").chmod(0o755)
    run = tachyscope("run", "-o", "out", "--", "./wrapper", "a b")
    assert (run.returncode, run.stdout) == (4, "['a b']\n"), run.stderr
    assert "hot" in functions_in(Path("out"))


def test_another_interpreter(python: Path) -> None:
    Path("app.py").write_text(HOT.format(name="hot") + "import sys\nhot(0.2)\nprint(sys.version_info[:2])")
    run = tachyscope("run", "--python", python, "-i", "1000", "--collapsed", "-o", "out", "app.py")
    assert run.returncode == 0, run.stderr
    version = ".".join(re.findall(r"\d+", run.stdout))
    assert f"(Python {version}." in run.stderr
    assert re.search(r"app\.py:<module>:\d;app\.py:hot:3 \d{2,}\n", Path("out").read_text())


# ---- durations ----


def test_duration_ends_first_and_the_target_runs_on() -> None:
    source = WAITING + "; print('end')"
    with profiler("run", "-d", "2", "-o", "out", "-c", source) as running:
        running.wait_for(running.messages, "the target runs on as process")
        assert "<module>" in functions_in(Path("out"))
        assert running.process.poll() is None
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.end() == 0
    assert running.seen[running.output] == "ready\nend\n"
    assert only_messages(running.seen[running.messages])


SLEEPING = "import time; print('ready', flush=True); time.sleep(1e9)"
"""Costs nothing, so there is time for it to get ready on a busy machine, too."""


def test_stop_target_asks_first() -> None:
    handler = "import signal; signal.signal(signal.SIGTERM, lambda *unused: (print('asked'), exit(3)))\n"
    run = tachyscope("run", "-d", "3", "--stop-target", "-o", "out", "-c", handler + SLEEPING)
    assert (run.returncode, run.stdout) == (3, "ready\nasked\n"), run.stderr
    assert "<module>" in functions_in(Path("out"))


def test_stop_target_kills_what_does_not_listen() -> None:
    handler = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    start = time.monotonic()
    run = tachyscope("run", "-d", "3", "--stop-target", "-o", "out", "-c", handler + SLEEPING)
    assert run.returncode == 137
    assert time.monotonic() - start > 5
    assert "SIGKILL" in run.stderr


def test_duration_zero_is_until_the_end() -> None:
    run = tachyscope("run", "-d", "0", "-o", "out", "--stats-json", "stats", "-c", HOT.format(name="hot") + "hot(0.5)")
    assert run.returncode == 0
    assert json.loads(Path("stats").read_text())["duration_s"] >= 0.5


# ---- attach ----


def test_attach_samples_ten_seconds_unless_told() -> None:
    options = parser.parse(["attach", "1"])
    assert options.duration_s is None
    assert attach.DEFAULT_DURATION_S == 10
    assert re.search(r"\(default:\s+10\)", tachyscope("attach", "--help").stdout)


def test_attach_for_a_time() -> None:
    with spawn_target(sys.executable, FOREVER) as target:
        run = tachyscope("attach", "-d", "0.3", "--stats-json", "stats", str(target.pid))
        assert target.process.poll() is None
    assert run.returncode == 0
    assert "(hot)" in run.stdout
    assert only_messages(run.stderr) and f"process {target.pid}" in run.stderr
    stats = json.loads(Path("stats").read_text())
    assert stats["target_exit_status"] is None
    assert stats["duration_s"] > 0.2


def test_attach_until_the_target_exits() -> None:
    with (
        spawn_target(sys.executable, WAITING) as target,
        profiler("attach", "-d", "0", "-o", "out", str(target.pid)) as running,
    ):
        running.wait_until_sampling()
        target.process.communicate()
        assert running.end() == 0
    assert "<module>" in functions_in(Path("out"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_attach_is_interrupted(number: signal.Signals) -> None:
    with spawn_target(sys.executable, FOREVER) as target:
        with profiler("attach", "-o", "out", str(target.pid)) as running:
            running.wait_until_sampling()
            running.process.send_signal(number)
            assert running.end() == 0
        assert target.process.poll() is None
    assert "hot" in functions_in(Path("out"))


# ---- what is written where ----


def test_the_table_goes_to_standard_output() -> None:
    run = tachyscope("run", "-c", HOT.format(name="hot") + "hot(0.3)")
    assert run.stdout.startswith("Profile of ")
    assert only_messages(run.stderr)
    assert "\x1b" not in run.stdout + run.stderr
    assert names() == []
    short = tachyscope("run", "-l", "1", "--sort", "name", "--no-summary", "--lines", "-o", "-", "-c", SHORT).stdout
    assert "Legend" not in short
    assert "\n1 line of " in short


@pytest.mark.parametrize(("option", "name"), [("--pstats", "pstats_{}.pstats"), ("--collapsed", "collapsed_{}.txt")])
def test_a_directory_gets_the_generated_name(option: str, name: str) -> None:
    Path("folder").mkdir()
    run = tachyscope("run", option, "-o", "folder", "-c", "import os; print(os.getpid())")
    path = Path("folder", name.format(run.stdout.strip()))
    assert [path] == list(Path("folder").iterdir())
    assert f"written to {path}\n" in run.stderr


def test_collapsed_goes_to_a_file_of_its_own_or_standard_output() -> None:
    run = tachyscope("run", "--collapsed", "-c", SHORT + "import os; print(os.getpid())")
    path = Path(f"collapsed_{run.stdout.strip()}.txt")
    lines = path.read_text().splitlines()
    assert lines and all(re.fullmatch(r".+ \d+", line) for line in lines)
    path.unlink()
    run = tachyscope("run", "--collapsed", "-o", "-", "-c", SHORT)
    assert run.stdout and all(re.fullmatch(r".+ \d+", line) for line in run.stdout.splitlines())
    assert names() == []


def test_lines_tell_the_lines_of_a_function_apart() -> None:
    Path("app.py").write_text("def f():\n    for i in range(900000):\n        abs(i)\n        abs(i)\nf()\n")
    plain, lines = (tachyscope("run", "--collapsed", "-o", "-", *option, "app.py") for option in ([], ["--lines"]))
    assert set(re.findall(r"app\.py:f:(\d)", plain.stdout)) == {"1"}
    assert {"3", "4"} <= set(re.findall(r"app\.py:f:(\d)", lines.stdout)) <= {"2", "3", "4"}


def test_an_existing_file_is_replaced_and_a_link_followed() -> None:
    Path("old").write_text("old")
    Path("link").symlink_to("old")
    run = tachyscope("run", "-o", "link", "-c", SHORT)
    assert run.returncode == 0
    assert Path("link").is_symlink()
    assert "hot" in functions_in(Path("old"))
    assert names() == ["link", "old"]


def test_a_name_as_long_as_names_may_be() -> None:
    name = "é" * 127
    assert tachyscope("run", "-o", name, "-c", "").returncode == 0
    assert names() == [name]


def test_a_pipe_is_written_to() -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert tachyscope("run", "--collapsed", "-o", "pipe", "-c", SHORT).returncode == 0
    assert os.read(reader, 1 << 16)
    os.close(reader)
    assert Path("pipe").is_fifo()


DEEP = HOT.format(name="function_100")
DEEP += "".join(f"def function_{n}(*time): function_{n + 1}(*time)\n" for n in range(100)) + "function_0(0.2)\n"
"""A hundred functions, so that a profile has several kilobytes."""


def test_a_file_appears_whole_or_not_at_all() -> None:
    """A limit on the size of files makes writing fail in the middle."""
    Path("old").write_text("old")
    tool = shlex.join([sys.executable, "-m", "tachyscope", "run", "-o", "old", "-c", DEEP + "exit(5)"])
    run = subprocess.run(["bash", "-c", f"ulimit -f 1; exec {tool}"], capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    assert "tachyscope: 'old' cannot be written: File too large\n" in run.stderr
    assert "Traceback" not in run.stderr
    assert Path("old").read_text() == "old"
    assert names() == ["old"]


@ROOT_ONLY
def test_a_full_disk() -> None:
    Path("full").mkdir()
    mount = "mount -t tmpfs -o size=4k none full"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "sh", "-c", mount]).returncode:
        pytest.skip("a mount namespace of our own is not to be had here")
    tool = shlex.join([sys.executable, "-m", "tachyscope", "run", "-o", "full/out", "-c", DEEP])
    command = f"{mount} && {{ {tool}; ls -A full; }}"
    run = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True)
    assert "'full/out' cannot be written: No space left on device" in run.stderr
    assert run.stdout == ""


def test_a_failed_write_is_said_before_the_target_ends() -> None:
    with profiler("run", "-d", "0.1", "-o", "/dev/full", "-c", WAITING) as running:
        running.wait_for(running.output, "ready")
        running.wait_for(running.messages, "'/dev/full' cannot be written")
        assert running.process.poll() is None
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.end() == 1


@pytest.mark.parametrize("path", ["stats", "-"])
def test_stats_add_up(path: str) -> None:
    source = HOT.format(name="hot") + "hot(0.5); import sys; sys.exit(7)"
    run = tachyscope("run", "-r", "5khz", "-o", "out", "--stats-json", path, "-c", source)
    text = run.stdout if path == "-" else Path(path).read_text()
    stats = json.loads(text)
    assert " ".join(stats) == (
        "interval_us duration_s ticks samples failed missed reads uncertain reconstructed interrupted truncated"
        " left_out rate_hz profiler_cpu_s pause_us target_exit_status"
    )
    assert (stats["interval_us"], stats["target_exit_status"]) == (200, 7)
    assert stats["samples"] + stats["failed"] + stats["missed"] == stats["ticks"]
    assert stats["reads"] <= stats["samples"] + stats["failed"] + stats["interrupted"]
    assert stats["duration_s"] >= 0.5
    assert stats["ticks"] == pytest.approx(stats["duration_s"] * 5000, rel=0.05)
    assert 0 < stats["profiler_cpu_s"] < stats["duration_s"]
    assert stats["pause_us"] == {"p50": 0, "p99": 0, "total": 0}
    assert f"{stats['samples']:,} samples" in run.stderr


def test_a_reader_that_has_had_enough() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tachyscope", "run", "--stats-json", "stats", "-c", ""]
    run = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (run.returncode, run.stderr) == (141, "")
    assert Path("stats").exists()
    run = subprocess.run(["sh", "-c", f"{shlex.join(command)} | head -1"], capture_output=True, text=True)
    assert run.stdout.startswith("Profile of")
    assert only_messages(run.stderr)


@pytest.mark.parametrize("options", [["run", "-c", ""], ["run", "--stats-json", "-", "-o", "out", "-c", ""]])
def test_standard_output_that_is_full(options: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "tachyscope", *options]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1
    assert run.stderr.endswith("tachyscope: standard output cannot be written: No space left on device\n")
    assert only_messages(run.stderr)


def test_nobody_listens_to_messages() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for arguments, status in ((["run", "-o", "out", "-c", ""], 0), (["run", "nope.py"], 1), (["run"], 2)):
        command = [sys.executable, "-m", "tachyscope", *arguments]
        assert subprocess.run(command, stderr=writer).returncode == status
    os.close(writer)


def test_colours_are_for_terminals() -> None:
    with on_terminal("run", "-c", HOT.format(name="hot") + "hot(0.3)") as (running, terminal):
        assert running.end() == 0
    text = running.seen[terminal]
    assert "\x1b[1" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b" not in plain
    table = plain[: plain.index("tachyscope: ")]
    assert max(map(len, table.splitlines())) <= 80


def test_how_the_sampling_goes_is_said_each_second() -> None:
    run = tachyscope("run", "--realtime-stats", "-o", "out", "-c", HOT.format(name="hot") + "hot(2.3)")
    assert run.returncode == 0
    lines = [line for line in run.stderr.splitlines() if "a second (mean" in line]
    assert len(lines) >= 2, run.stderr
    pattern = r"tachyscope: 1 s: [\d,]+ a second \(mean [\d,]+, [\d,]+ to [\d,]+\); [\d,]+ samples, [\d.]+ % missed, .*"
    assert re.fullmatch(pattern, lines[0])


# ---- version and help ----


def test_version() -> None:
    version = tachyscope("--version")
    assert re.fullmatch(r"tachyscope \d+\.\d+\.\d+\S*\n", version.stdout)
    assert (version.returncode, version.stderr) == (0, "")
    script = Path(sys.executable).parent / "tachyscope"
    if script.exists():
        assert subprocess.run([script, "--version"], capture_output=True, text=True).stdout == version.stdout


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="the standard library has its own module there")
def test_the_name_that_the_standard_library_will_have() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "profiling.sampling", "run", "-o", "out", "-c", "print(1)"],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (0, "1\n"), run.stderr
    assert only_messages(run.stderr)
    command = [sys.executable, "-m", "profiling.sampling", "nope"]
    assert subprocess.run(command, capture_output=True).returncode == 2


OPTIONS = {
    "": {"-h", "--help", "--version"},
    "attach": {"-h", "--help", "-i", "--interval", "-r", "--sampling-rate", "-d", "--duration", "--stats-json"}
    | {
        "-a",
        "--all-threads",
        "--mode",
        "--native",
        "--no-gc",
        "--opcodes",
        "--blocking",
        "--check",
        "--realtime-stats",
        "--subprocesses",
        "--merge-subprocesses",
    }
    | {"--pstats", "--collapsed", "-o", "--output", "--lines", "--sort", "-l", "--limit", "--no-summary"},
}
OPTIONS["doctor"] = {"-h", "--help"}
OPTIONS["run"] = OPTIONS["attach"] | {"--python", "--stop-target", "-m", "-c", "--"}


def test_a_timed_run_shows_its_progress_on_a_terminal() -> None:
    with (
        spawn_target(sys.executable, FOREVER) as target,
        on_terminal("attach", "-d", "2.5", str(target.pid)) as (running, terminal),
    ):
        seen = running.wait_for(terminal, "samples of process")
        assert running.process.wait(READY_TIMEOUT_SECONDS) == 0
    drawn = [int(count.replace(",", "")) for count in re.findall(r"\d of 2\.5 s, ([\d,]+) samples", seen)]
    assert len(drawn) >= 2
    assert drawn[-1] > drawn[0]
    assert seen.rindex("\x1b[2K") < seen.index("Profile of")  # wiped away before the result


def test_no_progress_without_a_terminal() -> None:
    with spawn_target(sys.executable, FOREVER) as target:
        run = tachyscope("attach", "-d", "1.1", str(target.pid))
    assert run.returncode == 0
    assert " of 1.1 s" not in run.stderr


@pytest.mark.parametrize("command", OPTIONS)
def test_help_lists_exactly_the_options_that_exist(command: str) -> None:
    run = tachyscope(*command.split(), "--help", environment=os.environ | {"COLUMNS": "80"})
    assert (run.returncode, run.stderr) == (0, "")
    listed = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*|(?<=\] )--(?= )", run.stdout))
    assert listed == OPTIONS[command]
    assert max(map(len, run.stdout.splitlines())) <= 80


HEAVY = ("elftools", "rich", "psutil", "jinja2", "pygments", "textual", "importlib.metadata", "asyncio")


def test_help_loads_nothing_heavy() -> None:
    source = f"""
import sys
from tachyscope.cli import main
main(["run", "--help"])
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert run.stderr == "[]\n"

"""`tachyscope run`: start a program and profile it."""

from __future__ import annotations

import argparse
import subprocess
import time

from tachyscope.cli import messages
from tachyscope.cli.checking import say_comparison
from tachyscope.cli.options import add_output, add_sampling, sampling
from tachyscope.cli.output import Output, check_stats_path, write_stats
from tachyscope.cli.progress import watching
from tachyscope.cli.signals import Signals
from tachyscope.cli.subprocesses import write_all
from tachyscope.errors import TachyscopeError, UsageError
from tachyscope.sampling.options import Stop
from tachyscope.sampling.session import Session
from tachyscope.target import launch, runtime
from tachyscope.target.launch import Kind, Program

NAME = "run"
SUMMARY = "start a Python program and profile it"
USAGE = """tachyscope run [options] script.py [args ...]
       tachyscope run [options] -m module [args ...]
       tachyscope run [options] -c code [args ...]
       tachyscope run [options] -- command [args ...]"""
DESCRIPTION = """Start a Python program as you would, and sample it from its first moment to its last.
For script.py, a directory or zip file with a __main__.py does, too; a command is any that starts Python.
Everything after the program's name belongs to the program."""

STOP_SECONDS = 2.0
"""How long a target has to end after SIGTERM, before SIGKILL."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options; the program itself is split off before they are parsed."""
    add_sampling(parser, default_duration="until the target exits")
    group = parser.add_argument_group("target")
    group.add_argument("--python", metavar="PATH", help="interpreter that runs the target (default: this one)")
    group.add_argument("--stop-target", action="store_true", help="end the target when the sampling ends")
    add_output(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the target to its end and return its exit status, 128 + N if signal N ended it."""
    program: Program | None = options.program
    if program is None:
        raise UsageError("nothing to run", "give a script, -m module, -c code or, after --, a command")
    python = launch.find_python(options.python)
    output = Output(options)
    check_stats_path(options.stats_json)
    messages.say_if_blocking_is_much(options.blocking, options.interval_ns)
    launch.check(program, python)
    if program.kind is not Kind.COMMAND:
        runtime.warm(python)
    with Signals() as signals:
        return _Run(options, output, signals).execute(program.command(python))


class _Run:
    """One run, from the start of the target to its exit status."""

    def __init__(self, options: argparse.Namespace, output: Output, signals: Signals) -> None:
        self._options = options
        self._output = output
        self._signals = signals

    def execute(self, command: list[str]) -> int:
        """Start, sample, write, wait."""
        self._target = launch.start(command)
        self._signals.pass_on_to(self._target)
        try:
            return self._follow()
        except KeyboardInterrupt:
            if self._target.poll() is None:
                messages.say(f"the target still runs as process {self._target.pid}")
            raise

    def _follow(self) -> int:
        self._session = Session(self._target.pid, sampling(self._options))
        try:
            self._sample()
        except TachyscopeError:
            self._stop()  # it was started only to be profiled
            raise
        if self._options.stop_target and not self._session.gone:
            self._stop()
        if self._session.gone:
            self._target.wait()  # it has ended, so this only fetches its status
        failure = self._write()
        status = self._wait()
        write_stats(self._options.stats_json, self._accuracy, status)
        return failure or status

    def _sample(self) -> None:
        duration_s = self._options.duration_s or None
        with self._session.following():
            if self._session.wait(self._over(duration_s)):
                messages.say_how_it_reads(self._session.pid, self._session.by_file)
                with watching(self._options, self._session, duration_s) as watch:
                    self._session.sample(duration_s, self._signals.stopped, watch)

    def _over(self, duration_s: float | None) -> Stop:
        """Return what says that there is no more waiting for Python: a signal, or `-d`."""
        end = None if duration_s is None else time.monotonic() + duration_s
        return lambda: self._signals.stopped() or (end is not None and time.monotonic() >= end)

    def _write(self) -> int:
        """Write the result; what goes wrong is said at once, as the target may run on for long. Returns a status."""
        profiles = self._session.profiles()
        self._accuracy = profiles[0].accuracy
        try:
            write_all(self._options, self._output, profiles, self._session)
            say_comparison(self._session)
        except (TachyscopeError, BrokenPipeError) as error:
            return messages.say_failure(error)
        return 0

    def _wait(self) -> int:
        """Wait for the target, if it still runs; say how it ended unless that was well."""
        if self._target.poll() is None:
            messages.say(f"the target runs on as process {self._target.pid}; waiting for it to end")
        try:
            status = self._target.wait()
        except KeyboardInterrupt:
            ended = self._target.poll()  # Ctrl-C may have ended it, too
            if ended is None:
                raise
            status = ended
        if status:
            messages.say(messages.ended(status))
        return status if status >= 0 else 128 - status

    def _stop(self) -> None:
        """End the target: SIGTERM, and SIGKILL if that does not help."""
        self._target.terminate()
        try:
            self._target.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._target.kill()
            self._target.wait()

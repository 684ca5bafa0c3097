"""`tachyscope attach`: profile a process that runs already."""

from __future__ import annotations

import argparse
import os

from tachyscope.cli import messages
from tachyscope.cli.checking import say_comparison
from tachyscope.cli.options import add_output, add_sampling, sampling
from tachyscope.cli.output import Output, check_stats_path, write_stats
from tachyscope.cli.progress import watching
from tachyscope.cli.signals import Signals
from tachyscope.cli.subprocesses import write_all
from tachyscope.errors import TargetNotFound
from tachyscope.sampling.session import Session

NAME = "attach"
SUMMARY = "profile a Python process that runs already"
USAGE = "tachyscope attach [options] PID"
DESCRIPTION = "Sample a running Python process by its process id. It is not changed, nor stopped (but with --blocking)."
DEFAULT_DURATION_S = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options and the process id."""
    parser.add_argument("pid", metavar="PID", type=process_id, help="process id of the target")
    add_sampling(parser, default_duration="10")
    add_output(parser)


def process_id(text: str) -> int:
    """Return a process id from its text, for argparse."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is no process id")
    return int(text)


def execute(options: argparse.Namespace) -> int:
    """Sample, write, and return 0."""
    output = Output(options)
    check_stats_path(options.stats_json)
    if options.pid == os.getpid():
        raise TargetNotFound(f"process {options.pid} is tachyscope itself", "give the process id of another program")
    messages.say_if_blocking_is_much(options.blocking, options.interval_ns)
    duration_s = DEFAULT_DURATION_S if options.duration_s is None else options.duration_s
    session = Session(options.pid, sampling(options))
    with Signals() as signals:
        session.attach()
        messages.say_how_it_reads(options.pid, session.by_file)
        with watching(options, session, duration_s or None) as watch:
            session.sample(duration_s or None, signals.stopped, watch)
        profiles = session.profiles()
        write_all(options, output, profiles, session)
        say_comparison(session)
        write_stats(options.stats_json, profiles[0].accuracy, None)
    return 0

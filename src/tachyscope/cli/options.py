"""Options that several commands share: how to sample, what to write."""

from __future__ import annotations

import argparse
import re
from typing import Any

from tachyscope.errors import UsageError
from tachyscope.formats import FORMATS, Format
from tachyscope.formats.sorting import SORT_KEYS
from tachyscope.profile.modes import Mode
from tachyscope.sampling.options import Sampling

DEFAULT_INTERVAL_US = 100
DEFAULT_FORMAT = "pstats"
MODES = tuple(name.lower() for name in Mode.__members__)
_UNITS = {"": 1, "hz": 1, "khz": 1_000, "mhz": 1_000_000}
_MAX_INTERVAL_US = 3_600_000_000


def interval_us(text: str) -> int:
    """Parse `-i`: whole microseconds, at least 1. Returns nanoseconds."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of microseconds") from None
    if not 1 <= value <= _MAX_INTERVAL_US:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {_MAX_INTERVAL_US} microseconds")
    return value * 1000


def rate(text: str) -> int:
    """Parse `-r`: 10000, 10khz, 0.2mhz. Returns the interval in nanoseconds."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(hz|khz|mhz|)", text.strip().lower())
    hertz = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 1e6 / _MAX_INTERVAL_US <= hertz <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate up to 1mhz, such as 10000, 10khz or 0.2mhz")
    return round(1e9 / hertz)


def duration_s(text: str) -> float:
    """Parse `-d`: seconds, fractions allowed, 0 for no end."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, 0 or more")
    return value


def limit(text: str) -> int:
    """Parse `--limit`: a positive whole number."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def add_sampling(parser: argparse.ArgumentParser, default_duration: str) -> None:
    """Add the options that say how to sample."""
    group = parser.add_argument_group("sampling")
    speed = group.add_mutually_exclusive_group()
    speed.add_argument(
        "-i", "--interval", dest="interval_ns", metavar="MICROSECONDS", type=interval_us,
        default=DEFAULT_INTERVAL_US * 1000, help=f"time between two samples (default: {DEFAULT_INTERVAL_US})",
    )  # fmt: skip
    speed.add_argument(
        "-r", "--sampling-rate", dest="interval_ns", metavar="RATE", type=rate,
        default=argparse.SUPPRESS, help="the same as a rate: 10000, 10khz, 0.2mhz",
    )  # fmt: skip
    group.add_argument(
        "-d", "--duration", dest="duration_s", metavar="SECONDS", type=duration_s,
        help=f"how long to sample; 0 means until the target exits (default: {default_duration})",
    )  # fmt: skip
    group.add_argument("-a", "--all-threads", action="store_true", help="sample every thread, not only the main one")
    group.add_argument(
        "--mode", choices=MODES, default="wall", metavar="MODE",
        help="which samples count: wall (all, the default), cpu (of a thread on a CPU), gil (that holds the GIL), "
        "exception (with an exception that is being raised or handled)",
    )  # fmt: skip
    group.add_argument(
        "--native",
        action="store_true",
        help="show <native> for C code that was called, as the leaf or between two functions",
    )
    group.add_argument(
        "--opcodes", action="store_true", help="record which bytecode instruction each frame is at, as specialised"
    )
    group.add_argument(
        "--blocking", action="store_true", help="stop the thread that runs Python while each sample is read"
    )
    group.add_argument(
        "--check",
        action="store_true",
        help="stop the target for some 20 samples a second, and say how far their shares are from the others'",
    )
    group.add_argument("--no-gc", action="store_true", help="leave out the <GC> frame of garbage collections")
    group.add_argument(
        "--realtime-stats", action="store_true", help="say on standard error each second how the sampling goes"
    )
    group.add_argument(
        "--subprocesses", action="store_true", help="follow every Python descendant, each with its own output"
    )
    group.add_argument("--merge-subprocesses", action="store_true", help="the same, with one output for the whole tree")
    group.add_argument(
        "--stats-json",
        metavar="PATH",
        help="write how well the sampling went as one JSON object (- = stdout)",
    )


def sampling(options: argparse.Namespace) -> Sampling:
    """Return what the sampling options say; raises `UsageError` for some that do not go together."""
    return Sampling(
        interval_ns=options.interval_ns,
        all_threads=options.all_threads,
        mode=Mode[options.mode.upper()],
        gc=not options.no_gc,
        native=options.native,
        opcodes=options.opcodes,
        blocking=options.blocking,
        check=options.check,
        subprocesses=options.subprocesses or options.merge_subprocesses,
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to write, and where."""
    group = parser.add_argument_group("output")
    form = group.add_mutually_exclusive_group()
    for each in FORMATS.values():
        if each.help:
            default = each.name if each.name == DEFAULT_FORMAT else argparse.SUPPRESS
            form.add_argument(
                f"--{each.name}", dest="format", action="store_const", const=each.name, default=default, help=each.help
            )
    group.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="where to write; a directory gets a generated name, - is stdout",
    )
    for field, (flags, settings) in FORMAT_OPTIONS.items():
        group.add_argument(*flags, dest=field, default=None, **settings)


FORMAT_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "lines": (("--lines",), {"action": "store_true", "help": "tell the lines of a function apart"}),
    "sort": (
        ("--sort",),
        {"choices": SORT_KEYS, "metavar": "KEY", "help": f"order of the table: {', '.join(SORT_KEYS)}"},
    ),
    "limit": (("-l", "--limit"), {"metavar": "N", "type": limit, "help": "rows of the table (default: 15)"}),
    "summary": (
        ("--no-summary",),
        {"action": "store_false", "help": "leave out the table's legend and summary"},
    ),
}
"""How fields of the options of formats are set: words, and the rest for argparse. Which format has which is in
`FORMATS`; one that was not given is None."""


def format_options(options: argparse.Namespace, of: Format) -> dict[str, Any]:
    """Return what the command line says about the fields of a format's options."""
    given = {field: getattr(options, field) for field in FORMAT_OPTIONS}
    return {field: value for field, value in given.items() if value is not None and field in of.options}


def refuse_foreign(options: argparse.Namespace) -> None:
    """Refuse options that the format which is asked for does not have."""
    form = FORMATS[options.format]
    for field, (flags, _) in FORMAT_OPTIONS.items():
        if getattr(options, field) is not None and field not in form.options:
            flag = flags[-1]
            others = " or ".join(f"--{each.name}" for each in FORMATS.values() if each.help and field in each.options)
            raise UsageError(f"{flag} has no meaning with --{form.name}", f"leave out {flag}, or use {others}")
    if options.opcodes and not form.instructions:
        raise UsageError(
            f"--opcodes has no meaning with --{form.name}, which shows no instructions",
            "leave out --opcodes, or take them from the Python API: attach(pid, opcodes=True)",
        )

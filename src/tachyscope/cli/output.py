"""Where the results go. Every path is looked at before the target starts; a file appears whole or not at all."""

from __future__ import annotations

import argparse
import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tachyscope.cli.messages import standard_output
from tachyscope.cli.options import format_options, refuse_foreign
from tachyscope.errors import OutputError, UsageError
from tachyscope.formats import FORMATS, Format, load
from tachyscope.formats.special import is_special

if TYPE_CHECKING:
    from tachyscope.profile.model import Accuracy, Profile

STDOUT = "-"


class Output:
    """One result: its format, its options, and where it goes."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Check what can be checked before anything starts; raises `UsageError` or `OutputError`."""
        refuse_foreign(options)
        self._options = options
        form = FORMATS[options.format]
        to_stdout = options.output == STDOUT or (options.output is None and form.prints)
        self._format = form if to_stdout or not form.in_files else FORMATS[form.in_files]
        self._path = None if to_stdout else Path(options.output or ".")
        if self._path is not None:
            check_writable(self._path)
        elif form.binary:
            raise UsageError(f"--{options.format} cannot be written to standard output", "give -o a file name")

    def write(self, profile: Profile) -> Path | None:
        """Write a profile and return the file that it is in, None for standard output."""
        if self._path is None:
            exporter = load(self._format.name)
            with standard_output() as stream:
                exporter.write(profile, stream, exporter.options(**format_options(self._options, self._format)))
            return None
        path = self._path / self._format.default_name(profile.target.pid) if self._path.is_dir() else self._path
        return self._write_file(profile, self._format, path)

    def write_descendant(self, profile: Profile) -> Path | None:
        """Write the profile of a descendant beside that of the process that was asked for."""
        pid = profile.target.pid
        if self._options.output == STDOUT or (self._path is not None and is_special(self._path)):
            return self.write(profile)
        form = FORMATS[self._format.in_files] if self._format.in_files else self._format
        if self._path is not None and self._options.output is not None and not self._path.is_dir():
            path = self._path.with_name(f"{self._path.stem}_{pid}{self._path.suffix}")
        else:
            generated = f"profile_{pid}.pstats" if form.name == "pstats-file" else form.default_name(pid)
            path = (self._path or Path()) / generated
        return self._write_file(profile, form, path)

    def _write_file(self, profile: Profile, form: Format, path: Path) -> Path:
        from tachyscope.formats.files import render, write_whole

        write_whole(path, render(form.name, profile, format_options(self._options, form)))
        return path


def check_writable(path: Path) -> None:
    """Raise `OutputError` if a file at `path`, or in the directory `path`, could not be written."""
    try:
        _check_writable(path)
    except OSError as error:  # not even looking is permitted, or no file can have such a name
        reason = os.strerror(error.errno or errno.EIO)
        raise OutputError(f"{str(path)!r} cannot be written: {reason}", "choose another one with -o") from None


def _check_writable(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.stat()  # raises what the questions below may only answer with no
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise OutputError(f"no directory {str(folder)!r}", "create it first, or write elsewhere with -o")
    if path.exists() and not path.is_dir() and not os.access(path, os.W_OK):
        raise OutputError(f"file {str(path)!r} is not writable", "choose another one with -o")
    if not is_special(path) and not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"directory {str(folder)!r} is not writable", "choose another one with -o")


def check_stats_path(path: str | None) -> None:
    """Raise `OutputError` if `--stats-json` could not be written there."""
    if path is not None and path != STDOUT:
        check_writable(Path(path))
        if Path(path).is_dir():
            raise OutputError(f"{path!r} is a directory", "give --stats-json a file name")


def write_stats(path: str | None, accuracy: Accuracy, exit_status: int | None) -> None:
    """Write how well the sampling went as one JSON object."""
    if path is None:
        return
    text = json.dumps(stats(accuracy, exit_status)) + "\n"
    if path == STDOUT:
        with standard_output() as stream:
            stream.write(text)
    else:
        from tachyscope.formats.files import write_whole

        write_whole(Path(path), text.encode())


def stats(accuracy: Accuracy, exit_status: int | None) -> dict[str, Any]:
    """Return the figures of `--stats-json`; times in the units that their names say, rates in samples a second."""
    return {
        "interval_us": accuracy.interval_us,
        "duration_s": accuracy.duration_s,
        "ticks": accuracy.ticks,
        "samples": accuracy.samples,
        "failed": accuracy.failed,
        "missed": accuracy.missed,
        "reads": accuracy.reads,
        "uncertain": accuracy.uncertain,
        "reconstructed": accuracy.reconstructed,
        "interrupted": accuracy.interrupted,
        "truncated": accuracy.truncated,
        "left_out": accuracy.left_out,
        "rate_hz": accuracy.rate_hz,
        "profiler_cpu_s": accuracy.profiler_cpu_s,
        "pause_us": {
            "p50": accuracy.pauses.p50_us,
            "p99": accuracy.pauses.p99_us,
            "total": accuracy.pauses.total_s * 1e6,
        },
        "target_exit_status": exit_status,
    }

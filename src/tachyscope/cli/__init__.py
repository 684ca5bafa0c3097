"""The command line: parse, call the library, print. No sampling and no formatting happens here."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from tachyscope.cli.messages import FAILURES, say_failure, standard_output
from tachyscope.cli.parser import parse

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    _open_closed_streams()
    try:
        status = _execute(sys.argv[1:] if arguments is None else arguments)
    except FAILURES as error:
        status = say_failure(error)
    try:
        with standard_output():
            return status
    except FAILURES as error:
        # Keep the interpreter from failing again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status or say_failure(error)


def _execute(arguments: Sequence[str]) -> int:
    try:
        options = parse(arguments)
    except SystemExit:  # --help and --version
        return 0
    status: int = options.execute(options)
    return status


def _open_closed_streams() -> None:
    """Stand in for standard streams that were closed before we started; the target finds them closed."""
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()

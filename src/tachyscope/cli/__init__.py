"""The command line: parse, call the library, print. No sampling and no formatting happens here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tachyscope.cli.parser import parse
from tachyscope.errors import TachyscopeError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status. The only place where an error becomes a status."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        status: int = options.execute(options)
        sys.stdout.flush()
        return status
    except TachyscopeError as error:
        print(f"tachyscope: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has had enough; keep the interpreter from failing again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141

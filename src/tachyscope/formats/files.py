"""Files that appear whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from tachyscope.errors import OutputError
from tachyscope.formats.exporter import Exporter
from tachyscope.formats.special import is_special
from tachyscope.profile.model import Profile


def render(exporter: Exporter[Any], profile: Profile, options: Any) -> bytes:
    """Return the content of the file; text is UTF-8."""
    if exporter.binary:
        binary = io.BytesIO()
        exporter.write(profile, binary, options)
        return binary.getvalue()
    text = io.StringIO()
    exporter.write(profile, text, options)
    return text.getvalue().encode("utf-8", "backslashreplace")


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path` and rename, so that nobody ever sees half a file; raises `OutputError`."""
    try:
        if is_special(path):
            path.write_bytes(content)
            return
        real = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
        # Not there yet and not a link, or the open fails: nobody can have put something else in its place.
        beside = real.with_name(f".tachyscope-{os.urandom(8).hex()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _failed(path, error) from None
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(beside, real)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _failed(path, error) from None
        raise


def _failed(path: Path, error: OSError) -> OutputError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OutputError(f"{str(path)!r} cannot be written", reason)

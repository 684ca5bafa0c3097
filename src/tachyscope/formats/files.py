"""Files that appear whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tachyscope.errors import OutputError
from tachyscope.formats import FORMATS, load
from tachyscope.formats.special import is_special
from tachyscope.profile.model import Profile


def render(name: str, profile: Profile, options: Mapping[str, Any]) -> bytes:
    """Return the content of a file of the format `name`; text is UTF-8. Raises `TypeError` for unknown options."""
    exporter = load(name)
    chosen = exporter.options(**options)
    if FORMATS[name].binary:
        binary = io.BytesIO()
        exporter.write(profile, binary, chosen)
        return binary.getvalue()
    text = io.StringIO()
    exporter.write(profile, text, chosen)
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

"""Files that are written to and never replaced; apart from `files` so that a run can look without loading the model."""

from __future__ import annotations

from pathlib import Path


def is_special(path: Path) -> bool:
    """Return True for a device, a pipe, or a name of one of our own files such as /dev/stdout."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return True
    return path.is_symlink() and path.absolute().parts[1] in ("dev", "proc")

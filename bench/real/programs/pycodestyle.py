"""pycodestyle checks a part of argparse: regular expressions, checks called by name, generators of tokens."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("pycodestyle",)
LINES = 150


def setup() -> Callable[[], object]:
    import pycodestyle

    lines = Path(argparse.__file__).read_text(encoding="utf-8").splitlines(keepends=True)[:LINES]
    options = pycodestyle.StyleGuide(quiet=2).options
    return lambda: pycodestyle.Checker("argparse.py", lines=list(lines), options=options).check_all()

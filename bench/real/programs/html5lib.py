"""html5lib parses a part of pyperformance's page: a state machine of bound methods, generators, dispatch tables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("html5lib",)
PAGE = "bm_html5lib/data/w3_tr_html5.html"
BEGIN, END = 45_000, 60_000


def setup() -> Callable[[], object]:
    import html5lib

    page = next(path for path in (Path(folder, PAGE) for folder in sys.path) if path.exists())
    text = page.read_bytes()[BEGIN:END].decode("latin-1")
    return lambda: html5lib.parse(text)

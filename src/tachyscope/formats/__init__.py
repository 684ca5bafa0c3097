"""The output formats: a finished `Profile` in, a file out. A new format is a new module and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tachyscope.formats.exporter import Exporter

FORMATS: Mapping[str, str] = {
    "pstats": "pstats_table",
    "pstats-file": "pstats_file",
    "collapsed": "collapsed",
}
"""Every format by name, with the module that has its EXPORTER. Help texts, refusals and tests are fed from here."""


def load(name: str) -> Exporter[Any]:
    """Return the exporter of a format; imported only now, as a run starts quicker without it."""
    exporter: Exporter[Any] = import_module(f"tachyscope.formats.{FORMATS[name]}").EXPORTER
    return exporter


__all__ = ["FORMATS", "load"]

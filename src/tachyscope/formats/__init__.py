"""The output formats: a finished `Profile` in, a file out. A new format is a new module and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tachyscope.formats import collapsed, pstats_file, pstats_table
from tachyscope.formats.exporter import Exporter

EXPORTERS: Mapping[str, Exporter[Any]] = {
    exporter.name: exporter for exporter in (pstats_table.EXPORTER, pstats_file.EXPORTER, collapsed.EXPORTER)
}
"""Every format by name. Help texts, refusals and tests are fed from here."""

__all__ = ["EXPORTERS", "Exporter"]

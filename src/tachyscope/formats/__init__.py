"""The output formats: a finished `Profile` in, a file out. A new format is a new module and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tachyscope.formats.exporter import Exporter


@dataclass(frozen=True, slots=True)
class Format:
    """What there is to say of a format. Its code is in a module that is imported only when it writes.

    `help` is for the command line, where the format is asked for by `--NAME`; without it, it is one that another format
    has `in_files`: the form that is meant for a person stays on the terminal. `options` are the fields of its options
    that the command line can set, `instructions` says whether it shows the instruction that a frame is at.
    """

    name: str
    module: str
    stem: str
    suffix: str
    help: str = ""
    binary: bool = False
    options: tuple[str, ...] = ("lines",)
    instructions: bool = False
    in_files: str = ""
    prints: bool = False  # where no file is asked for, it goes to standard output

    def default_name(self, pid: int) -> str:
        """Return the generated file name for the profile of process `pid`."""
        return f"{self.stem}_{pid}{self.suffix}"


_ALL = (
    Format(
        "pstats", "pstats_table", "pstats", ".txt",
        help="a table of functions; with -o a file for the pstats module (default)",
        options=("lines", "sort", "limit", "summary"), in_files="pstats-file", prints=True,
    ),
    Format("pstats-file", "pstats_file", "pstats", ".pstats", binary=True),
    Format(
        "collapsed", "collapsed", "collapsed", ".txt",
        help="one line per distinct stack and its count, for flamegraph.pl and speedscope",
    ),
)  # fmt: skip

FORMATS: Mapping[str, Format] = {each.name: each for each in _ALL}
"""Every format by name. The parser, refusals, file names, the Python API and the tests are fed from here."""


def load(name: str) -> Exporter[Any]:
    """Return the code of a format; imported only now, as a run starts quicker without it."""
    exporter: Exporter[Any] = import_module(f"tachyscope.formats.{FORMATS[name].module}").EXPORTER
    return exporter


__all__ = ["FORMATS", "Format", "load"]

"""The instructions of each CPython version, by number.

The tables are data modules, written by `scripts/generate_opcodes.py` from what each interpreter says about itself.
Adding a version touches one module here; `layouts.KNOWN` says which versions there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

Entry = tuple[str, str, int]
"""Name of an instruction, that of which it is a specialised form (else its own), and how many 2-byte units of inline
cache follow it."""


VERSIONED_CALLS = {
    f"CALL_{what}"
    for what in (
        "PY_EXACT_ARGS", "PY_GENERAL", "PY_WITH_DEFAULTS", "BOUND_METHOD_EXACT_ARGS", "BOUND_METHOD_GENERAL", "KW_PY",
        "KW_BOUND_METHOD",
    )
}  # fmt: skip
"""Calls whose cache (`_PyCallCache`) has the version of the function that they call, after a 2-byte counter."""


STAND_INS = {"INSTRUMENTED_LINE", "INSTRUMENTED_INSTRUCTION"}
"""What `sys.monitoring` writes over any other instruction, whose cache stays."""

ALL_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_FUNCTION_EX", "CALL_METHOD", "PRECALL"}
PYTHON_CALLS = VERSIONED_CALLS | {
    "CALL_ALLOC_AND_ENTER_INIT", "CALL_EX_PY", "PRECALL_BOUND_METHOD", "PRECALL_PYFUNC"
}  # fmt: skip
"""Calls that are specialised for functions written in Python: they run no C code."""


@dataclass(frozen=True, slots=True)
class Opcodes:
    """The instructions of one version. Numbers that are missing are not in use."""

    entries: Mapping[int, Entry]
    in_call_at_end: bool
    """Whether a frame in a call says to be at the last unit of its cache (3.11, 3.12), not at the call itself."""

    @property
    def caches(self) -> bytes:
        """For each of the 256 numbers, how many units of inline cache follow; 255: that cannot be told."""
        units = {number: 255 if name in STAND_INS else count for number, (name, _, count) in self.entries.items()}
        return bytes(units.get(number, 0) for number in range(256))

    @property
    def calls(self) -> bytes:
        """For each of the 256 numbers, 1 if it is a call whose cache has the version of the function."""
        return bytes(number in self.entries and self.entries[number][0] in VERSIONED_CALLS for number in range(256))

    @property
    def native(self) -> bytes:
        """For each of the 256 numbers, 1 if it is a call in which an innermost frame runs C code: a function written in
        Python would have a frame of its own."""
        found = {number for number, (_, base, _) in self.entries.items() if base in ALL_CALLS}
        python = {number for number, (name, _, _) in self.entries.items() if name in PYTHON_CALLS}
        return bytes(number in found - python for number in range(256))

    @property
    def call_back(self) -> int:
        """How many bytes before the place where a frame in such a call says to be the call begins."""
        units = [units for name, _, units in self.entries.values() if name in VERSIONED_CALLS]
        return 2 * max(units) if units and self.in_call_at_end else 0

    @property
    def names(self) -> dict[int, tuple[str, str]]:
        """For each number in use the name of the instruction and its base form."""
        return {number: (name, base) for number, (name, base, _) in self.entries.items()}


@cache
def opcodes_of(version: tuple[int, int]) -> Opcodes:
    """Return the instructions of a version (major, minor) that there is a layout for."""
    table = import_module(f"{__name__}.v{version[0]}{version[1]}")
    return Opcodes(table.INSTRUCTIONS, version < (3, 13))

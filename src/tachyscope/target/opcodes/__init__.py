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


STAND_INS = {"INSTRUMENTED_LINE", "INSTRUMENTED_INSTRUCTION"}
"""What `sys.monitoring` writes over any other instruction, whose cache stays."""

ALL_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_FUNCTION_EX", "CALL_METHOD", "PRECALL"}
PYTHON_CALLS = {
    "CALL_PY_EXACT_ARGS", "CALL_PY_GENERAL", "CALL_PY_WITH_DEFAULTS", "CALL_BOUND_METHOD_EXACT_ARGS",
    "CALL_BOUND_METHOD_GENERAL", "CALL_KW_PY", "CALL_KW_BOUND_METHOD", "CALL_ALLOC_AND_ENTER_INIT", "CALL_EX_PY",
    "PRECALL_BOUND_METHOD", "PRECALL_PYFUNC",
}  # fmt: skip
"""Calls that are specialised for functions written in Python: they run no C code."""


LEAVES, CREATES, ITERATES, CALLS, RAISES = 1, 2, 4, 8, 16
ROLES = {
    **dict.fromkeys(("RETURN_VALUE", "RETURN_CONST", "INTERPRETER_EXIT"), LEAVES),
    **dict.fromkeys(("RAISE_VARARGS", "RERAISE"), LEAVES | RAISES),
    "RETURN_GENERATOR": CREATES,
    "FOR_ITER": ITERATES,
    "SEND": ITERATES,
    **dict.fromkeys(ALL_CALLS, CALLS),
}
"""What the base form of an instruction tells of a frame that is at it, as `Role` in _core/codes.pxd has it: the frame
leaves (it returns, or raises), makes a generator of itself, runs what it iterates over, or calls."""


@dataclass(frozen=True, slots=True)
class Opcodes:
    """The instructions of one version. Numbers that are missing are not in use."""

    entries: Mapping[int, Entry]

    @property
    def caches(self) -> bytes:
        """For each of the 256 numbers, how many units of inline cache follow; 255: that cannot be told."""
        units = {number: 255 if name in STAND_INS else count for number, (name, _, count) in self.entries.items()}
        return bytes(units.get(number, 0) for number in range(256))

    @property
    def roles(self) -> bytes:
        """For each of the 256 numbers, its role in `ROLES`, 0 if it has none."""
        bases = {number: base for number, (_, base, _) in self.entries.items()}
        return bytes(ROLES.get(bases.get(number, ""), 0) for number in range(256))

    @property
    def native(self) -> bytes:
        """For each of the 256 numbers, 1 if it is a call in which an innermost frame runs C code: a function written in
        Python would have a frame of its own."""
        found = {number for number, (_, base, _) in self.entries.items() if base in ALL_CALLS}
        python = {number for number, (name, _, _) in self.entries.items() if name in PYTHON_CALLS}
        return bytes(number in found - python for number in range(256))

    @property
    def names(self) -> dict[int, tuple[str, str]]:
        """For each number in use the name of the instruction and its base form."""
        return {number: (name, base) for number, (name, base, _) in self.entries.items()}


@cache
def opcodes_of(version: tuple[int, int]) -> Opcodes:
    """Return the instructions of a version (major, minor) that there is a layout for."""
    table = import_module(f"{__name__}.v{version[0]}{version[1]}")
    return Opcodes(table.INSTRUCTIONS)

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


@dataclass(frozen=True, slots=True)
class Opcodes:
    """The instructions of one version. Numbers that are missing are not in use."""

    entries: Mapping[int, Entry]

    @property
    def caches(self) -> bytes:
        """For each of the 256 numbers, how many units of inline cache follow."""
        return bytes(self.entries[number][2] if number in self.entries else 0 for number in range(256))

    @property
    def names(self) -> dict[int, tuple[str, str]]:
        """For each number in use the name of the instruction and its base form."""
        return {number: (name, base) for number, (name, base, _) in self.entries.items()}


@cache
def opcodes_of(version: tuple[int, int]) -> Opcodes:
    """Return the instructions of a version (major, minor) that there is a layout for."""
    return Opcodes(import_module(f"{__name__}.v{version[0]}{version[1]}").INSTRUCTIONS)

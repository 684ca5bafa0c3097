"""Python objects in the memory of a target that runs: dicts, attributes of instances, strings.

For questions that are asked once, in plain Python; nothing here happens per sample. An object can change or be
freed between two reads, and what is then read is true of no moment: whoever needs certainty reads twice and
compares. Every function may raise `CorruptTarget` for what makes no sense, `TargetGone` or `PermissionDenied`.
Nothing is followed further than its name says, and no count that comes from the target is believed beyond a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from tachyscope.errors import CorruptTarget
from tachyscope.target.layouts import ABSENT, Layout
from tachyscope.target.runtime import Memory

MAX_ENTRIES = 1 << 16
"""_Entries of a dict that are looked at; what comes after these is not seen."""

ATTEMPTS = 5
POINTER_BYTES = 8

_Found = TypeVar("_Found")
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class _Entries(NamedTuple):
    """The entries of a dict's keys, addresses of objects; a deleted entry has the value 0."""

    hashes: list[int]  # unsigned; empty where all keys are strings
    keys: list[int]
    values: list[int]  # without meaning where the dict keeps its values apart


class _Dict(NamedTuple):
    keys: int
    values: int  # 0: in the entries of the keys
    used: int  # number of items


class _Type(NamedTuple):
    flags: int
    basicsize: int
    dictoffset: int


class Objects:
    """Reads the objects of one target; remembers its types, so it is for one question or a few in a row."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._memory = memory
        self.layout = layout
        self._types: dict[int, _Type] = {}
        self._known: dict[str, int] = {}  # text -> the key with this text that was found last

    # dicts

    def find(self, dictionary: int, key: str, limit: int = MAX_ENTRIES) -> int:
        """Return the address of the value for an ASCII string as key, 0 if the dict at `dictionary` has none."""

        def look(found: _Dict) -> int:
            if found.values:
                return self._split_value(found.keys, found.values, key, limit)
            entries = self._combined(found, limit)
            index = self._index(entries.keys, key)
            return 0 if index is None else entries.values[index]

        return self._steady(dictionary, look)

    def by_hash(self, dictionary: int, limit: int = MAX_ENTRIES) -> dict[int, int]:
        """Return hash -> address of value for a dict with keys that are no strings; empty for any other.

        The hash of an int from 0 to 2**61 - 2 is the int itself.
        """
        entries = self._steady(dictionary, lambda found: self._combined(found, limit))
        return {each: value for each, value in zip(entries.hashes, entries.values, strict=False) if value}

    def _steady(self, dictionary: int, look: Callable[[_Dict], _Found]) -> _Found:
        """Return what `look` finds in a dict whose keys were not exchanged meanwhile."""
        for _ in range(ATTEMPTS):
            with suppress(CorruptTarget):
                before = self._dict(dictionary)
                found = look(before)
                if self._dict(dictionary)[:2] == before[:2]:
                    return found
        raise CorruptTarget(f"the dict at {dictionary:#x} changes all the time, or is none")

    def _dict(self, address: int) -> _Dict:
        layout = self.layout
        raw = self._memory.read(address, max(layout.dict_used, layout.dict_keys, layout.dict_values) + POINTER_BYTES)
        if not self._has_flag(_uint(raw, layout.object_type), layout.type_dict_shift):
            raise CorruptTarget(f"what lies at {address:#x} is no dict")
        return _Dict(_uint(raw, layout.dict_keys), _uint(raw, layout.dict_values), _uint(raw, layout.dict_used))

    def _combined(self, found: _Dict, limit: int) -> _Entries:
        """Return the entries of a dict that keeps its values in them, all of them unless there are too many."""
        entries = self._entries(found.keys, limit)
        # A dict that grows has its new keys before they are filled.
        if len(entries.values) < limit and len(entries.values) - entries.values.count(0) != found.used:
            raise CorruptTarget(f"the dict with the keys at {found.keys:#x} is being changed")
        return entries

    def _entries(self, keys: int, limit: int = MAX_ENTRIES) -> _Entries:
        """Return the first `limit` entries of the `PyDictKeysObject` at `keys`, oldest first."""
        layout = self.layout
        header = self._memory.read(keys, layout.keys_indices)
        count = min(_uint(header, layout.keys_entries), limit)
        general = layout.keys_kind == ABSENT or header[layout.keys_kind] == layout.keys_kind_general
        size = layout.entry_size if general else layout.str_entry_size
        start = keys + layout.keys_indices + self._index_bytes(header)
        words = memoryview(self._memory.read(start, count * size) if count else b"").cast("Q")

        def column(offset: int) -> list[int]:
            return words[offset // POINTER_BYTES :: size // POINTER_BYTES].tolist()

        if general:
            return _Entries(column(layout.entry_hash), column(layout.entry_key), column(layout.entry_value))
        return _Entries([], column(layout.str_entry_key), column(layout.str_entry_value))

    def _split_value(self, keys: int, values: int, key: str, limit: int) -> int:
        index = self._index(self._entries(keys, limit).keys, key)
        capacity = self.layout.values_capacity
        if index is None or (capacity != ABSENT and index >= self._memory.read(values + capacity, 1)[0]):
            return 0
        return self._memory.word(values + self.layout.values_items + POINTER_BYTES * index)

    def _index_bytes(self, header: bytes) -> int:
        """Return the size of the indices before the entries; each has as few bytes as their number allows."""
        layout = self.layout
        if layout.keys_log2_index_bytes != ABSENT:
            return 1 << header[layout.keys_log2_index_bytes]
        count = _uint(header, layout.keys_size)
        return count * next(width for width in (1, 2, 4, 8) if count < 1 << 8 * width)

    def _index(self, keys: list[int], text: str) -> int | None:
        # Names are interned: the same text in another dict is nearly always the same object.
        known = self._known.get(text)
        if known in keys:
            return keys.index(known)
        for index, key in enumerate(keys):
            if key and self._has_text(key, text):
                self._known[text] = key
                return index
        return None

    # attributes

    def attribute(self, owner: int, name: str, limit: int = MAX_ENTRIES) -> int:
        """Return the address of an attribute that the object at `owner` itself has, 0 if it has none.

        Slots, attributes of its type, and the dicts of subclasses of `int` and `tuple` (up to 3.11) are not seen.
        """
        layout = self.layout
        address = self._memory.word(owner + layout.object_type)
        if layout.type_managed_dict_shift != ABSENT and self._has_flag(address, layout.type_managed_dict_shift):
            return self._managed(owner, address, name, limit)
        offset = self._type(address).dictoffset
        dictionary = self._memory.word(owner + offset) if offset > 0 else 0
        return self.find(dictionary, name, limit) if dictionary else 0

    def _managed(self, owner: int, type_address: int, name: str, limit: int) -> int:
        layout = self.layout
        dictionary = self._memory.word(owner - layout.managed_dict_before)
        values = 0
        if layout.managed_values_before != ABSENT:
            values = self._memory.word(owner - layout.managed_values_before)
        elif layout.managed_values_tag != ABSENT and dictionary & layout.managed_values_tag:
            values, dictionary = dictionary + layout.managed_values_bias, 0
        elif layout.type_inline_values_shift != ABSENT and not dictionary:
            values = self._inline_values(owner, type_address)
        if values:
            keys = self._memory.word(type_address + layout.type_cached_keys)
            return self._split_value(keys, values, name, limit)
        return self.find(dictionary, name, limit) if dictionary else 0

    def _inline_values(self, owner: int, type_address: int) -> int:
        """Return where the values after an object start, 0 if there are none any more."""
        if not self._has_flag(type_address, self.layout.type_inline_values_shift):
            return 0
        values = owner + self._type(type_address).basicsize
        return values if self._memory.read(values + self.layout.values_valid, 1)[0] else 0

    # types

    def _has_flag(self, type_address: int, shift: int) -> bool:
        return bool(self._type(type_address).flags >> shift & 1)

    def _type(self, address: int) -> _Type:
        if address not in self._types:
            layout, word = self.layout, self._memory.word
            offset = word(address + layout.type_dictoffset)
            signed = offset - (1 << 64) if offset >> 63 else offset
            self._types[address] = _Type(
                word(address + layout.type_flags), word(address + layout.type_basicsize), signed
            )
        return self._types[address]

    # strings

    def text(self, address: int, limit: int) -> str:
        """Decode the `str` at `address`, of which the first `limit` characters are kept."""
        layout = self.layout
        header = self._memory.read(address, layout.unicode_ascii_data)
        state, length = self._state_and_length(header)
        kind = state >> layout.unicode_kind_shift & 7
        is_text = self._has_flag(_uint(header, layout.object_type), layout.type_str_shift)
        if not is_text or kind not in _CODECS or not state >> layout.unicode_compact_shift & 1:
            raise CorruptTarget(f"what lies at {address:#x} is no string")
        ascii_only = state >> layout.unicode_ascii_shift & 1
        start = address + (layout.unicode_ascii_data if ascii_only else layout.unicode_compact_data)
        size = min(length, limit) * kind
        return self._memory.read(start, size).decode(_CODECS[kind], "replace") if size else ""

    def _has_text(self, address: int, text: str) -> bool:
        """Whether the object at `address` is the compact ASCII string `text`."""
        layout = self.layout
        header = self._memory.read(address, layout.unicode_ascii_data)
        state, length = self._state_and_length(header)
        if length != len(text) or not state >> layout.unicode_ascii_shift & 1:
            return False
        return self._memory.read(address + layout.unicode_ascii_data, length) == text.encode()

    def _state_and_length(self, header: bytes) -> tuple[int, int]:
        layout = self.layout
        return _uint(header, layout.unicode_state, 4), _uint(header, layout.unicode_length)


def _uint(raw: bytes, at: int, size: int = POINTER_BYTES) -> int:
    return int.from_bytes(raw[at : at + size], "little")

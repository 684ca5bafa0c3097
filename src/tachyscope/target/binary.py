"""Symbols and sections of an ELF file: where in an interpreter's executable or library its runtime lies.

The file belongs to the target and may be anything. Every size and count in it is bounded, and whatever else
goes wrong becomes `CorruptTarget`. pyelftools supplies the header structures; the tables are searched here,
because its own search builds whole tables, which takes long for good files and forever for bad ones.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tachyscope.errors import CorruptTarget, NotPython, TachyscopeError
from tachyscope.target.layouts import SELF_DESCRIBED_FROM
from tachyscope.target.process import Mapping as MemoryMapping

Version = tuple[int, int]

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

MAX_SEGMENTS = 1 << 8
MAX_SECTIONS = 1 << 12
MAX_DYNAMIC_ENTRIES = 1 << 12
MAX_TABLE_BYTES = 64 << 20  # of symbols or names; that of CPython with all symbols takes under 1 MiB
MAX_READ_ONLY_BYTES = 32 << 20
MAX_NAME_BYTES = 1 << 12
MAX_CHAIN = 1 << 12  # linkers make chains of a few symbols
MAX_NAMES_ALIKE = 1 << 10  # places where a table holds one name
MAX_VERSION_TEXTS = 1 << 10  # a file with more different ones says nothing

_PT_LOAD, _PT_DYNAMIC = "PT_LOAD", "PT_DYNAMIC"
_PF_X, _PF_W = 1, 2
_DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SONAME = 1, 4, 5, 6, 10, 14
_DT_RPATH, _DT_RUNPATH, _DT_GNU_HASH = 15, 29, 0x6FFFFEF5
_PART_OF_NUMBER = tuple(b"%c" % byte for byte in b"0123456789.")
_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section index, value, size
_DYNAMIC_SYMBOLS, _ALL_SYMBOLS = "SHT_DYNSYM", "SHT_SYMTAB"

_LIBRARY = re.compile(r"libpython(\d)\.?(\d+)?([a-z]*)\.so")
_NAMED = re.compile(r"(?:lib)?python(\d)\.(\d+)([a-z]*)(?:\.so.*|\.exe)?")
_RELEASE = re.compile(rb"3\.\d{1,2}\.\d{1,3}(?:(?:a|b|rc)\d{1,2})?\+?(?=\0)")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the file that is loaded into memory; addresses as in the file, sizes in bytes."""

    address: int
    offset: int
    file_size: int
    memory_size: int
    executable: bool
    writable: bool


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What matters of a file, wherever it is mapped; addresses as in the file."""

    segments: tuple[Segment, ...] = ()
    runtime: int | None = None  # _PyRuntime
    version_word: int | None = None  # Py_Version (3.11+)
    version: Version | None = None  # by its name, or else by the version text in it
    version_text: str = ""
    debug: bool = False
    trace_refs: bool = False
    needs_library: bool = False  # the interpreter is in a libpython that is loaded a little later
    library_paths: tuple[str, ...] = ()


@dataclass(slots=True)
class _Dynamic:
    """What the dynamic segment says; `first` holds one value by tag, `needed` the libraries' name offsets."""

    first: dict[int, int] = field(default_factory=dict)
    needed: list[int] = field(default_factory=list)


class Binary:
    """An open ELF file of this machine's kind (64-bit little-endian); the descriptor stays the caller's.

    Raises `NotPython` for a file that is no such ELF file, and `CorruptTarget` from any method for a damaged
    one. Addresses are those in the file: add `load_bias` for those in the process.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self.name = name
        with self._guarded():
            # Two bytes after the magic: 64-bit, little-endian.
            if self._read(0, 6) != b"\x7fELF\x02\x01":
                raise NotPython(f"{name!r} is no 64-bit little-endian ELF file")
            self._structs = _elf_structs(self)
            self._header = self._parse(self._structs.Elf_Ehdr, 0)
            self.is_position_independent = self._header["e_type"] == "ET_DYN"
            self._program_headers = self._read_program_headers()
            self.segments = tuple(_segment(header) for header in self._program_headers if _is_loaded(header))
            self._dynamic = self._read_dynamic()
        self._cached_sections: list[Mapping[str, Any]] | None = None

    # What the file says

    @property
    def soname(self) -> str:
        """The name that the library gives itself, "" if none."""
        return self._dynamic_name(self._dynamic.first.get(_DT_SONAME))

    @property
    def needed(self) -> tuple[str, ...]:
        """The names of the libraries that it asks for."""
        return tuple(self._dynamic_name(offset) for offset in self._dynamic.needed)

    @property
    def library_paths(self) -> tuple[str, ...]:
        """The directories where it looks for them before the usual ones; may begin with "$ORIGIN"."""
        first = self._dynamic.first
        paths = self._dynamic_name(first.get(_DT_RUNPATH, first.get(_DT_RPATH)))
        return tuple(path for path in paths.split(":") if path)

    def exported(self, name: str) -> int | None:
        """Return the address of a symbol that other files can use (a quick look-up), or None."""
        with self._guarded():
            first, wanted = self._dynamic.first, name.encode()
            if _DT_GNU_HASH in first:
                return self._defined(self._gnu_candidates(wanted, first[_DT_GNU_HASH]), wanted)
            if _DT_HASH in first:
                return self._defined(self._sysv_candidates(wanted, first[_DT_HASH]), wanted)
            return self._search_table(_DYNAMIC_SYMBOLS, wanted)

    def symbol(self, name: str) -> int | None:
        """Return the address of a symbol, exported or (unless the file is stripped) not, or None."""
        address = self.exported(name)
        if address is not None:
            return address
        with self._guarded():
            return self._search_table(_ALL_SYMBOLS, name.encode())

    def section(self, name: str) -> int | None:
        """Return the address of a section, or None."""
        with self._guarded():
            for header in self._sections():
                if self._section_name(header) == name:
                    address: int = header["sh_addr"]
                    return address
        return None

    def literals(self, pattern: re.Pattern[bytes]) -> tuple[set[bytes], set[bytes]]:
        """Return all matches in the read-only data: those that are whole strings, and those that end one.

        Linkers store a literal as the end of a longer one where they can, such as that of the installed path.
        """
        whole: set[bytes] = set()
        endings: set[bytes] = set()
        with self._guarded():
            for data in self._read_only_data():
                for match in pattern.finditer(data):
                    before = data[match.start() - 1 : match.start()]
                    if before == b"\0":
                        whole.add(match[0])
                    elif before not in _PART_OF_NUMBER:
                        endings.add(match[0])
                    if len(whole) + len(endings) > MAX_VERSION_TEXTS:
                        return set(), set()
        return whole, endings

    def _read_only_data(self) -> Iterator[bytes]:
        left = MAX_READ_ONLY_BYTES
        for segment in self.segments:
            if not segment.writable and segment.file_size <= left:
                left -= segment.file_size
                yield self._read_up_to(segment.offset, segment.file_size)

    # Reading

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn whatever a damaged file provokes, in pyelftools or here, into `CorruptTarget`."""
        try:
            yield
        except TachyscopeError:
            raise
        except Exception as error:
            raise self._damaged(type(error).__name__) from error

    def _damaged(self, how: str) -> CorruptTarget:
        return CorruptTarget(f"the ELF file {self.name!r} is damaged ({how})")

    def _read(self, offset: int, size: int) -> bytes:
        data = self._read_up_to(offset, size)
        if len(data) != size:
            raise self._damaged(f"it ends before byte {offset + size}")
        return data

    def _read_up_to(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def _parse(self, structure: Any, offset: int) -> Any:
        return structure.parse(self._read(offset, structure.sizeof()))

    def _parse_table(self, structure: Any, offset: int, count: int, entry_bytes: int) -> list[Any]:
        if entry_bytes < structure.sizeof():
            raise self._damaged(f"a table has entries of {entry_bytes} bytes")
        return [self._parse(structure, offset + index * entry_bytes) for index in range(count)]

    def _read_program_headers(self) -> list[Any]:
        header = self._header
        count = min(header["e_phnum"], MAX_SEGMENTS)
        return self._parse_table(self._structs.Elf_Phdr, header["e_phoff"], count, header["e_phentsize"])

    def _sections(self) -> list[Mapping[str, Any]]:
        if self._cached_sections is None:
            header = self._header
            # Files with more sections say 0 here; no interpreter is such a file.
            count = min(header["e_shnum"], MAX_SECTIONS) if header["e_shoff"] else 0
            self._cached_sections = self._parse_table(
                self._structs.Elf_Shdr, header["e_shoff"], count, header["e_shentsize"]
            )
        return self._cached_sections

    def _section_name(self, header: Mapping[str, Any]) -> str:
        names = self._sections()[self._header["e_shstrndx"]]
        return self._name_at(names["sh_offset"] + header["sh_name"])

    def _name_at(self, offset: int) -> str:
        return self._read_up_to(offset, MAX_NAME_BYTES).partition(b"\0")[0].decode("utf-8", "replace")

    def _file_offset(self, address: int) -> int:
        for segment in self.segments:
            if 0 <= address - segment.address < segment.file_size:
                return address - segment.address + segment.offset
        raise self._damaged(f"nothing lies at address {address:#x}")

    # The dynamic segment

    def _read_dynamic(self) -> _Dynamic:
        dynamic = _Dynamic()
        for header in self._program_headers:
            if header["p_type"] == _PT_DYNAMIC:
                size = min(header["p_filesz"] // 16, MAX_DYNAMIC_ENTRIES) * 16
                _collect(dynamic, struct.iter_unpack("<QQ", self._read(header["p_offset"], size)))
                break
        return dynamic

    def _dynamic_name(self, offset: int | None) -> str:
        if offset is None:
            return ""
        with self._guarded():
            return self._name_at(self._file_offset(self._dynamic.first[_DT_STRTAB]) + offset)

    # Symbols

    def _gnu_candidates(self, name: bytes, table_address: int) -> Iterator[int]:
        """Yield the indexes of the symbols with the same hash as `name` in a DT_GNU_HASH table."""
        table = self._file_offset(table_address)
        buckets, first_symbol, bloom_words, _ = struct.unpack("<4I", self._read(table, 16))
        if buckets == 0:
            return
        wanted = _gnu_hash(name)
        bucket_table = table + 16 + 8 * bloom_words
        index = self._word(bucket_table + 4 * (wanted % buckets))
        if index < first_symbol:
            return
        hashes = bucket_table + 4 * buckets
        for _ in range(MAX_CHAIN):
            value = self._word(hashes + 4 * (index - first_symbol))
            if value | 1 == wanted | 1:
                yield index
            if value & 1:  # the last of its bucket
                return
            index += 1

    def _sysv_candidates(self, name: bytes, table_address: int) -> Iterator[int]:
        """Yield the indexes of the symbols in the same bucket as `name` in a DT_HASH table."""
        table = self._file_offset(table_address)
        buckets, symbols = struct.unpack("<2I", self._read(table, 8))
        if buckets == 0:
            return
        index = self._word(table + 8 + 4 * (_sysv_hash(name) % buckets))
        for _ in range(min(symbols, MAX_CHAIN)):
            if index == 0:
                return
            yield index
            index = self._word(table + 8 + 4 * (buckets + index))

    def _word(self, offset: int) -> int:
        return int.from_bytes(self._read(offset, 4), "little")

    def _defined(self, candidates: Iterable[int], name: bytes) -> int | None:
        """Return the address of the first candidate that is defined here and has this very name."""
        first = self._dynamic.first
        symbols, names = self._file_offset(first[_DT_SYMTAB]), self._file_offset(first[_DT_STRTAB])
        for index in candidates:
            symbol = _SYMBOL.unpack(self._read(symbols + index * _SYMBOL.size, _SYMBOL.size))
            if symbol[3] and self._read_up_to(names + symbol[0], len(name) + 1) == name + b"\0":
                address: int = symbol[4]
                return address
        return None

    def _search_table(self, kind: str, name: bytes) -> int | None:
        """Look through a whole symbol table, found by the section headers."""
        sections = self._sections()
        for header in sections:
            if header["sh_type"] == kind:  # a good file has one
                return self._search_symbols(header, sections[header["sh_link"]], name)
        return None

    def _search_symbols(self, symbols: Mapping[str, Any], strings: Mapping[str, Any], name: bytes) -> int | None:
        if max(symbols["sh_size"], strings["sh_size"]) > MAX_TABLE_BYTES:
            return None
        names = self._read(strings["sh_offset"], strings["sh_size"])
        # A name can be stored as the end of a longer one, so every place counts.
        matches = islice(re.finditer(re.escape(name) + b"\0", names), MAX_NAMES_ALIKE)
        wanted = {match.start() for match in matches}
        if not wanted:
            return None
        size = symbols["sh_size"] // _SYMBOL.size * _SYMBOL.size
        for symbol in _SYMBOL.iter_unpack(self._read(symbols["sh_offset"], size)):
            if symbol[0] in wanted and symbol[3]:
                address: int = symbol[4]
                return address
        return None


def is_libpython(name: str) -> bool:
    """Return True for the file name of a shared library that holds an interpreter."""
    return _LIBRARY.match(name) is not None


def named_version(name: str) -> Version | None:
    """Return the version in a file name such as libpython3.8.so.1.0 or python3.11."""
    match = _NAMED.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def _literal_version(binary: Binary, named: Version | None) -> tuple[Version | None, str]:
    """Return the version as its text in the file says, if no other text there says otherwise."""
    for literals in binary.literals(_RELEASE):
        texts = {literal.decode() for literal in literals}
        if named is not None:
            texts = {text for text in texts if text.startswith(f"{named[0]}.{named[1]}.")}
        if len(texts) == 1:
            text = texts.pop()
            return (3, int(text.split(".")[1])), text
    return named, ""


def file_facts(binary: Binary, name: str, thorough: bool) -> FileFacts:
    runtime = binary.symbol("_PyRuntime") if thorough else binary.exported("_PyRuntime")
    if runtime is None and thorough:
        runtime = binary.section(".PyRuntime")
    needs_library = any(is_libpython(library) for library in binary.needed)
    if runtime is None:
        paths = binary.library_paths if needs_library else ()
        # The segments are needed all the same: the version word may be known, the runtime found by scanning.
        return FileFacts(binary.segments, needs_library=needs_library, library_paths=paths)
    return _interpreter_facts(binary, name, runtime)


def _interpreter_facts(binary: Binary, name: str, runtime: int) -> FileFacts:
    version_word = binary.symbol("Py_Version")
    version, text = named_version(binary.soname) or named_version(name), ""
    if version_word is None and (version is None or version[1] < SELF_DESCRIBED_FROM):
        version, text = _literal_version(binary, version)
    # A debug build checks reference counts and exports the function that complains about a bad one.
    debug = binary.exported("_Py_NegativeRefcount") is not None or _has_debug_name(binary.soname or name)
    return FileFacts(
        segments=binary.segments,
        runtime=runtime,
        version_word=version_word,
        version=version,
        version_text=text,
        debug=debug,
        trace_refs=debug and binary.symbol("_Py_PrintReferences") is not None,
    )


def _has_debug_name(name: str) -> bool:
    match = _NAMED.fullmatch(name)
    return match is not None and "d" in match[3]


def load_bias(segments: Iterable[Segment], mappings: Iterable[MemoryMapping]) -> int | None:
    """Return what to add to an address in the file to get that in the process; None if no segment is mapped.

    `mappings` are those of this file. Executable segments come first, as another part of the process may have
    mapped the same file to look at it.
    """
    starts: dict[tuple[int, bool], int] = {}
    for mapping in mappings:
        starts.setdefault((mapping.offset, "x" in mapping.permissions), mapping.start)
    for segment in sorted(segments, key=lambda segment: (not segment.executable, segment.address)):
        start = starts.get((_page(segment.offset), segment.executable))
        if start is not None:
            return start - _page(segment.address)
    return None


def _page(value: int) -> int:
    return value // PAGE_BYTES * PAGE_BYTES


def _elf_structs(binary: Binary) -> Any:
    """Return pyelftools' header structures; imported late, as that takes 20 ms."""
    from elftools.elf.structs import ELFStructs

    structs = ELFStructs(little_endian=True, elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs()
    return structs


def _is_loaded(header: Mapping[str, Any]) -> bool:
    return bool(header["p_type"] == _PT_LOAD)


def _segment(header: Mapping[str, Any]) -> Segment:
    return Segment(
        address=header["p_vaddr"],
        offset=header["p_offset"],
        file_size=header["p_filesz"],
        memory_size=header["p_memsz"],
        executable=bool(header["p_flags"] & _PF_X),
        writable=bool(header["p_flags"] & _PF_W),
    )


def _collect(dynamic: _Dynamic, entries: Iterable[tuple[int, int]]) -> None:
    for tag, value in entries:
        if tag == 0:
            return
        if tag == _DT_NEEDED:
            dynamic.needed.append(value)
        dynamic.first.setdefault(tag, value)


def _gnu_hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _sysv_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        value = (value ^ (value >> 24 & 0xF0)) & 0x0FFFFFFF
    return value

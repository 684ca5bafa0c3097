"""What a CPython 3.13 or later says about itself: `_Py_DebugOffsets`, at the start of `_PyRuntime`.

The structure is a cookie, the version, whether the build is free-threaded, and then sections of unsigned
64-bit words, most of them offsets. Which words there are differs between minor versions: the `FORM` in each
version's module lists them. They come from another process and are not believed until validated.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from tachyscope.errors import CorruptTarget
from tachyscope.target.layouts import (
    ABSENT,
    INSTR_POINTER,
    SELF_DESCRIBED_FROM,
    STACK_TOP_INDEX,
    STACK_TOP_POINTER,
    Layout,
    require_known,
)

COOKIE = b"xdebugpy"
HEADER_SIZE_BYTES = 24
MAX_STRUCTURE_BYTES = 1 << 20
"""No structure of the interpreter comes near this size; larger numbers are not offsets."""

Form = tuple[tuple[str, tuple[str, ...]], ...]
"""The sections of `_Py_DebugOffsets` in their order, each with the names of its words."""

SOURCES: dict[str, tuple[str, str, int]] = {
    "runtime_interp_head": ("runtime_state", "interpreters_head", 8),
    "interp_next": ("interpreter_state", "next", 8),
    "interp_id": ("interpreter_state", "id", 8),
    "interp_thread_head": ("interpreter_state", "threads_head", 8),
    "interp_gil": ("interpreter_state", "ceval_gil", 8),
    "interp_modules": ("interpreter_state", "imports_modules", 8),
    "thread_next": ("thread_state", "next", 8),
    "thread_prev": ("thread_state", "prev", 8),
    "thread_interp": ("thread_state", "interp", 8),
    "thread_id": ("thread_state", "thread_id", 8),
    "thread_native_id": ("thread_state", "native_thread_id", 8),
    "thread_chunk": ("thread_state", "datastack_chunk", 8),
    "thread_frame": ("thread_state", "current_frame", 8),
    "frame_code": ("interpreter_frame", "executable", 8),
    "frame_previous": ("interpreter_frame", "previous", 8),
    "frame_instr": ("interpreter_frame", "instr_ptr", 8),
    "frame_owner": ("interpreter_frame", "owner", 1),
    "frame_locals": ("interpreter_frame", "localsplus", 8),
    "code_name": ("code_object", "name", 8),
    "code_qualname": ("code_object", "qualname", 8),
    "code_filename": ("code_object", "filename", 8),
    "code_firstlineno": ("code_object", "firstlineno", 4),
    "code_linetable": ("code_object", "linetable", 8),
    "code_instructions": ("code_object", "co_code_adaptive", 1),
    "object_type": ("pyobject", "ob_type", 8),
    "var_size": ("bytes_object", "ob_size", 8),
    "type_name": ("type_object", "tp_name", 8),
    "bytes_data": ("bytes_object", "ob_sval", 1),
    "unicode_length": ("unicode_object", "length", 8),
    "unicode_state": ("unicode_object", "state", 4),
    "unicode_ascii_data": ("unicode_object", "asciiobject_size", 0),
    "type_flags": ("type_object", "tp_flags", 8),
    "dict_keys": ("dict_object", "ma_keys", 8),
    "dict_values": ("dict_object", "ma_values", 8),
}
"""`Layout` field -> section, word, and bytes that the thing at this offset takes inside its structure."""

NESTED: dict[str, tuple[tuple[str, str, int], tuple[str, str, int]]] = {
    "interp_collecting": (("interpreter_state", "gc", 1), ("gc", "collecting", 4)),
}
"""The same for what lies in a structure inside another one: the offsets add up."""

_FRAME_POINTERS = ("frame_code", "frame_previous")
_CODE_POINTERS = ("code_name", "code_qualname", "code_filename", "code_linetable", "code_bytecode")
_STACK_TOP_BYTES = {STACK_TOP_INDEX: 4, STACK_TOP_POINTER: 8}


@dataclass(frozen=True, slots=True)
class DebugOffsets:
    """The decoded structure: every word by section and name, not yet validated one by one."""

    version: tuple[int, int]
    version_hex: int  # as PY_VERSION_HEX
    free_threaded: bool
    sections: Mapping[str, Mapping[str, int]]


def size_bytes(header: bytes) -> int:
    """Return the size of the whole structure, from its first `HEADER_SIZE_BYTES` bytes.

    Raises `CorruptTarget` for what is no such header, `UnsupportedPython` for a version that is not known.
    """
    version, _, _ = _decode_header(header)
    return HEADER_SIZE_BYTES + 8 * sum(len(words) for _, words in _form(version))


def decode(raw: bytes) -> DebugOffsets:
    """Decode the structure; `raw` may be longer. Raises `CorruptTarget` or `UnsupportedPython`."""
    version, version_hex, free_threaded = _decode_header(raw)
    size = size_bytes(raw)
    if len(raw) < size:
        raise CorruptTarget(f"the target's debug offsets are cut off after {len(raw)} of {size} bytes")
    values = iter(struct.unpack_from(f"<{(size - HEADER_SIZE_BYTES) // 8}Q", raw, HEADER_SIZE_BYTES))
    sections = {section: {word: next(values) for word in words} for section, words in _form(version)}
    return DebugOffsets(version, version_hex, free_threaded, sections)


def layout_from(offsets: DebugOffsets) -> Layout:
    """Validate the offsets and return them as a `Layout`; `CorruptTarget` names the first impossible word."""
    module = import_module(require_known(offsets.version))
    constants: dict[str, int] = module.FREE_THREADED if offsets.free_threaded else module.USUAL
    _validate_sizes(offsets)
    values = constants | {name: _offset(offsets, *source) for name, source in SOURCES.items()}
    values |= {name: sum(_offset(offsets, *source) for source in sources) for name, sources in NESTED.items()}
    return Layout(**values, **spans(values))


def spans(values: Mapping[str, int]) -> dict[str, int]:
    """Return `frame_size` and `code_size` in bytes: the end of the last field read, rounded up to 8."""
    frame = [(values[name], 8) for name in _FRAME_POINTERS]
    frame += [(values["frame_instr"], 8 if values["frame_instr_kind"] == INSTR_POINTER else 4)]
    frame += [(values["frame_stack_top"], _STACK_TOP_BYTES.get(values["frame_stack_top_kind"], 1))]
    frame += [(values["frame_owner"], 1), (values["frame_is_entry"], 1)]
    code = [(values[name], 8) for name in _CODE_POINTERS]
    code += [(values[name], 4) for name in ("code_firstlineno", "code_version", "code_locals", "code_stack_size")]
    return {"frame_size": _end(frame), "code_size": _end(code)}


def _end(fields: list[tuple[int, int]]) -> int:
    last = max(offset + width for offset, width in fields if offset != ABSENT)
    return (last + 7) // 8 * 8


def _decode_header(raw: bytes) -> tuple[tuple[int, int], int, bool]:
    if len(raw) < HEADER_SIZE_BYTES or not raw.startswith(COOKIE):
        raise CorruptTarget("the target's runtime does not start with the debug cookie")
    version_hex, free_threaded = struct.unpack_from("<QQ", raw, len(COOKIE))
    version = (version_hex >> 24, version_hex >> 16 & 0xFF)
    if version[0] != 3 or version[1] < SELF_DESCRIBED_FROM:
        raise CorruptTarget(f"the target's debug offsets have the impossible version {version_hex:#x}")
    if free_threaded > 1:
        raise CorruptTarget(f"the target's debug offsets have an impossible free_threaded: {free_threaded}")
    return version, version_hex, bool(free_threaded)


def _form(version: tuple[int, int]) -> Form:
    form: Form = import_module(require_known(version)).FORM
    return form


def _validate_sizes(offsets: DebugOffsets) -> None:
    for section, words in offsets.sections.items():
        size = words.get("size", 1)
        if not 0 < size <= MAX_STRUCTURE_BYTES:
            raise CorruptTarget(f"the target's debug offsets give an impossible {section}.size: {size}")


def _offset(offsets: DebugOffsets, section: str, word: str, width: int) -> int:
    """Return one offset, validated: inside its structure and aligned as its width asks for."""
    words = offsets.sections[section]
    value = words[word]
    if value + width > words["size"] or value % max(width, 1):
        raise CorruptTarget(f"the target's debug offsets give an impossible {section}.{word}: {value}")
    return value

"""What a `Layout` may say: the core copies parts of the target into buffers of fixed size and picks words out of them.

From 3.13 on the target itself says where its fields are, and it may lie, so this is checked before every use.
"""

from __future__ import annotations

from tachyscope.errors import CorruptTarget
from tachyscope.target.layouts import (
    ABSENT,
    EXECUTING_BYTE,
    EXECUTING_STATE,
    INSTR_BYTE_INDEX,
    INSTR_POINTER,
    INSTR_UNIT_INDEX,
    STACK_TOP_INDEX,
    STACK_TOP_POINTER,
    Layout,
)

MAX_FRAME_BYTES = 312  # `HEAP_BYTES` less `HEAP_BEFORE` in heap.pxd
MAX_CODE_BYTES = 320  # `CODE_MAX` in codes.pxd
MAX_HEADER_BYTES = 128  # `HEADER_MAX` in codes.pyx
MAX_STATE_BYTES = 4096
MAX_CHUNK_HEADER_BYTES = 32  # `HEADER` in reader.pyx
MAX_OFFSET = 1 << 20  # no structure of the interpreter comes near this size

FIELDS = (
    "interp_thread_head", "gil_holder", "gil_locked", "gil_switches", "exc_value", "exc_previous", "thread_next",
    "thread_prev", "thread_interp", "thread_id", "thread_native_id", "thread_unique_id", "thread_exception",
    "thread_exc_info", "thread_exc_state", "thread_frame", "thread_chunk", "chunk_previous", "chunk_size",
    "chunk_data", "generator_exc_state", "generator_state", "generator_frame", "generator_executing", "frame_size",
    "frame_code", "frame_previous", "frame_instr", "frame_owner", "frame_instr_kind", "frame_entry_owner",
    "frame_code_tag", "frame_stack_top", "frame_stack_top_kind", "frame_is_entry", "frame_locals",
    "frame_iterator",
    "code_size", "code_name", "code_qualname", "code_filename", "code_firstlineno", "code_linetable",
    "code_instructions", "code_bytecode", "code_locals", "code_stack_size", "code_version", "object_type",
    "var_size", "type_name", "bytes_data", "unicode_length", "unicode_hash", "unicode_state", "unicode_kind_shift",
    "unicode_compact_shift", "unicode_ascii_shift", "unicode_ascii_data", "unicode_compact_data",
)  # fmt: skip
"""Those fields of `Layout` that the core has, in the order of its own structure, see layout.pxd."""

_INSTR_BYTES = {INSTR_BYTE_INDEX: 4, INSTR_UNIT_INDEX: 4, INSTR_POINTER: 8}
_STACK_TOP_BYTES = {EXECUTING_BYTE: 1, EXECUTING_STATE: 1, STACK_TOP_INDEX: 4, STACK_TOP_POINTER: 8}

_IN_FRAME = {"frame_code": 8, "frame_previous": 8}
_IN_CODE = ("code_name", "code_filename", "code_firstlineno", "code_linetable", "object_type", "var_size")
_OPTIONAL_IN_CODE = ("code_qualname", "code_bytecode", "code_version")
_IN_UNICODE = {"unicode_length": 8, "unicode_hash": 8, "unicode_state": 4}
_IN_STATE = ("thread_exception", "thread_exc_info", "thread_id", "thread_unique_id")
_IN_LIST = ("thread_next", "thread_prev", "thread_interp", "thread_id", "thread_unique_id", "interp_thread_head")
_IN_GIL = {"gil_holder": 8, "gil_locked": 4, "gil_switches": 8}
_SHIFTS = ("unicode_kind_shift", "unicode_compact_shift", "unicode_ascii_shift")


def check(layout: Layout) -> None:
    """Raise `CorruptTarget`, naming the field, unless every field lies in what the core copies."""
    _check_size(layout, "frame_size", MAX_FRAME_BYTES)
    _check_size(layout, "code_size", MAX_CODE_BYTES)
    _check_size(layout, "unicode_ascii_data", MAX_HEADER_BYTES)
    _check_size(layout, "bytes_data", MAX_HEADER_BYTES)
    _check_frame(layout)
    _check_data_stack(layout)
    _check_threads(layout)
    for name in _IN_CODE:
        _check_field(layout, name, 8, layout.code_size)
    for name in _OPTIONAL_IN_CODE:
        _check_optional(layout, name, 8, layout.code_size)
    for name, width in _IN_UNICODE.items():
        _check_field(layout, name, width, layout.unicode_ascii_data)
    for name in _SHIFTS:
        _check_field(layout, name, 3, 32)  # bits
    _check_field(layout, "var_size", 8, layout.bytes_data)


def _check_frame(layout: Layout) -> None:
    widths = dict(_IN_FRAME)
    widths["frame_instr"] = _width(layout, "frame_instr_kind", _INSTR_BYTES)
    widths["frame_stack_top"] = _width(layout, "frame_stack_top_kind", _STACK_TOP_BYTES)
    for name, width in widths.items():
        _check_field(layout, name, width, layout.frame_size)
    for name in ("frame_owner", "frame_is_entry"):
        _check_optional(layout, name, 1, layout.frame_size)


def _check_data_stack(layout: Layout) -> None:
    """The word that leads to the frames; 3.11+: those of chunks and generators, and what makes the size of a frame."""
    if layout.frame_owner == ABSENT:
        _check_field(layout, "thread_frame", 8, MAX_OFFSET)
        return
    _check_field(layout, "thread_chunk", 8, MAX_OFFSET)
    for name in ("chunk_previous", "chunk_size", "chunk_data"):
        _check_field(layout, name, 8, MAX_CHUNK_HEADER_BYTES)
    _check_field(layout, "frame_locals", 0, MAX_HEADER_BYTES)
    _check_field(layout, "generator_frame", 0, MAX_HEADER_BYTES)
    _check_field(layout, "generator_state", 1, layout.generator_frame)
    if layout.generator_frame - layout.generator_state > 8:  # `HEAP_BEFORE` in heap.pxd
        raise _impossible("generator_state", layout.generator_state)
    for name in ("code_locals", "code_stack_size"):
        _check_field(layout, name, 4, layout.code_size)


def _check_threads(layout: Layout) -> None:
    """The parts that are read together have to be near each other."""
    for name in _IN_LIST:
        _check_field(layout, name, 8, MAX_OFFSET)
    for name in ("thread_native_id", "thread_frame", "thread_chunk"):
        _check_optional(layout, name, 8, MAX_OFFSET)
    for name, width in _IN_GIL.items():
        _check_field(layout, name, width, MAX_HEADER_BYTES)
    if not layout.gil_holder <= layout.gil_locked <= layout.gil_switches:
        raise _impossible("gil_holder", layout.gil_holder)
    for name in ("exc_value", "exc_previous"):
        _check_field(layout, name, 8, MAX_HEADER_BYTES)
    start, end = state_span(layout)
    if not 0 <= start < end <= start + MAX_STATE_BYTES or end > MAX_OFFSET:
        raise _impossible("span of the thread state", start)


def state_span(layout: Layout) -> tuple[int, int]:
    """Return which bytes of a thread state are read with every sample: the current frame, the data stack, ids, the
    exceptions."""
    words = [getattr(layout, name) for name in _IN_STATE]
    words += [at for at in (layout.thread_frame, layout.thread_native_id, layout.thread_chunk) if at != ABSENT]
    words += [layout.thread_exc_state + layout.exc_value, layout.thread_exc_state + layout.exc_previous]
    return min(words), max(words) + 8


def _width(layout: Layout, name: str, widths: dict[int, int]) -> int:
    kind: int = getattr(layout, name)
    if kind not in widths:
        raise _impossible(name, kind)
    return widths[kind]


def _check_size(layout: Layout, name: str, limit: int) -> None:
    if not 0 < getattr(layout, name) <= limit:
        raise _impossible(name, getattr(layout, name))


def _check_field(layout: Layout, name: str, width: int, size: int) -> None:
    if not 0 <= getattr(layout, name) <= size - width:
        raise _impossible(name, getattr(layout, name))


def _check_optional(layout: Layout, name: str, width: int, size: int) -> None:
    if getattr(layout, name) != ABSENT:
        _check_field(layout, name, width, size)


def _impossible(name: str, value: int) -> CorruptTarget:
    return CorruptTarget(f"the target's layout gives an impossible {name}: {value}")

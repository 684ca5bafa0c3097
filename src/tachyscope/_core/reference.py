"""A readable twin of the unwinder, for a target that stands still.

`unwind` follows a thread's frames one small read at a time, `read_code` decodes a code object, `stack` does
both. The compiled unwinder has to come to the same result while the target runs, in one read; the tests hold
it to that. What is reported of a thread that was stopped at an odd moment is a rule, not an accident:

1. The chain starts at the current frame: `PyThreadState.frame` (3.8 to 3.10), `.cframe->current_frame` (3.11,
   3.12) or `.current_frame` (3.13 and later). Without one, the thread runs no Python and its stack is empty.
2. From 3.11 on, calls between Python functions stay in one run of the interpreter's loop, a segment. An
   interpreter's entry frame (3.12 and later; never reported) or a frame marked `is_entry` (3.11) is the
   outermost of its segment.
3. A frame that executes bytecode says so. In the innermost segment that frame is the leaf: what lies further
   in had been left, or not yet entered. Two such frames cannot be.
4. Where none says so, the current frame is the leaf. The thread is then between two frames (or in C code,
   3.14 and later), and `Stack.running` is false. Up to 3.13 the compiled unwinder reports such a stack only if
   it has seen all its calls while a frame ran, else it reads again.
5. The outermost frame is an entry frame (3.12 and later) or one on the data stack (3.11). Up to 3.10 every
   frame executes, except perhaps the innermost one, which need only be linked. Anything else is a frame on
   its way in or out, and an error here; the compiled unwinder reads again, and counts a failed sample if that
   never ends.
6. The shim below each `__init__` that the interpreter calls without C code (3.12 and later) is not a function
   of the program: `stack` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tachyscope.errors import CorruptTarget
from tachyscope.target.layouts import (
    ABSENT,
    EXECUTING_BYTE,
    EXECUTING_STATE,
    INSTR_POINTER,
    INSTR_UNIT_INDEX,
    STACK_TOP_INDEX,
    Layout,
)

Reader = Callable[[int, int], bytes]
"""Reads memory of the target: (address, size in bytes) -> exactly that many bytes, or an `OSError`."""

MAX_DEPTH = 20_000
MAX_TEXT_BYTES = 1 << 14
MAX_TEXT_LENGTH = 1 << 40
MAX_TABLE_BYTES = 1 << 24
MAX_BYTECODE_BYTES = 1 << 30
MAX_OWNER = 8
OWNED_BY_THREAD = 0
CODE_UNIT_BYTES = 2

_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it lies in memory. `instr` is as the target has it: an index or an address, see `Layout`."""

    address: int
    code: int  # address of its code object
    previous: int  # address of its caller's frame, 0 = none
    instr: int
    owner: int  # ABSENT up to 3.10
    executing: bool  # 3.11+: it runs bytecode; before: it or a frame that it called does
    is_entry: bool  # the outermost frame of its segment that is a function's (3.11)


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames leaf first, at most `max_depth` innermost ones; `truncated`: there may be more."""

    frames: list[Frame]
    running: bool  # a frame of the innermost segment said that it runs (3.11+)
    truncated: bool


@dataclass(frozen=True, slots=True)
class Code:
    """A decoded code object; `qualname` equals `name` where the target has none (below 3.11)."""

    address: int
    name: str
    qualname: str
    filename: str
    first_line: int
    lines: bytes  # the location table
    length: int  # bytes of bytecode

    @property
    def hidden(self) -> bool:
        """Whether it is the interpreter's shim for `__init__` (rule 6)."""
        return self.name == self.filename == "__init__"


class Located(NamedTuple):
    """A frame of the program: its code and the byte offset of its instruction, negative before the first."""

    code: Code
    offset: int


# Frames


def stack(read: Reader, layout: Layout, thread: int, max_depth: int = MAX_DEPTH) -> list[Located]:
    """Return the frames of the thread state at `thread`, leaf first, as a person wants to see them.

    Raises `CorruptTarget` for a frame on its way in or out or for what is no stack, and `OSError` as `read`.
    """
    codes: dict[int, Code] = {}
    located = []
    for frame in unwind(read, layout, thread, max_depth).frames:
        if frame.code not in codes:
            codes[frame.code] = read_code(read, layout, frame.code)
        located.append(Located(codes[frame.code], offset_in(layout, codes[frame.code], frame)))
    return [each for each in located if not each.code.hidden]


def unwind(read: Reader, layout: Layout, thread: int, max_depth: int = MAX_DEPTH) -> Stack:
    """Follow the frames of the thread state at `thread`; shims are among them. Errors as for `stack`."""
    walk = _Walk(layout)
    address = current_frame(read, layout, thread)
    seen: set[int] = set()
    while address and len(walk.frames) < max_depth:
        if address in seen or len(seen) > 2 * max_depth:
            raise CorruptTarget(f"the frames at {address:#x} are linked in a circle, or too many")
        seen.add(address)
        frame = read_frame(read, layout, address)
        walk.add(frame)
        address = frame.previous
    truncated = max_depth <= len(walk.frames)
    if not (truncated or walk.complete):
        raise CorruptTarget("the outermost frame is on its way in or out")
    return Stack(walk.frames, walk.running, truncated)


class _Walk:
    """The frames so far, and what the next one means."""

    def __init__(self, layout: Layout) -> None:
        self.frames: list[Frame] = []
        self.running = False
        self.complete = True  # the last frame seen can be the outermost one; so can none at all
        self._layout = layout
        self._innermost_segment = True

    def add(self, frame: Frame) -> None:
        if self._layout.frame_owner == ABSENT:
            self._add_to_nested(frame)
        elif _is_entry_frame(self._layout, frame):
            self._innermost_segment, self.complete = False, True
        else:
            self._add_to_segment(frame)

    def _add_to_nested(self, frame: Frame) -> None:
        """3.8 to 3.10: every call is a run of the interpreter's loop of its own."""
        linked = not self.frames and frame.previous != 0
        if not (frame.executing or linked):
            raise CorruptTarget(f"the frame at {frame.address:#x} is linked but does not execute")
        self.frames.append(frame)

    def _add_to_segment(self, frame: Frame) -> None:
        if self._innermost_segment and frame.executing:
            if self.running:
                raise CorruptTarget(f"the frame at {frame.address:#x} is the second one that runs")
            self.running = True
            self.frames.clear()
        self.frames.append(frame)
        ends_at_entry_frame = self._layout.frame_entry_owner != ABSENT
        self.complete = not ends_at_entry_frame and frame.owner == OWNED_BY_THREAD
        self._innermost_segment = self._innermost_segment and not frame.is_entry


def _is_entry_frame(layout: Layout, frame: Frame) -> bool:
    return layout.frame_entry_owner != ABSENT and frame.owner >= layout.frame_entry_owner


def current_frame(read: Reader, layout: Layout, thread: int) -> int:
    """Return the address of the frame that a thread state calls current, 0 for none."""
    if layout.thread_cframe == ABSENT:
        return _word(read, thread + layout.thread_frame)
    cframe = _word(read, thread + layout.thread_cframe)
    return _word(read, cframe + layout.cframe_current_frame) if cframe else 0


def read_frame(read: Reader, layout: Layout, address: int) -> Frame:
    """Decode one frame; `CorruptTarget` if it has no code or an owner that does not exist."""
    raw = read(address, layout.frame_size)
    owner = raw[layout.frame_owner] if layout.frame_owner != ABSENT else ABSENT
    code = _uint(raw, layout.frame_code) & ~layout.frame_code_tag
    frame = Frame(
        address=address,
        code=code,
        previous=_uint(raw, layout.frame_previous),
        instr=_instr(layout, raw),
        owner=owner,
        executing=_executing(layout, raw),
        is_entry=layout.frame_is_entry != ABSENT and raw[layout.frame_is_entry] != 0,
    )
    if owner > MAX_OWNER or not (code or _is_entry_frame(layout, frame)):
        raise CorruptTarget(f"what lies at {address:#x} is no frame")
    return frame


def _instr(layout: Layout, raw: bytes) -> int:
    if layout.frame_instr_kind == INSTR_POINTER:
        return _uint(raw, layout.frame_instr)
    return _int32(raw, layout.frame_instr)


def _executing(layout: Layout, raw: bytes) -> bool:
    at, kind = layout.frame_stack_top, layout.frame_stack_top_kind
    if kind == EXECUTING_BYTE:
        return raw[at] == 1
    if kind == EXECUTING_STATE:
        return raw[at] == 0
    return kind == STACK_TOP_INDEX and _int32(raw, at) == -1  # later versions do not say


def offset_in(layout: Layout, code: Code, frame: Frame) -> int:
    """Return the byte offset of the instruction that `frame` is at, -1 or -2 before the first.

    `CorruptTarget` if it is not in the code.
    """
    offset = frame.instr
    if layout.frame_instr_kind == INSTR_POINTER:
        offset -= code.address + layout.code_instructions
    elif layout.frame_instr_kind == INSTR_UNIT_INDEX:
        offset *= CODE_UNIT_BYTES
    if not -CODE_UNIT_BYTES <= offset < code.length:
        raise CorruptTarget(f"the frame at {frame.address:#x} is at an instruction outside of {code.name!r}")
    return offset


# Code objects


def read_code(read: Reader, layout: Layout, address: int) -> Code:
    """Decode the code object at `address`; `CorruptTarget` if there is none."""
    raw = read(address, layout.code_size)
    if not _is_code_type(read, layout, _uint(raw, layout.object_type)):
        raise CorruptTarget(f"what lies at {address:#x} is no code object")
    name = _uint(raw, layout.code_name)
    qualname = _uint(raw, layout.code_qualname) if layout.code_qualname != ABSENT else name
    return Code(
        address=address,
        name=_text(read, layout, name),
        qualname=_text(read, layout, qualname),
        filename=_text(read, layout, _uint(raw, layout.code_filename)),
        first_line=_int32(raw, layout.code_firstlineno),
        lines=_table(read, layout, _uint(raw, layout.code_linetable)),
        length=_bytecode_bytes(read, layout, raw),
    )


def _is_code_type(read: Reader, layout: Layout, address: int) -> bool:
    return read(_word(read, address + layout.type_name), 5) == b"code\0"


def _bytecode_bytes(read: Reader, layout: Layout, raw: bytes) -> int:
    """Up to 3.10 the bytecode is a bytes object; later the code object ends with it and counts units."""
    if layout.code_bytecode != ABSENT:
        length = _word(read, _uint(raw, layout.code_bytecode) + layout.var_size)
    else:
        length = CODE_UNIT_BYTES * _uint(raw, layout.var_size)
    if not 0 < length <= MAX_BYTECODE_BYTES:
        raise CorruptTarget(f"a code object claims {length} bytes of bytecode")
    return length


def _table(read: Reader, layout: Layout, address: int) -> bytes:
    size = _word(read, address + layout.var_size)
    return read(address + layout.bytes_data, size) if 0 < size <= MAX_TABLE_BYTES else b""


def _text(read: Reader, layout: Layout, address: int) -> str:
    """Decode a compact `str`, of which the first `MAX_TEXT_BYTES` are kept."""
    header = read(address, layout.unicode_ascii_data)
    state = _uint(header, layout.unicode_state, 4)
    length = _uint(header, layout.unicode_length)
    kind = state >> layout.unicode_kind_shift & 7
    if kind not in _CODECS or not state >> layout.unicode_compact_shift & 1 or length > MAX_TEXT_LENGTH:
        raise CorruptTarget(f"what lies at {address:#x} is no string")
    ascii_only = state >> layout.unicode_ascii_shift & 1
    start = address + (layout.unicode_ascii_data if ascii_only else layout.unicode_compact_data)
    size = min(length * kind, MAX_TEXT_BYTES)
    return read(start, size).decode(_CODECS[kind], "replace") if size else ""


# Words


def _word(read: Reader, address: int) -> int:
    return _uint(read(address, 8), 0)


def _uint(raw: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def _int32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little", signed=True)

"""Where things are in the memory of each CPython version.

`Layout` names every offset that the profiler reads. For CPython 3.8 to 3.12 the values are data modules
written by `scripts/generate_layouts.py` from each version's own headers; from 3.13 on the process describes
itself and `debug_offsets` decodes that. Adding a version touches one module here and the registry `KNOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module

from tachyscope.errors import UnsupportedPython

ABSENT = -1
"""Marks a field that a version does not have. Zero is a valid offset."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes from the start of the C structure named by the prefix; `ABSENT` where there is none.

    Field prefixes: `runtime` = `_PyRuntimeState`, `interp` = `PyInterpreterState`, `gil` =
    `struct _gil_runtime_state`, `exc` = `_PyErr_StackItem`, `thread` = `PyThreadState`, `cframe` = `_PyCFrame`
    (3.11, 3.12), `frame` = `PyFrameObject` (3.8 to 3.10) or `_PyInterpreterFrame` (3.11+), `code` =
    `PyCodeObject`, `object`/`var`/`type`/`bytes`/`unicode`/`dict` = the object structures of these names, `keys` =
    `PyDictKeysObject`, `values` = `PyDictValues`, `entry` = `PyDictKeyEntry`, `str_entry` = `PyDictUnicodeEntry`.
    """

    # _PyRuntimeState
    runtime_interp_head: int
    runtime_interp_main: int  # pointer to the main interpreter (3.8 to 3.12)
    runtime_main_thread: int  # pthread id of the main thread (3.8 to 3.12)
    runtime_gil: int  # the GIL (3.8 to 3.11)
    runtime_collecting: int  # int32, not 0 while the garbage collector runs (3.8)
    # PyInterpreterState
    interp_next: int
    interp_id: int
    interp_thread_head: int
    interp_gil: int  # pointer to its GIL (3.12+)
    interp_collecting: int  # int32 (3.9+)
    interp_modules: int  # pointer to the dict `sys.modules`
    # struct _gil_runtime_state
    gil_holder: int  # the thread that has or had it last
    gil_locked: int  # int32: 1 while a thread has it
    gil_switches: int  # how often another thread than before took it
    # _PyErr_StackItem
    exc_value: int  # the exception that is handled; NULL or None: none (to 3.10: its type)
    exc_previous: int
    # PyThreadState
    thread_next: int
    thread_prev: int
    thread_unique_id: int
    thread_exception: int  # the exception that is being raised (to 3.11: its type)
    thread_exc_info: int  # pointer to the innermost _PyErr_StackItem
    thread_exc_state: int  # the outermost one
    thread_interp: int
    thread_id: int  # pthread id
    thread_native_id: int  # kernel thread id (3.11+)
    thread_frame: int  # 3.8 to 3.10: `frame`; 3.13+: `current_frame`; ABSENT where a cframe stands between
    thread_recursion_depth: int  # int32: how many calls are under way (to 3.10)
    thread_chunk: int  # pointer to the innermost chunk of the data stack (3.11+)
    thread_cframe: int  # 3.11, 3.12
    cframe_current_frame: int
    cframe_previous: int
    # _PyStackChunk: the data stack is a list of them (3.11+)
    chunk_previous: int
    chunk_size: int  # bytes, with these fields
    chunk_data: int  # where frames begin; in the outermost chunk 8 bytes on
    # PyGenObject, also for coroutines and asynchronous generators (3.11+)
    generator_exc_state: int  # its _PyErr_StackItem
    generator_state: int  # one byte, a FrameState
    generator_frame: int  # its _PyInterpreterFrame lies in it
    generator_executing: int  # the FrameState while it runs; larger ones: it has ended
    # frames
    frame_size: int  # bytes from the start of a frame that hold every field below
    frame_code: int  # f_code / f_executable
    frame_previous: int  # f_back / previous
    frame_instr: int  # f_lasti / prev_instr / instr_ptr
    frame_owner: int  # one byte (3.11+; 3.8 to 3.10: ABSENT)
    frame_instr_kind: int  # see INSTR_*
    frame_entry_owner: int  # owners from this value on are the interpreter's entry frames (3.12+)
    frame_code_tag: int  # low bits of frame_code that are a tag, not part of the address (3.14+)
    frame_stack_top: int  # says whether the frame is executing, see EXECUTING_* and STACK_TOP_*
    frame_stack_top_kind: int
    frame_locals: int  # where its locals start, after which come the values on its stack (3.11+)
    frame_iterator: int  # at FOR_ITER and SEND: how many words below the top of its stack the iterator is (3.11+)
    frame_is_entry: int  # one byte, set where C code called this frame (3.11)
    # PyCodeObject
    code_size: int  # bytes from the start that hold every field below
    code_name: int
    code_qualname: int  # 3.11+
    code_filename: int
    code_firstlineno: int  # int32
    code_linetable: int  # bytes object: co_lnotab (3.8, 3.9), co_linetable (3.10+)
    code_instructions: int  # start of the inline bytecode (3.11+)
    code_bytecode: int  # pointer to the bytes object `co_code` (3.8 to 3.10)
    code_locals: int  # int32: how many locals a frame of it has, cells among them (3.11+)
    code_stack_size: int  # int32: how many values its stack has at most (3.11+)
    code_version: int  # uint32, unique to a code object (`co_version`, 3.12+)
    # objects
    object_type: int
    var_size: int
    type_name: int  # char *tp_name
    bytes_data: int
    unicode_length: int
    unicode_hash: int
    unicode_state: int
    unicode_kind_shift: int  # position of the 3-bit `kind` in the 32-bit word at unicode_state
    unicode_compact_shift: int
    unicode_ascii_shift: int
    unicode_ascii_data: int  # where the characters of a compact ASCII string start
    unicode_compact_data: int  # where those of any other compact string start
    # types
    type_basicsize: int
    type_flags: int
    type_dictoffset: int  # of the pointer to its dict in an instance; 0 or negative: elsewhere
    type_cached_keys: int  # pointer to the keys that the dicts of all instances share (heap types, 3.11+)
    type_str_shift: int  # position in the flags of the bit that `str` and its subclasses have
    type_dict_shift: int  # the same for `dict`
    type_managed_dict_shift: int  # the dict of an instance lies before the object (3.11+)
    type_inline_values_shift: int  # the values of its attributes may lie after the object (3.13+)
    # dicts
    dict_used: int  # number of items
    dict_keys: int  # pointer to `keys`
    dict_values: int  # pointer to `values`, null where the values lie in the keys' entries
    keys_size: int  # number of indices (3.8 to 3.10); what says how much room they take
    keys_log2_index_bytes: int  # one byte: the same as a power of two, in bytes (3.11+)
    keys_kind: int  # one byte (3.11+)
    keys_kind_general: int  # the kind with an `entry` for each key; the others have a `str_entry`
    keys_entries: int  # number of entries in use; deleted ones, with a null value, are among them
    keys_indices: int  # where the indices start, after which come the entries
    entry_size: int
    entry_hash: int
    entry_key: int
    entry_value: int
    str_entry_size: int  # 3.11+, as all `str_entry`
    str_entry_key: int
    str_entry_value: int
    values_items: int  # where the pointers to the values start, in the order of the keys' entries
    values_capacity: int  # one byte: the number of these pointers (3.13+)
    values_valid: int  # one byte: 0 when inline values are no longer those of the object (3.13+)
    # instances with a managed dict: bytes before the object
    managed_dict_before: int  # where the pointer to the dict lies (3.11+)
    managed_values_before: int  # where that to the values lies (3.11)
    managed_values_tag: int  # bit that makes a pointer to the dict one to the values (3.12)
    managed_values_bias: int  # what has to be added to such a pointer (3.12)


INSTR_BYTE_INDEX = 0
"""`frame_instr` is an int32: byte offset of the last instruction, -1 before the first (3.8, 3.9)."""
INSTR_UNIT_INDEX = 1
"""`frame_instr` is an int32: the same in units of two bytes (3.10)."""
INSTR_POINTER = 2
"""`frame_instr` is the address of an instruction in the code object's inline bytecode (3.11+)."""

EXECUTING_BYTE = 0
"""`frame_stack_top` is the byte `f_executing`: 1 while it or a frame that it called executes (3.8, 3.9)."""
EXECUTING_STATE = 1
"""`frame_stack_top` is the byte `f_state`: 0 (FRAME_EXECUTING) while so (3.10)."""
STACK_TOP_INDEX = 2
"""`frame_stack_top` is the int32 `stacktop`: -1 while the frame itself runs, else saved (3.11 to 3.13)."""
STACK_TOP_POINTER = 3
"""`frame_stack_top` is the pointer `stackpointer` to the top of the saved stack, stale while the frame runs (3.14+)."""


def layout_fields() -> tuple[str, ...]:
    """Return the names of all `Layout` fields, in their order."""
    return tuple(field.name for field in fields(Layout))


KNOWN: dict[int, str] = {8: "v38", 9: "v39", 10: "v310", 11: "v311", 12: "v312", 13: "v313", 14: "v314", 15: "v315"}
"""The data module of each supported minor version of CPython 3, imported only when asked for."""

SELF_DESCRIBED_FROM = 13
"""From this minor version on a process describes itself; the module holds what the description leaves out."""


def require_known(version: tuple[int, int]) -> str:
    """Return the name of the data module for `version`; raise `UnsupportedPython` if there is none."""
    major, minor = version
    if major != 3 or minor not in KNOWN:
        raise UnsupportedPython(
            f"the target runs CPython {major}.{minor}",
            f"this release of tachyscope knows CPython 3.{min(KNOWN)} to 3.{max(KNOWN)}",
        )
    return f"{__name__}.{KNOWN[minor]}"


def layout_for(version: tuple[int, int]) -> Layout:
    """Return the table for a version that does not describe itself; `UnsupportedPython` if there is none."""
    module = require_known(version)
    if version[1] >= SELF_DESCRIBED_FROM:
        raise UnsupportedPython(f"the target runs CPython 3.{version[1]} but does not describe itself")
    layout: Layout = import_module(module).LAYOUT
    return layout

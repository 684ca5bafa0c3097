from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy

from tachyscope._core.layout cimport Layout


# What the words of a copied frame say. `raw` points to a copy of `Layout.frame_size` bytes.

cdef enum:
    INSTR_POINTER = 2          # the kinds: see tachyscope.target.layouts
    EXECUTING_BYTE = 0
    EXECUTING_STATE = 1
    STACK_TOP_INDEX = 2
    STACK_TOP_POINTER = 3
    THREAD_OWNER = 0           # of an interpreter frame (3.11+): on the data stack
    GENERATOR_OWNER = 1        # in a generator
    RUNNING = -1               # instead of the number of saved words


cdef struct Frame:
    uintptr_t code, previous
    int64_t instr              # as the frame has it: an address (3.11+) or an index
    int64_t saved              # words of locals and stack that are saved: stale in a frame that runs (3.14+), or RUNNING
    uint8_t owner
    uint8_t is_entry           # C code called it (3.11)


cdef inline uintptr_t word_at(char *at) noexcept nogil:
    cdef uintptr_t value
    memcpy(&value, at, sizeof(value))
    return value


cdef inline int32_t int32_at(char *at) noexcept nogil:
    cdef int32_t value
    memcpy(&value, at, sizeof(value))
    return value


cdef inline void frame_decode(Layout *layout, char *raw, uintptr_t address, Frame *frame) noexcept nogil:
    frame.code = word_at(raw + layout.frame_code) & ~<uintptr_t>layout.frame_code_tag
    frame.previous = word_at(raw + layout.frame_previous)
    frame.instr = (<int64_t>word_at(raw + layout.frame_instr) if layout.frame_instr_kind == INSTR_POINTER
                   else int32_at(raw + layout.frame_instr))
    frame.owner = <uint8_t>raw[layout.frame_owner] if layout.frame_owner >= 0 else THREAD_OWNER
    frame.is_entry = raw[layout.frame_is_entry] if layout.frame_is_entry >= 0 else 0
    if layout.frame_stack_top_kind == STACK_TOP_POINTER:
        frame.saved = (<int64_t>(word_at(raw + layout.frame_stack_top) - address) - layout.frame_locals) >> 3
    elif layout.frame_stack_top_kind == STACK_TOP_INDEX:
        frame.saved = int32_at(raw + layout.frame_stack_top)
    elif layout.frame_stack_top_kind == EXECUTING_BYTE:
        frame.saved = RUNNING if raw[layout.frame_stack_top] == 1 else 0
    else:
        frame.saved = RUNNING if raw[layout.frame_stack_top] == 0 else 0


cdef inline bint frame_same(Frame *one, Frame *other) noexcept nogil:
    return (one.code == other.code and one.instr == other.instr and one.previous == other.previous
            and one.saved == other.saved and one.owner == other.owner and one.is_entry == other.is_entry)


cdef inline bint frame_is_entry(Layout *layout, Frame *frame) noexcept nogil:
    """Whether it is none of a function, but one of the interpreter between C code and a function (3.12+)."""
    return layout.frame_entry_owner >= 0 and frame.owner >= layout.frame_entry_owner

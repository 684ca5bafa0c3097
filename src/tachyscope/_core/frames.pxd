from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy

from tachyscope._core.layout cimport Layout


# What the words of a copied frame say. `frame` points to a copy of `Layout.frame_size` bytes.

cdef enum:
    INSTR_POINTER = 2          # the kinds: see tachyscope.target.layouts
    EXECUTING_BYTE = 0
    EXECUTING_STATE = 1
    STACK_TOP_INDEX = 2


cdef inline uintptr_t word_at(char *at) noexcept nogil:
    cdef uintptr_t value
    memcpy(&value, at, sizeof(value))
    return value


cdef inline int32_t int32_at(char *at) noexcept nogil:
    cdef int32_t value
    memcpy(&value, at, sizeof(value))
    return value


cdef inline uintptr_t code_of(Layout *layout, char *frame) noexcept nogil:
    return word_at(frame + layout.frame_code) & ~<uintptr_t>layout.frame_code_tag


cdef inline uintptr_t previous_of(Layout *layout, char *frame) noexcept nogil:
    return word_at(frame + layout.frame_previous)


cdef inline int64_t instr_of(Layout *layout, char *frame) noexcept nogil:
    if layout.frame_instr_kind == INSTR_POINTER:
        return <int64_t>word_at(frame + layout.frame_instr)
    return int32_at(frame + layout.frame_instr)


cdef inline bint running(Layout *layout, char *frame) noexcept nogil:
    """Whether the frame says that it is the one that executes (3.11 to 3.13), or among those that do (to 3.10).
    Later versions do not say: never."""
    cdef char *at = frame + layout.frame_stack_top
    if layout.frame_stack_top_kind == STACK_TOP_INDEX:
        return int32_at(at) == -1
    if layout.frame_stack_top_kind == EXECUTING_BYTE:
        return at[0] == 1
    if layout.frame_stack_top_kind == EXECUTING_STATE:
        return at[0] == 0
    return False


cdef inline bint is_entry(Layout *layout, uint8_t owner) noexcept nogil:
    return layout.frame_entry_owner >= 0 and owner >= layout.frame_entry_owner




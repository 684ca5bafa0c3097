# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The stack of a thread whose frames are objects on the heap, each linked to its caller (to 3.10).

The first word that is read, the thread's frame, is the leaf, always. Which function it is of can be read later: a
frame that has ended keeps its code until another function gets it. Its link may stay or be cleared, or lead to
another frame that is not in use. So it is believed if the frame it leads to executes, or is of the function that called
this one the last time. If not, that call is taken for this one: by the same frame, or by the one frame of that function
that executes. Else the callers are uncertain; so they are where frames of several functions take turns in an object, as
in a recursion.
Used from compiled code only.
"""

from libc.stdint cimport uint32_t, uintptr_t
from libc.stdlib cimport realloc

from tachyscope._core.codes cimport NO_CODE, CodeTable, Driver, codes_find
from tachyscope._core.frames cimport RUNNING, Frame, frame_decode
from tachyscope._core.heap cimport HEAP_BEFORE, HeapFrame, heap_get
from tachyscope._core.layout cimport Layout
from tachyscope._core.naming cimport path_push
from tachyscope._core.thread_reader cimport RECONSTRUCTED, TRUNCATED, UNCERTAIN, ThreadReader, Walked, reader_state
from tachyscope._core.window cimport window_wants_code


cdef int _push(ThreadReader *reader, uint32_t count, uint32_t code_id, Frame *frame) noexcept nogil:
    cdef uint32_t capacity = 2 * count + 64
    cdef void *grown
    if count == reader.walked_capacity:
        grown = realloc(reader.walked, capacity * sizeof(reader.walked[0]))
        if grown == NULL:
            return -1
        reader.walked, reader.walked_capacity = <Walked *>grown, capacity
    reader.walked[count].code_id, reader.walked[count].instr = code_id, frame.instr
    return 0


cdef bint _look(ThreadReader *reader, Layout *layout, CodeTable *codes, uintptr_t address, HeapFrame **at, Frame *frame,
                uint32_t *code_id) noexcept nogil:
    """Decode the frame at an address; false if there is none that was read."""
    at[0] = heap_get(&reader.heap, address)
    if at[0] == NULL or at[0].taken == reader.heap.builds:
        return False
    at[0].taken = reader.heap.builds
    frame_decode(layout, at[0].copy + HEAP_BEFORE, address, frame)
    code_id[0] = codes_find(codes, frame.code)
    if code_id[0] == NO_CODE:
        window_wants_code(&reader.window, layout, frame)
    return code_id[0] != NO_CODE


cdef bint _calls(ThreadReader *reader, Layout *layout, uintptr_t address, uintptr_t code, bint linked) noexcept nogil:
    """Whether there is a frame of this code, not in the stack yet; one that a link leads to may be of another if it
    executes. (What has to be read first is wanted then.)"""
    cdef HeapFrame *at = heap_get(&reader.heap, address) if address else NULL
    cdef Frame frame
    if at == NULL or at.taken == reader.heap.builds:
        return False
    frame_decode(layout, at.copy + HEAP_BEFORE, address, &frame)
    return (linked and frame.saved == RUNNING) or frame.code == code


cdef uintptr_t _only(ThreadReader *reader, Layout *layout, uintptr_t code) noexcept nogil:
    """The frame of this code that executes and is not in the stack yet; 0 if none was read, or several."""
    cdef uintptr_t found = 0
    cdef uint32_t i
    cdef HeapFrame *at
    cdef Frame frame
    for i in range(reader.heap.count):
        at = &reader.heap.frames[i]
        if at.fresh != reader.heap.read or at.taken == reader.heap.builds:
            continue
        frame_decode(layout, at.copy + HEAP_BEFORE, at.address, &frame)
        if frame.saved == RUNNING and frame.code == code:
            if found:
                return 0
            found = at.address
    return found


cdef uintptr_t _caller(ThreadReader *reader, Layout *layout, CodeTable *codes, HeapFrame *at, Frame *frame,
                       uint32_t code_id) noexcept nogil:
    """Who called a frame, 0 if nobody did, or that is uncertain."""
    cdef Driver *driver = &at.driver if at.code == frame.code else &codes.codes[code_id].driver
    cdef uintptr_t found = 0
    if frame.saved == RUNNING:
        if frame.previous or driver.address == 0 or at.outermost == frame.code:
            return frame.previous
        at.outermost = frame.code  # or a generator that is just entered: if it looks so again it is the outermost
    reader.status |= RECONSTRUCTED
    if not at.shared:
        if _calls(reader, layout, frame.previous, driver.code, True):
            return frame.previous
        if at.code == frame.code and _calls(reader, layout, driver.address, driver.code, False):
            return driver.address
        found = _only(reader, layout, driver.code) if driver.code else 0
    if found == 0:
        reader.status |= UNCERTAIN
    return found


cdef inline void _learn(CodeTable *codes, HeapFrame *at, Frame *frame, uint32_t code_id, Frame *caller) noexcept nogil:
    """It was seen who called a frame that executes."""
    if at.code and at.code != frame.code:
        at.shared = True
    at.code, at.driver.address, at.driver.code, at.outermost = frame.code, frame.previous, caller.code, 0
    codes.codes[code_id].driver = at.driver


cdef int objects_build(ThreadReader *reader, Layout *layout, CodeTable *codes) noexcept nogil:
    """Bring `path` up to date with what was read, `status` says how certain it is; -1 if there is no leaf. What is
    missing is in `heap.wanted`, or `window.unknown`; then more is known after that was read."""
    cdef uintptr_t address = reader_state(reader, layout, layout.thread_frame)
    cdef uint32_t count = 0, code_id, last_id = 0, i
    cdef HeapFrame *at
    cdef HeapFrame *last = NULL
    cdef Frame frame, before
    reader.status, reader.path.depth = 0, 0
    reader.heap.wanted_count, reader.window.unknown = 0, 0
    reader.heap.builds += 1
    while address:
        if count == reader.max_depth:
            reader.status |= TRUNCATED
            break
        if not _look(reader, layout, codes, address, &at, &frame, &code_id):
            reader.status |= UNCERTAIN
            break
        if _push(reader, count, code_id, &frame) < 0:
            return -1
        if count == 0:
            at.ends += 1
        elif before.saved == RUNNING:
            _learn(codes, last, &before, last_id, &frame)
        count += 1
        last, last_id, before = at, code_id, frame
        address = _caller(reader, layout, codes, at, &frame, code_id)
    if count == 0 and reader.status & UNCERTAIN and not reader.heap.wanted_count and not reader.window.unknown:
        return -1
    for i in range(count):
        path_push(&reader.path, reader.walked[count - 1 - i].code_id, reader.walked[count - 1 - i].instr)
    return 0

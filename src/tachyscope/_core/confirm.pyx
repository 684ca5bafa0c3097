# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Up to 3.10: is the stack that was walked the one that is there? Used from compiled code only.

Frames are objects there, and those of functions that call themselves change places with every round: two long copies
can agree by coincidence, for a stack that never was. What is asked here is read in one short call, around the current
frame.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.frames cimport code_of, instr_of, int32_at, previous_of, running, word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory, iovec, memory_readv, now_ns
from tachyscope._core.regions cimport ThreadReader, UNCOUNTED, Walked


cdef enum:
    CONFIRMED = 64             # innermost frames that are looked at again, ...
    GROUPS = 16                # in so many ranges, ...
    GROUP_MAX = 4096           # of so many bytes at most
    CALLS_MAX = 1 << 24        # more are not under way: garbage
    CONFIRM_NS = 50000         # longer than that, something came between


# The innermost frames of a walk in ranges, those that are near each other in one; the innermost range first.
cdef struct Groups:
    uintptr_t starts[GROUPS]
    uintptr_t ends[GROUPS]
    uint32_t count
    uint32_t of[CONFIRMED]     # in which one each frame is
    uint32_t frames


cdef void reader_count_unseen(ThreadReader *reader, Layout *layout, char *words) noexcept nogil:
    """Compare the last walk with the number of calls that the thread had under way when its current frame was read:
    `words` is a copy of these words of its state."""
    cdef int32_t calls = int32_at(words + layout.thread_recursion_depth - layout.thread_frame)
    reader.unseen = UNCOUNTED if reader.truncated or not 0 <= calls < CALLS_MAX else calls - <int32_t>reader.depth


cdef bint _joins(Groups *groups, uintptr_t start, uintptr_t end) noexcept nogil:
    """Whether a frame is near enough to those of the last range to be read with them."""
    cdef uint32_t last = groups.count - 1
    if groups.count == 0 or end > groups.starts[last] + GROUP_MAX or start + GROUP_MAX < groups.ends[last]:
        return False
    groups.starts[last] = start if start < groups.starts[last] else groups.starts[last]
    groups.ends[last] = end if end > groups.ends[last] else groups.ends[last]
    return True


cdef void _group(Groups *groups, ThreadReader *reader, size_t frame_size) noexcept nogil:
    cdef uintptr_t start
    groups.count = groups.frames = 0
    while groups.frames < reader.depth and groups.frames < CONFIRMED:
        start = reader.frames[groups.frames].address
        if not _joins(groups, start, start + frame_size):
            if groups.count == GROUPS:
                break
            groups.starts[groups.count], groups.ends[groups.count] = start, start + frame_size
            groups.count += 1
        groups.of[groups.frames] = groups.count - 1
        groups.frames += 1


cdef bint _is_walked(ThreadReader *reader, Layout *layout, uint32_t place, char *frame) noexcept nogil:
    """Whether a frame is still what the last walk found: the same function, called by the same frame, executing at the
    same instruction. The innermost one may be anywhere, and about to execute or just have done so."""
    cdef Walked *walked = &reader.frames[place]
    cdef uintptr_t caller = reader.frames[place + 1].address if place + 1 < reader.depth else 0
    if place + 1 == reader.depth and reader.truncated:
        caller = previous_of(layout, frame)
    if code_of(layout, frame) != walked.code or previous_of(layout, frame) != caller:
        return False
    if place == 0 and caller:
        return True
    return running(layout, frame) and (place == 0 or instr_of(layout, frame) == walked.instr)


cdef bint reader_confirm(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil:
    """Whether the last walk's stack is there: its innermost frames are read once more, outermost first, then the
    current frame, then they again in reverse order. So the windows around the current frame are nested, and next to
    nothing for the frames that change most often."""
    cdef Groups groups
    cdef iovec remote[2 * GROUPS + 1]
    cdef char *copies[2 * GROUPS + 1]
    cdef char buffer[2 * GROUPS * GROUP_MAX + 8]
    cdef uint32_t i, group, middle
    cdef size_t size = 0, words = layout.thread_recursion_depth - layout.thread_frame + 4
    cdef uint64_t began_ns = now_ns()
    _group(&groups, reader, layout.frame_size)
    middle = groups.count
    for i in range(2 * middle + 1):
        if i == middle:
            remote[i].iov_base, remote[i].iov_len = <void *>(reader.address + <uintptr_t>layout.thread_frame), words
        else:
            group = middle - 1 - i if i < middle else i - middle - 1
            remote[i].iov_base, remote[i].iov_len = <void *>groups.starts[group], groups.ends[group] - groups.starts[group]
        copies[i] = buffer + size
        size += remote[i].iov_len
    if groups.frames == 0 or memory_readv(memory, buffer, remote, 2 * middle + 1) != <ssize_t>size:
        return False
    if word_at(copies[middle]) != reader.frames[0].address or now_ns() - began_ns > CONFIRM_NS:
        return False
    for i in range(groups.frames):
        group = groups.of[i]
        size = reader.frames[i].address - groups.starts[group]
        if not (_is_walked(reader, layout, i, copies[middle - 1 - group] + size)
                and _is_walked(reader, layout, i, copies[middle + 1 + group] + size)):
            return False
    reader_count_unseen(reader, layout, copies[middle])
    return True

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t


cdef enum Status:           # of a span, beside those of `thread_reader.Status`; batch.py has both
    HOLDS = 16              # the thread has the GIL
    COLLECTS = 32           # ... and collects garbage
    EXCEPTS = 64            # it has an exception: one that is being raised or handled
    ON_CPU = 128            # the kernel runs it, or would like to
    WAITS_GIL = 256         # it waits for the GIL
    FAILED = 512            # its stack could not be read
    STOPPED = 1024          # it stood still while it was read, to check what is read while it runs
    IN_SYSCALL = 2048       # ... and was in a system call


# A track was in one state from tick `tick` on for so many `ticks`, of which samples stand for `weight`. Of what `status`
# may say, `known` is what was looked at.
cdef struct Span:
    uint64_t tick, ticks, weight
    uint32_t track, node
    uint16_t status, known


# Tick `tick` was late by so many ns.
cdef struct Correction:
    uint64_t tick, late_ns


# Where the times of ticks can be told from: those of `tick` and the next one, and the state of what makes the others.
cdef struct Anchor:
    uint64_t tick, due_ns, next_ns, seed
    int64_t wander_ns


cdef struct Items:
    void *first
    size_t count, capacity


# What has not been drained yet.
cdef struct Stream:
    Items spans, corrections, anchors
    bint lost               # there was no memory for some of it


cdef void stream_clear(Stream *stream) noexcept nogil
cdef void stream_add(Stream *stream, Span *span) noexcept nogil
cdef void stream_correct(Stream *stream, uint64_t tick, uint64_t late_ns) noexcept nogil
cdef void stream_anchor(Stream *stream, Anchor *anchor) noexcept nogil
cdef tuple stream_take(Stream *stream)

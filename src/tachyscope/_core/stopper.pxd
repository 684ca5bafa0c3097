from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    STOPPED_MAX = 256     # threads that are stopped at a time; one per GIL is needed
    PAUSE_SLOTS = 1024


# The threads that are stopped now, and how long they were so far.
cdef struct Stopper:
    int tids[STOPPED_MAX]
    int signals[STOPPED_MAX]        # that arrived as the thread stopped: to be passed on
    uint32_t count
    int late[STOPPED_MAX]           # threads that did not stop in time (in the kernel, waiting for a device): let go
    uint32_t late_count             # when they do
    int pid                         # whose threads they are: it is not ours to reap, whatever becomes of it
    int refused                     # errno with which the kernel refused to stop a thread, 0: it did not
    uint32_t refusals               # in a row: it refuses to stop who is about to end, too
    uint64_t begin_ns               # of this pause
    uint64_t pauses, total_ns
    uint32_t slots[PAUSE_SLOTS]     # pauses by their length, see `_slot`


cdef bint stopper_has(Stopper *stopper, int tid) noexcept nogil
cdef bint stopper_stop(Stopper *stopper, int tid) noexcept nogil
cdef uint64_t stopper_go(Stopper *stopper) noexcept nogil
cdef void stopper_clear(Stopper *stopper) noexcept nogil
cdef uint64_t stopper_quantile(Stopper *stopper, double part) noexcept nogil

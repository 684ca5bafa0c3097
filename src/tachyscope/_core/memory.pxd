from libc.stdint cimport uint32_t, uint64_t, uintptr_t


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len


# A piece of memory that was recorded, or made up, in place of a process.
cdef struct Recorded:
    uintptr_t address
    size_t size
    char *data


cdef struct Memory:
    int pid
    int fd               # of /proc/PID/mem where process_vm_readv is refused or missing, else -1
    Recorded *recorded   # if not NULL there is no process: this is its memory
    size_t recorded_count


# What one call reads: ranges, one behind the other, into one buffer.
cdef struct Reading:
    iovec *ranges
    uint32_t count, capacity
    char *buffer
    size_t size, room    # bytes that the ranges have, that the buffer has


cdef inline void reading_begin(Reading *reading) noexcept nogil:
    reading.count, reading.size = 0, 0


cdef inline size_t reading_add(Reading *reading, uintptr_t address, size_t size) noexcept nogil:
    """Add a range, for which there has to be room; returns where in the buffer it will be."""
    cdef iovec *range = &reading.ranges[reading.count]
    range.iov_base, range.iov_len = <void *>address, size
    reading.count += 1
    reading.size += size
    return reading.size - size


cdef int reading_reserve(Reading *reading, uint32_t ranges, size_t size) noexcept nogil
cdef void reading_clear(Reading *reading) noexcept nogil

# Bytes read in order of `remote` into one contiguous buffer, or -errno if nothing could be read.
cdef ssize_t memory_readv(Memory *memory, char *buffer, iovec *remote, size_t count) noexcept nogil
cdef ssize_t memory_read(Memory *memory, uintptr_t address, void *buffer, size_t size) noexcept nogil
cdef uint64_t now_ns() noexcept nogil
cdef int memory_record(Memory *memory, dict pieces) except -1
cdef void memory_forget(Memory *memory) noexcept nogil

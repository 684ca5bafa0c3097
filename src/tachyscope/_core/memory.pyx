# cython: language_level=3, boundscheck=False, wraparound=False
"""Batched reads of another process's memory: the only door between the profiler and its target."""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.errno cimport EFAULT, ENOSYS, EPERM, errno
from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

import os


cdef extern from "<sys/uio.h>" nogil:
    ssize_t process_vm_readv(int pid, const iovec *local, unsigned long local_count,
                             const iovec *remote, unsigned long remote_count, unsigned long flags)

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void *buffer, size_t size, long long offset)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *time)


cdef enum:
    MAX_RANGES = 1024  # IOV_MAX of the kernel


cdef uint64_t now_ns() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t>time.tv_sec * 1000000000 + <uint64_t>time.tv_nsec


cdef ssize_t _readv_by_file(Memory *memory, char *buffer, iovec *remote, size_t count) noexcept nogil:
    """Read range by range through /proc/PID/mem: slow, for systems that refuse process_vm_readv."""
    cdef ssize_t total = 0, got
    cdef size_t i
    for i in range(count):
        got = pread(memory.fd, buffer + total, remote[i].iov_len, <long long>remote[i].iov_base)
        if got <= 0:
            return total if total else -(errno if got < 0 else EFAULT)
        total += got
        if <size_t>got < remote[i].iov_len:
            break
    return total


cdef ssize_t _readv_recorded(Memory *memory, char *buffer, iovec *remote, size_t count) noexcept nogil:
    cdef ssize_t total = 0
    cdef uintptr_t address, size
    cdef size_t i, j
    for i in range(count):
        address, size = <uintptr_t>remote[i].iov_base, remote[i].iov_len
        for j in range(memory.recorded_count):
            if 0 <= address - memory.recorded[j].address <= memory.recorded[j].size and (
                    size <= memory.recorded[j].size - (address - memory.recorded[j].address)):
                memcpy(buffer + total, memory.recorded[j].data + (address - memory.recorded[j].address), size)
                total += size
                break
        else:
            break
    return total if total or count == 0 else -EFAULT


cdef ssize_t memory_readv(Memory *memory, char *buffer, iovec *remote, size_t count) noexcept nogil:
    cdef iovec local
    cdef ssize_t total = 0, got
    cdef size_t done = 0, part, i, wanted
    if memory.recorded != NULL:
        return _readv_recorded(memory, buffer, remote, count)
    if memory.fd >= 0:
        return _readv_by_file(memory, buffer, remote, count)
    while done < count:
        part = count - done if count - done < MAX_RANGES else MAX_RANGES
        wanted = 0
        for i in range(done, done + part):
            wanted += remote[i].iov_len
        local.iov_base = buffer + total
        local.iov_len = wanted
        got = process_vm_readv(memory.pid, &local, 1, remote + done, part, 0)
        if got < 0:
            return total if total else -errno
        total += got
        if <size_t>got < wanted:
            break
        done += part
    return total


cdef ssize_t memory_read(Memory *memory, uintptr_t address, void *buffer, size_t size) noexcept nogil:
    cdef iovec remote
    remote.iov_base = <void *>address
    remote.iov_len = size
    return memory_readv(memory, <char *>buffer, &remote, 1)


cdef int reading_reserve(Reading *reading, uint32_t ranges, size_t size) noexcept nogil:
    """Room for so many ranges, and so many bytes; -1 if there is no memory for it."""
    cdef void *grown
    if ranges > reading.capacity:
        grown = realloc(reading.ranges, 2 * ranges * sizeof(iovec))
        if grown == NULL:
            return -1
        reading.ranges, reading.capacity = <iovec *>grown, 2 * ranges
    if size > reading.room:
        grown = realloc(reading.buffer, 2 * size)
        if grown == NULL:
            return -1
        reading.buffer, reading.room = <char *>grown, 2 * size
    return 0


cdef void reading_clear(Reading *reading) noexcept nogil:
    free(reading.ranges)
    free(reading.buffer)
    memset(reading, 0, sizeof(Reading))


cdef int memory_record(Memory *memory, dict pieces) except -1:
    """Let this be the memory: bytes by their address."""
    cdef bytes data
    cdef size_t i = 0
    memory_forget(memory)
    memory.recorded = <Recorded *>calloc(len(pieces) + 1, sizeof(Recorded))
    if memory.recorded == NULL:
        raise MemoryError
    for address, data in pieces.items():
        memory.recorded[i].address, memory.recorded[i].size = address, len(data)
        memory.recorded[i].data = <char *>malloc(len(data) + 1)
        if memory.recorded[i].data == NULL:
            raise MemoryError
        memcpy(memory.recorded[i].data, <char *>data, len(data))
        i += 1
        memory.recorded_count = i
    return 0


cdef void memory_forget(Memory *memory) noexcept nogil:
    cdef size_t i
    for i in range(memory.recorded_count):
        free(memory.recorded[i].data)
    free(memory.recorded)
    memory.recorded, memory.recorded_count = NULL, 0


cdef class Reader:
    """Reads the memory of process `pid`: call it with (address, size in bytes) to get exactly that many bytes.

    Raises OSError with the kernel's errno: ESRCH (the process is gone), EPERM (not permitted), EFAULT (not mapped).
    Where `process_vm_readv` is missing or filtered, `/proc/PID/mem` is read instead, `by_file` is true and `refusal` the
    errno of the system call.
    """

    cdef Memory _memory
    cdef readonly bint by_file
    cdef readonly int refusal

    def __cinit__(self, int pid):
        self._memory.pid = pid
        self._memory.fd = -1
        self.by_file = False
        self.refusal = 0

    def __dealloc__(self):
        self.close()

    cpdef close(self):
        """Give back the file descriptor of `/proc/PID/mem`, if one was needed."""
        if self._memory.fd >= 0:
            os.close(self._memory.fd)
            self._memory.fd = -1

    @property
    def pid(self):
        return self._memory.pid

    @property
    def fd(self):
        """File descriptor of `/proc/PID/mem`, -1 where the system call is used."""
        return self._memory.fd

    def use_file(self):
        """Read through `/proc/PID/mem` from now on (needs the same permission, but not the system call)."""
        if self._memory.fd < 0:
            self._memory.fd = os.open(f"/proc/{self._memory.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self.by_file = True

    def __call__(self, uintptr_t address, size_t size):
        if size == 0:
            return b""
        cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
        cdef char *buffer = PyBytes_AsString(result)
        cdef ssize_t got
        with nogil:
            got = memory_read(&self._memory, address, buffer, size)
        if got == -ENOSYS or (got == -EPERM and self._memory.fd < 0):
            return self._retry_by_file(address, size, <int>-got)
        if got < 0 or <size_t>got < size:
            raise _error(<int>-got if got < 0 else EFAULT, self._memory.pid, address)
        return result

    def _retry_by_file(self, address, size, int reason):
        """A filter that refuses the system call often lets the file through; a real refusal stays one."""
        try:
            self.use_file()
        except OSError:
            raise _error(reason, self._memory.pid, address) from None
        self.refusal = reason
        return self(address, size)


cdef object _error(int code, int pid, uintptr_t address):
    return OSError(code, f"{os.strerror(code)}: process {pid}, address {address:#x}")


def floor_rate(int pid, list ranges, double seconds):
    """Read `ranges`, a list of (address, size in bytes), over and over in one call each, for `seconds`.

    Returns how many calls were completed per second. This is the physical floor: what a profiler that did nothing
    but its reads could reach at most on this machine, now.
    """
    cdef size_t count = len(ranges), i, total = 0
    cdef iovec *remote = <iovec *>malloc(count * sizeof(iovec))
    cdef char *buffer
    cdef Memory memory
    cdef uint64_t start, end, now, calls = 0
    cdef ssize_t got = 0
    memory.pid, memory.fd, memory.recorded = pid, -1, NULL
    for i in range(count):
        remote[i].iov_base = <void *><uintptr_t>ranges[i][0]
        remote[i].iov_len = ranges[i][1]
        total += remote[i].iov_len
    buffer = <char *>malloc(total)
    start = now_ns()
    end = start + <uint64_t>(seconds * 1e9)
    now = start
    with nogil:
        while now < end:
            got = memory_readv(&memory, buffer, remote, count)
            if got < 0:
                break
            calls += 1
            now = now_ns()
    free(remote)
    free(buffer)
    if got < 0 or <size_t>got < total:
        raise _error(<int>-got if got < 0 else EFAULT, pid, ranges[0][0])
    return calls * 1e9 / (now - start)

from libc.stdint cimport uint32_t, uintptr_t

from tachyscope._core.layout cimport Layout
from tachyscope._core.naming cimport Engine
from tachyscope._core.thread_reader cimport ThreadReader


cdef int reader_init(ThreadReader *reader, Layout *layout, uintptr_t address, uint32_t max_depth) noexcept nogil
cdef void reader_clear(ThreadReader *reader) noexcept nogil
cdef void reader_forget(ThreadReader *reader) noexcept nogil
cdef int reader_prepare(ThreadReader *reader, Engine *engine) noexcept nogil
cdef int reader_sample(ThreadReader *reader, Engine *engine, ssize_t got, uint32_t *node) noexcept nogil

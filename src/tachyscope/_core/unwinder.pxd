from tachyscope._core.layout cimport Layout
from tachyscope._core.regions cimport ThreadReader


cdef int reader_walk(ThreadReader *reader, Layout *layout) noexcept nogil
cdef int reader_walk_copy(ThreadReader *reader, Layout *layout) noexcept nogil

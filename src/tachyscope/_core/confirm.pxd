from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory
from tachyscope._core.regions cimport ThreadReader


cdef void reader_count_unseen(ThreadReader *reader, Layout *layout, char *words) noexcept nogil
cdef bint reader_confirm(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil

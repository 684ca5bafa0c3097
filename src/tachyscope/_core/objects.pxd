from tachyscope._core.codes cimport CodeTable
from tachyscope._core.layout cimport Layout
from tachyscope._core.thread_reader cimport ThreadReader


cdef int objects_build(ThreadReader *reader, Layout *layout, CodeTable *codes) noexcept nogil

from tachyscope._core.codes cimport CodeTable
from tachyscope._core.layout cimport Layout
from tachyscope._core.thread_reader cimport ThreadReader


cdef int links_build(ThreadReader *reader, Layout *layout, CodeTable *codes) noexcept nogil

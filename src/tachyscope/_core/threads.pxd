from libc.stdint cimport uint64_t

from tachyscope._core.naming cimport Engine
from tachyscope._core.members cimport Group
from tachyscope._core.stopper cimport Stopper


cdef void group_stop(Group *group, Engine *engine, Stopper *stopper) noexcept nogil
cdef void group_warm(Group *group, Engine *engine) noexcept nogil
cdef int group_sample(Group *group, Engine *engine, uint64_t now) noexcept nogil

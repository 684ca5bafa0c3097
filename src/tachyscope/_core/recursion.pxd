from libc.stdint cimport uint32_t

from tachyscope._core.belief cimport Belief


cdef bint is_recursive(Belief *belief, uint32_t node) noexcept nogil
cdef bint is_certain(Belief *belief) noexcept nogil
cdef int recursion_believe(Belief *belief, uint32_t parent, uint32_t code, bint *sure) noexcept nogil
cdef void recursion_find(Belief *belief, uint32_t *ids, uint32_t count) noexcept nogil

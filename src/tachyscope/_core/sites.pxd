from libc.stdint cimport uint32_t

from tachyscope._core.belief cimport Belief


cdef void forget_callers(Belief *belief) noexcept nogil
cdef bint site_proves(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil
cdef bint site_has_proved(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil
cdef bint site_calls_only(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil
cdef uint32_t site_callee(Belief *belief, uint32_t parent) noexcept nogil

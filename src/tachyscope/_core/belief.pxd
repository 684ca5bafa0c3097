from libc.stdint cimport int64_t, uint32_t, uint64_t

from tachyscope._core.codes cimport CodeTable
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory
from tachyscope._core.regions cimport ThreadReader
from tachyscope._core.stacks cimport Tree


cdef struct Belief:
    Tree calls              # (node of the caller, code of the callee) pairs that were seen, with how often
    Tree *tree
    CodeTable *codes
    Memory *memory
    Layout *layout
    ThreadReader *reader    # of the thread that is sampled now
    bint heap               # frames are objects on the heap, to 3.10


cdef inline bint calls_may_be_short(Belief *belief) noexcept nogil:
    """Whether calls may be over before they can be read: up to 3.10, and where generators are in the stack."""
    return belief.heap or belief.reader.generators


cdef int belief_init(Belief *belief, Tree *tree, CodeTable *codes, bint heap) noexcept nogil
cdef void belief_clear(Belief *belief) noexcept nogil
cdef bint belief_is_proved(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil
cdef uint32_t belief_child(Belief *belief, uint32_t parent, uint32_t code, int64_t place, uint64_t now,
                           bint *sure) noexcept nogil
cdef void belief_count(Belief *belief, uint32_t *nodes, uint32_t count) noexcept nogil

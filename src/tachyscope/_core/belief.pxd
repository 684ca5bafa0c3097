from libc.stdint cimport int64_t, uint32_t, uint64_t

from tachyscope._core.codes cimport CodeTable
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory
from tachyscope._core.regions cimport ThreadReader
from tachyscope._core.stacks cimport Tree


# What `Belief.calls` counts of a call, in the place of an offset.
cdef enum Tag:
    STRICTLY                # seen in a strict read
    LOOSELY                 # seen
    ASKED                   # asked of the caller's instruction
    REFUSED                 # not believed
    PROVED                  # proved by that
    STEADY                  # seen while nothing was called or left
    UNSHOWN                 # seen where no strict read shows it, steady or not
    RIGHT                   # in a stack that has the right number of frames
    WRONG                   # innermost in one that has not
    # ... and with the caller's code and the offset in it instead of nodes: of an instruction
    SITE                    # the function that it calls, plus one
    SITE_TIMES              # how often that was found
    LINK                    # with the offset above, and the callee: that it was believed
    # ... and of the node below a recursion
    UNSEEN                  # with a number of calls instead of a function: stacks that had so many unseen ones
    LEAST_UNSEEN            # the lowest of these numbers
    STACKS                  # all of these stacks


cdef enum:
    DOUBTED = 0             # of a call in a stack: that is not counted
    BELIEVED = 1
    ONCE = 2                # in this stack only
    CERTAIN = 3             # times that are enough for any call


cdef struct Belief:
    Tree calls              # (node of the caller, code of the callee, Tag), with how often
    Tree *tree
    CodeTable *codes
    Memory *memory
    Layout *layout
    ThreadReader *reader    # of the thread that is sampled now
    uint64_t confirmed_ns   # when what was looked at once more had been read, and whether it was still there
    uint64_t counted_ns     # ... and the same of the last one whose unseen calls were counted
    bint confirmed
    uint32_t refused        # how many of these in a row were not
    bint moved              # ... and whether one of this sample was not
    bint innermost          # the call in question is the innermost one of the stack
    uint64_t stack          # number of the one that was searched for recursion last
    bint heap               # frames are objects on the heap, to 3.10


cdef inline bint calls_may_be_short(Belief *belief) noexcept nogil:
    """Whether calls may be over before they can be read: up to 3.10, and where generators are in the stack."""
    return belief.heap or belief.reader.generators


cdef int belief_init(Belief *belief, Tree *tree, CodeTable *codes, bint heap) noexcept nogil
cdef void belief_clear(Belief *belief) noexcept nogil
cdef void belief_distrust(Belief *belief) noexcept nogil
cdef uint32_t belief_node(Belief *belief, uint32_t parent, uint32_t code, int64_t place) noexcept nogil
cdef uint32_t belief_child(Belief *belief, uint32_t parent, uint32_t code, int64_t place, uint64_t now,
                           bint *sure) noexcept nogil
cdef bint belief_is_worth(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil
cdef void belief_count(Belief *belief, uint32_t *nodes, uint32_t count) noexcept nogil

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from tachyscope._core.codes cimport CodeTable
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory
from tachyscope._core.stacks cimport Tree


cdef struct Counters:
    uint64_t hits           # ticks for which a sample stands
    uint64_t missed         # ticks for which none does
    uint64_t reads          # samples that were tried; each stands for one tick or several
    uint64_t squares        # the sum over samples of the square of how many ticks each stands for
    uint64_t samples, failed # ticks of all threads together for which their stack was read, or could not be
    uint64_t interrupted
    uint64_t late           # reads of frames that were not expected
    uint64_t faults, reused


# What the threads of a process share: its memory, and what was learned of it.
cdef struct Engine:
    Memory memory
    Layout layout
    CodeTable codes
    Tree tree
    Counters counters
    uint64_t interval_ns


cdef struct Step:
    int64_t instr
    uint32_t code_id, node
    uint8_t opcode          # 0: not recorded


# The stack of a sample, outermost first. The first `named` steps are those of the last one, with their nodes.
cdef struct Path:
    Step *steps
    uint32_t depth, capacity, named
    uint64_t checked_ns     # when all its code objects were last looked at
    uint32_t doubted        # the code object for which something was taken for no part of the stack; NO_CODE: none


cdef enum Named:
    NAMED = 0
    REUSED = 1              # an address holds another code object: look the stack up again
    UNNAMED = 2             # it makes no sense


cdef int engine_init(Engine *engine) noexcept nogil
cdef void engine_clear(Engine *engine) noexcept nogil
cdef void path_clear(Path *path) noexcept nogil
cdef int path_push(Path *path, uint32_t code_id, int64_t instr) noexcept nogil
cdef int path_name(Engine *engine, Path *path, uint32_t max_depth, uint64_t now, uint32_t *node) noexcept nogil

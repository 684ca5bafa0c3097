from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.belief cimport Belief
from tachyscope._core.codes cimport CodeTable
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory
from tachyscope._core.regions cimport ThreadReader
from tachyscope._core.stacks cimport Tree


cdef struct Counters:
    uint64_t hits           # ticks at which a sample was tried
    uint64_t missed         # ticks that passed while something else was going on
    uint64_t samples, failed, left_out
    uint64_t retried, truncated, empty
    uint64_t torn, mispredicted, faults, reused, recalled


# What the threads of a process share: its memory, and what was learned of it.
cdef struct Engine:
    Memory memory
    Layout layout
    CodeTable codes
    Tree tree
    Belief belief
    Counters counters
    uint64_t interval_ns


# The stack of the last sample, root first, to which the next one is compared.
cdef struct Path:
    uintptr_t *codes
    int64_t *instrs
    uint8_t *opcodes        # 0: not recorded
    uint32_t *ids
    uint32_t *nodes
    uint32_t depth, capacity
    uint64_t checked_ns     # when all its code objects were last looked at


cdef struct Thread:
    ThreadReader reader
    uint64_t unique_id      # matters where it has a `link`
    Path path


# Samples by node of the tree; a slot is free while its samples are 0.
cdef struct Counts:
    uint32_t *nodes
    uint64_t *samples
    uint32_t used, slots


cdef int engine_init(Engine *engine) noexcept nogil
cdef void engine_clear(Engine *engine) noexcept nogil
cdef int thread_init(Thread *thread, uintptr_t address, uint32_t max_depth) noexcept nogil
cdef void thread_clear(Thread *thread) noexcept nogil
cdef int engine_sample(Engine *engine, Thread *thread, bint is_read, uint32_t *node) noexcept nogil
cdef uint32_t engine_special(Engine *engine, uint32_t node, uint32_t code) noexcept nogil
cdef int counts_add(Counts *counts, uint32_t node, uint64_t samples) noexcept nogil
cdef void counts_clear(Counts *counts) noexcept nogil

from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.naming cimport Engine
from tachyscope._core.reader cimport ThreadReader
from tachyscope._core.stacks cimport Counts
from tachyscope._core.memory cimport Reading


cdef enum Mode:
    WALL = 0         # every sample counts
    CPU = 1          # ... of a thread that is on a CPU
    GIL = 2          # ... that has the GIL
    EXCEPTION = 3    # ... that has an exception: one that is being raised or handled


cdef enum Flag:      # of a sample, beside those of `reader.Status`
    HOLDS = 16       # it has the GIL
    COLLECTS = 32    # garbage
    EXCEPTS = 64     # it has an exception


# A GIL, as it was when it was read last.
cdef struct Gil:
    uintptr_t address           # 0: there is none, threads run all the time
    uintptr_t holder            # the thread that has it, or had it last
    uint64_t switches           # how often another thread than before took it
    uint8_t locked, known
    uint8_t shared              # by several interpreters
    size_t first, second        # where the two readings of a round are


cdef struct Interp:
    uintptr_t address
    uintptr_t collecting_at     # the word that says whether its garbage collector runs
    uintptr_t head              # of its list of threads
    uint32_t gil
    uint8_t collecting          # garbage
    uint8_t rescan              # a thread was lost: go through the whole list when it is time
    uint64_t rescanned_ns
    size_t head_offset, collecting_offset


# A thread of the target, and what was counted of it. What does not change is counted when it does.
cdef struct Member:
    ThreadReader *thread        # NULL when the thread has ended
    uintptr_t address
    uint64_t unique_id, ident, native_id
    uint32_t interp
    int tid                     # kernel id as we see it, 0: not known yet
    int stat                    # descriptor of /proc/PID/task/TID/stat, -1: not known yet
    uint32_t node               # its stack since tick `since`, if `counting`
    uint64_t since
    uint64_t done               # the last tick at which it was looked at
    uint8_t flags
    uint8_t counting, settled, chosen, told
    uint8_t early               # it was read before the GIL was looked at
    size_t base                 # of what was read of it in the round's buffer
    Counts counts
    uint64_t samples, seen, failed, held, collecting, exceptions, looks, on_cpu_looks, waiting_looks


# The threads of a process that are sampled together.
cdef struct Group:
    Mode mode
    uint8_t all                 # threads, as they come and go; else the first member only
    uint8_t gc, native          # special frames that are wanted
    uint8_t blocking            # who has the GIL is stopped while a sample is read
    uint32_t max_depth
    Gil *gils
    Interp *interps
    uint32_t interp_count       # as many GILs; those that are the same have the same index
    Member **members
    uint32_t count, capacity
    Member **ended              # those whose threads are over, see `group_tidy`
    uint32_t ended_count, ended_capacity
    uint32_t blind              # rounds in a row that could not read all: perhaps an interpreter is gone
    uint32_t untold             # what the caller should look at: members that it does not know yet, or that it is blind
    uint32_t turn, stride       # whose turn it is to be looked at in CPU mode: one of so many
    uint32_t look               # who was looked at last otherwise, and when
    uint64_t looked_ns
    uint64_t tick
    uint64_t now_ns             # when this sample began
    uint64_t patience_ns        # a read that takes longer was interrupted, 0: not known yet
    uint8_t failed              # somebody's sample did, at this tick
    uint64_t watched_ns         # when the GILs were read last
    uintptr_t none              # the target's None, once it is known
    Reading reading                 # of all chosen threads, and of the GILs


cdef int group_init(Group *group, uint32_t max_depth) noexcept nogil
cdef void group_clear(Group *group) noexcept nogil
cdef void group_tidy(Group *group) noexcept nogil
cdef void group_close(Group *group, Engine *engine, uint64_t ticks) noexcept nogil
cdef void group_flush(Group *group, Engine *engine) noexcept nogil
cdef int group_set_interps(Group *group, Engine *engine, uintptr_t *triples, uint32_t count) noexcept nogil
cdef Member *group_add(Group *group, Engine *engine, uintptr_t address) noexcept nogil
cdef void group_retarget(Group *group, Engine *engine, uintptr_t address) noexcept nogil
cdef void group_find_new(Group *group, Engine *engine, uint32_t number, bint whole) noexcept nogil
cdef bint member_rejoin(Group *group, Engine *engine, Member *member) noexcept nogil
cdef void member_leave(Group *group, Engine *engine, Member *member) noexcept nogil
cdef void member_count(Group *group, Engine *engine, Member *member, uint64_t samples) noexcept nogil
cdef bint member_holds(Group *group, Member *member) noexcept nogil
cdef bint member_is_on_cpu(Group *group, Member *member) noexcept nogil
cdef bint member_waits_for(int pid, Member *member, uintptr_t gil) noexcept nogil
cdef void member_take(Group *group, Engine *engine, Member *member, uint32_t node) noexcept nogil
cdef void member_fail(Group *group, Engine *engine, Member *member) noexcept nogil

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.naming cimport Engine
from tachyscope._core.thread_reader cimport ThreadReader
from tachyscope._core.memory cimport Reading
from tachyscope._core.spans cimport Stream
from tachyscope._core.stopper cimport Stopper


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


# A thread of the target, and its state since tick `since`. A span is written when that changes.
cdef struct Member:
    ThreadReader *thread        # NULL when the thread has ended
    uintptr_t address
    uint64_t unique_id, ident, native_id
    uint64_t begin, end         # ticks, 0: it lives
    uint32_t track, interp
    int tid                     # kernel id as we see it, 0: not known yet
    int stat                    # descriptor of /proc/PID/task/TID/stat, -1: not known yet
    uint64_t since, since_weight
    uint64_t done               # the last tick at which it was looked at
    uint32_t node
    uint16_t status, known      # see `spans`
    uint16_t asked, answered    # what the kernel said the last time: bits of `status` and `known`
    uint8_t lasting             # it has a state
    uint8_t settled, chosen, told, listed
    uint8_t early               # it was read before the GIL was looked at
    size_t base                 # of what was read of it in the round's buffer


# The threads of a process that are sampled together.
cdef struct Group:
    uint8_t all                 # threads, as they come and go; else the first member only
    uint8_t gc, native          # special frames that are wanted
    uint8_t blocking            # who has the GIL is stopped while a sample is read
    Stopper *checks             # who is stopped for this sample, to check the others; mostly NULL
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
    uint8_t asks                # the kernel about threads with every sample
    uint32_t turn, stride       # whose turn it is to be asked about then: one of so many
    uint32_t look               # who was looked at last otherwise, and when
    uint64_t looked_ns
    Stream stream
    uint32_t tracks             # that there have been
    uint64_t tick               # its number, from the first one on
    uint64_t weight             # ticks for which samples stand so far
    uint64_t now_ns             # when this sample began
    uint64_t patience_ns        # a read that takes longer was interrupted, 0: not known yet
    uint64_t watched_ns         # when the GILs were read last
    uintptr_t none              # the target's None, once it is known
    Reading reading                 # of all chosen threads, and of the GILs


cdef int group_init(Group *group, uint32_t max_depth) noexcept nogil
cdef void group_clear(Group *group) noexcept nogil
cdef void group_tidy(Group *group) noexcept nogil
cdef void group_forget_ended(Group *group) noexcept nogil
cdef void group_flush(Group *group, Engine *engine) noexcept nogil
cdef int group_set_interps(Group *group, Engine *engine, uintptr_t *triples, uint32_t count) noexcept nogil
cdef Member *group_add(Group *group, Engine *engine, uintptr_t address) noexcept nogil
cdef void group_retarget(Group *group, Engine *engine, uintptr_t address) noexcept nogil
cdef void group_find_new(Group *group, Engine *engine, uint32_t number, bint whole) noexcept nogil
cdef bint member_rejoin(Group *group, Engine *engine, Member *member) noexcept nogil
cdef void member_leave(Group *group, Engine *engine, Member *member) noexcept nogil
cdef Gil *member_gil(Group *group, Member *member) noexcept nogil
cdef bint member_holds(Group *group, Member *member) noexcept nogil
cdef bint member_is_on_cpu(Group *group, Member *member) noexcept nogil
cdef bint member_waits_for(int pid, Member *member, uintptr_t gil) noexcept nogil
cdef void member_hear(Group *group, Engine *engine, Member *member, uint16_t asked, uint16_t answered) noexcept nogil
cdef void member_take(Group *group, Engine *engine, Member *member, uint32_t node) noexcept nogil
cdef void member_fail(Group *group, Engine *engine, Member *member) noexcept nogil

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""All threads of a process at one moment, at the cost of those that ran. Used from compiled code only.

A Python stack changes only while its thread holds the GIL. The GIL counts how often another thread than before took
it, so what was read of a thread stays its stack until that count, or the holder, says that it may have run:

- the holder, or the last one while nobody has the GIL, is read with every sample;
- if the GIL went from one thread to another, once, both are read again;
- if it changed hands more often, all are.

Everything that a sample needs is read in one call, between two readings of the GIL. A thread that was read while the
GIL did not change hands, and that did not hold it, is settled. Samples of settled threads cost nothing: they are
counted when the stack changes. Where there is no GIL (free-threaded builds), no thread is ever settled.

Whether a thread still exists is seen where the list of threads points to it, which is read with it. New ones appear
at the head of that list.
"""

from libc.errno cimport EPERM, ESRCH
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.frames cimport int32_at, word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.members cimport (
    Gil, Group, Interp, Member,
    group_find_new, member_fail, member_gil, member_hear, member_holds, member_is_on_cpu, member_leave, member_rejoin,
    member_take, member_waits_for,
)
from tachyscope._core.memory cimport memory_read, memory_readv, now_ns, reading_add, reading_begin, reading_reserve
from tachyscope._core.naming cimport Engine
from tachyscope._core.reader cimport reader_prepare, reader_sample
from tachyscope._core.thread_reader cimport DENIED, FAULT, GONE, INTERRUPTED, NONSENSE, NOT_READ, SAMPLED, UNLINKED
from tachyscope._core.spans cimport FAILED, ON_CPU, WAITS_GIL
from tachyscope._core.stopper cimport Stopper, stopper_has, stopper_stop


cdef enum:
    MANY = 64
    TICK_MAX_NS = 100000000    # what a program with so many threads may take of one sample: some make no sense on purpose
    HOLDERS = 8                # of a GIL, one after the other, that are stopped for one sample
    BLIND = 8                  # rounds in a row that could not read all: the caller should look at the interpreters
    ROUNDS = 3                 # reads of those that turned out to have run, for one sample
    WATCH_EVERY_NS = 40000     # at rates above this the state of the GIL may be that of so long ago
    RESCAN_EVERY_NS = 20000000 # how often, at most, whole lists of threads are gone through
    LOOK_EVERY_NS = 2000000    # how often the kernel is asked about a thread where no mode needs it
    LOOKS = 8                  # threads that the kernel is asked about for one sample in CPU mode, about


# ---- one round: what is read in one call ---------------------------------------------------------------------------

cdef inline size_t _gil_bytes(Layout *layout) noexcept nogil:
    return layout.gil_switches + 8 - layout.gil_holder


cdef int _reserve(Group *group, Layout *layout) noexcept nogil:
    """Room for all that the chosen ones want to read; -1 if there is no memory for it."""
    cdef uint32_t ranges = 4 * group.interp_count, i
    cdef size_t size = (2 * _gil_bytes(layout) + 4 + 8) * group.interp_count  # see `_expect_gils`, `_expect_interps`
    for i in range(group.count):
        if group.members[i].chosen:
            ranges += group.members[i].thread.reading.count
            size += group.members[i].thread.reading.size
    return reading_reserve(&group.reading, ranges, size)


cdef void _expect_gils(Group *group, Layout *layout, bint second) noexcept nogil:
    cdef size_t size = _gil_bytes(layout), place
    cdef uint32_t i
    for i in range(group.interp_count):
        if group.interps[i].gil == i and group.gils[i].address:
            place = reading_add(&group.reading, group.gils[i].address + layout.gil_holder, size)
            if second:
                group.gils[i].second = place
            else:
                group.gils[i].first = place


cdef void _expect_interps(Group *group, Layout *layout) noexcept nogil:
    cdef Interp *interp
    cdef uint32_t i
    for i in range(group.interp_count):
        interp = &group.interps[i]
        interp.collecting_offset = reading_add(&group.reading, interp.collecting_at, 4)
        if group.all:
            interp.head_offset = reading_add(&group.reading, interp.address + layout.interp_thread_head, 8)


cdef void _expect_member(Group *group, Member *member) noexcept nogil:
    cdef uint32_t i
    member.base = group.reading.size
    for i in range(member.thread.reading.count):
        reading_add(&group.reading, <uintptr_t>member.thread.reading.ranges[i].iov_base,
                    member.thread.reading.ranges[i].iov_len)


cdef int _lay_out(Group *group, Engine *engine) noexcept nogil:
    """Write down what a round reads. Who runs is read before all else: nothing has disturbed it then."""
    cdef Member *member
    cdef uint32_t i
    for i in range(group.count):
        if group.members[i].chosen and reader_prepare(group.members[i].thread, engine) < 0:
            return -1
    if _reserve(group, &engine.layout) < 0:
        return -1
    reading_begin(&group.reading)
    for i in range(group.count):
        member = group.members[i]
        member.early = member.chosen and (not group.all or member_holds(group, member))
        if member.early:
            _expect_member(group, member)
    _expect_gils(group, &engine.layout, False)
    for i in range(group.count):
        if group.members[i].chosen and not group.members[i].early:
            _expect_member(group, group.members[i])
    _expect_gils(group, &engine.layout, True)
    _expect_interps(group, &engine.layout)
    return 0


cdef void _unsettle(Group *group, uint32_t gil, uintptr_t holder) noexcept nogil:
    """What was read of the threads of a GIL, or of one of them (`holder`), need not hold any more."""
    cdef Member *member
    cdef uint32_t i
    for i in range(group.count):
        member = group.members[i]
        if member.settled and group.interps[member.interp].gil == gil and (holder == 0 or member.address == holder):
            member.settled = False


cdef void _see(Group *group, Engine *engine, uint32_t number, char *copy) noexcept nogil:
    """Take note of a reading of a GIL."""
    cdef Gil *gil = &group.gils[number]
    cdef Layout *layout = &engine.layout
    cdef uintptr_t holder = word_at(copy)
    cdef uint64_t switches = word_at(copy + layout.gil_switches - layout.gil_holder)
    if not gil.known or switches - gil.switches > 1:
        _unsettle(group, number, 0)
    elif switches != gil.switches and holder == gil.holder:
        _unsettle(group, number, 0)  # not read at one moment
    elif holder != gil.holder:
        if gil.holder:
            _unsettle(group, number, gil.holder)
        if holder:
            _unsettle(group, number, holder)
    gil.holder, gil.switches, gil.known = holder, switches, True
    gil.locked = int32_at(copy + layout.gil_locked - layout.gil_holder) == 1


cdef bint _changed_hands(Group *group, Engine *engine, uint32_t number) noexcept nogil:
    """Whether the two readings of a GIL differ in who has it."""
    cdef Gil *gil = &group.gils[number]
    cdef char *first = group.reading.buffer + gil.first
    cdef char *second = group.reading.buffer + gil.second
    cdef int32_t switches = engine.layout.gil_switches - engine.layout.gil_holder
    return word_at(first) != word_at(second) or word_at(first + switches) != word_at(second + switches)


cdef void _look_for_new(Group *group, Engine *engine, uint32_t number) noexcept nogil:
    """See whether the list of threads begins elsewhere than the last time, or a thread was lost."""
    cdef Interp *interp = &group.interps[number]
    cdef uintptr_t head = word_at(group.reading.buffer + interp.head_offset)
    if interp.rescan and group.now_ns - interp.rescanned_ns > RESCAN_EVERY_NS:
        interp.rescan, interp.rescanned_ns, interp.head = False, group.now_ns, head
        group_find_new(group, engine, number, True)
    elif head != interp.head:
        interp.head = head
        group_find_new(group, engine, number, False)


cdef void _watch(Group *group, Engine *engine, bint whole) noexcept nogil:
    """Take note of what was read of GILs and interpreters, if all of it was."""
    cdef Interp *interp
    cdef uint32_t i
    for i in range(group.interp_count):
        if group.interps[i].gil == i and group.gils[i].address:
            if whole:
                _see(group, engine, i, group.reading.buffer + group.gils[i].first)
            else:
                group.gils[i].known = False
                _unsettle(group, i, 0)
    for i in range(group.interp_count if whole else 0):
        interp = &group.interps[i]
        interp.collecting = int32_at(group.reading.buffer + interp.collecting_offset) != 0
        if group.all:
            _look_for_new(group, engine, i)


cdef void _watch_again(Group *group, Engine *engine) noexcept nogil:
    """The second readings: who was read between two equal ones, and did not hold the GIL, is settled."""
    cdef Member *member
    cdef Gil *gil
    cdef uint32_t i
    for i in range(group.count):
        member = group.members[i]
        gil = member_gil(group, member)
        if (member.chosen and member.lasting and not member.status & FAILED and member.done == group.tick
                and member.thread != NULL and gil != NULL):
            # Up to 3.11 the states of interpreters that share a GIL take turns without it changing hands.
            member.settled = (gil.known and not gil.shared and not member.early and gil.holder != member.address
                              and not _changed_hands(group, engine, group.interps[member.interp].gil))
    for i in range(group.interp_count):
        if group.interps[i].gil == i and group.gils[i].known and _changed_hands(group, engine, i):
            _see(group, engine, i, group.reading.buffer + group.gils[i].second)


cdef int _sample_member(Group *group, Engine *engine, Member *member, ssize_t got) noexcept nogil:
    """The outcome of a sample of one thread, after which it may have been found to be over."""
    cdef uint32_t node = 0
    cdef int outcome
    member.done = group.tick
    if group.count > MANY and now_ns() - group.now_ns > TICK_MAX_NS:
        member_fail(group, engine, member)
        return NONSENSE
    outcome = reader_sample(member.thread, engine, got, &node)
    if outcome == INTERRUPTED:
        return outcome
    if outcome == UNLINKED or (outcome == FAULT and group.all):  # it may have ended
        outcome = UNLINKED
        if member_rejoin(group, engine, member):
            outcome = reader_sample(member.thread, engine, NOT_READ, &node)
    if outcome == UNLINKED:
        member_leave(group, engine, member)
        return SAMPLED
    if outcome == SAMPLED:
        member_take(group, engine, member, node)
    elif outcome != GONE and outcome != DENIED:
        member_fail(group, engine, member)
    return outcome


cdef int _round(Group *group, Engine *engine, bint first) noexcept nogil:
    """Read the chosen threads in one call, and take their samples. SAMPLED unless all of them failed."""
    cdef Member *member
    cdef ssize_t got
    cdef uint32_t i, count = group.count
    cdef uint64_t now
    cdef bint whole
    cdef int outcome, result = -1
    if _lay_out(group, engine) < 0:
        return FAULT
    got = memory_readv(&engine.memory, group.reading.buffer, group.reading.ranges, group.reading.count)
    if got == -ESRCH or got == -EPERM:
        return GONE if got == -ESRCH else DENIED
    now = now_ns()
    if first and group.patience_ns and now - group.now_ns > group.patience_ns:
        return INTERRUPTED
    whole = got == <ssize_t>group.reading.size
    group.blind = 0 if whole else group.blind + 1
    if group.blind == BLIND:
        group.blind = 0
        group.untold += 1
    group.watched_ns = now
    _watch(group, engine, whole)
    for i in range(count):
        member = group.members[i]
        if not member.chosen or member.thread == NULL:
            continue
        member.thread.buffer = group.reading.buffer + member.base
        member.thread.read_ns = now
        outcome = _sample_member(group, engine, member, max(got - <ssize_t>member.base, <ssize_t>0))
        if outcome == GONE or outcome == DENIED:
            return outcome
        result = outcome if result != SAMPLED else SAMPLED
    if whole:
        _watch_again(group, engine)
    return result if result != -1 else SAMPLED


cdef void group_warm(Group *group, Engine *engine) noexcept nogil:
    """Read a word that tells nothing, so that the next read is quick: after a sleep the kernel's code and the target's
    page tables have left the caches, and the longer it takes from the first byte to the last, the less they are of one
    moment."""
    cdef uintptr_t word
    if group.count and group.members[0].thread != NULL:
        memory_read(&engine.memory, group.members[0].thread.address, &word, sizeof(word))


# ---- one sample ---------------------------------------------------------------------------------------------------

cdef int _sample_first(Group *group, Engine *engine) noexcept nogil:
    """The first member only. At very high rates the GIL is not looked at each time."""
    cdef Member *member = group.members[0]
    if group.interp_count == 0 or group.now_ns - group.watched_ns < WATCH_EVERY_NS:
        member.thread.deadline_ns = group.now_ns + group.patience_ns if group.patience_ns else 0
        return _sample_member(group, engine, member, NOT_READ)
    member.chosen = True
    member.thread.deadline_ns = 0
    return _round(group, engine, True)


cdef uint32_t _choose(Group *group) noexcept nogil:
    """Choose who has to be read: who may have run since."""
    cdef Member *member
    cdef uint32_t i, chosen = 0
    for i in range(group.count):
        member = group.members[i]
        member.chosen = member.thread != NULL and member.done != group.tick and not member.settled
        chosen += member.chosen
    return chosen


cdef int _sample_all(Group *group, Engine *engine) noexcept nogil:
    cdef uint32_t round, i
    cdef Member *member
    cdef int outcome = SAMPLED
    for round in range(ROUNDS):
        if _choose(group) == 0 and round:
            break
        outcome = _round(group, engine, round == 0)
        if outcome == GONE or outcome == DENIED or outcome == INTERRUPTED:
            return outcome
    for i in range(group.count):
        member = group.members[i]
        if member.thread != NULL and not member.settled and member.done != group.tick:
            _sample_member(group, engine, member, NOT_READ)  # it ran again in the last round
    return outcome


cdef void _ask_about(Group *group, Engine *engine, Member *member, bint waits) noexcept nogil:
    """Ask the kernel what a thread does, and if `waits`, what it waits for."""
    cdef Gil *gil = member_gil(group, member)
    cdef uint16_t asked = 0
    if member_is_on_cpu(group, member):
        asked = ON_CPU
    elif waits and gil != NULL and not member_holds(group, member):
        asked = WAITS_GIL if member_waits_for(engine.memory.pid, member, gil.address) else 0
    member_hear(group, engine, member, asked, ON_CPU | (WAITS_GIL if waits else 0))


cdef void _ask_all(Group *group, Engine *engine) noexcept nogil:
    """Ask the kernel about those that may be on a CPU: who has a GIL, and of the others some in turn."""
    cdef Member *member
    cdef uint32_t i
    group.stride = (group.count + LOOKS - 1) / LOOKS if group.count else 1
    group.turn = (group.turn + 1) % group.stride
    for i in range(group.count):
        member = group.members[i]
        if member.thread != NULL and member.stat >= 0 and (
                i % group.stride == group.turn or member_holds(group, member)):
            _ask_about(group, engine, member, False)


cdef void _ask_one(Group *group, Engine *engine) noexcept nogil:
    """Ask the kernel about one thread now and then."""
    cdef Member *member
    cdef uint32_t step
    if group.now_ns - group.looked_ns < LOOK_EVERY_NS or group.count == 0:
        return
    group.looked_ns = group.now_ns
    for step in range(group.count):
        group.look = (group.look + 1) % group.count
        member = group.members[group.look]
        if member.stat >= 0:
            _ask_about(group, engine, member, True)
            return


cdef Member *_member_at(Group *group, uintptr_t address) noexcept nogil:
    cdef uint32_t i
    for i in range(group.count):
        if group.members[i].address == address and group.members[i].thread != NULL:
            return group.members[i]
    return NULL


cdef void _stop_holder(Group *group, Engine *engine, Stopper *stopper, uintptr_t gil) noexcept nogil:
    """Stop the thread that has a GIL. By the time that it stops another one may have it; then that one, too."""
    cdef Layout *layout = &engine.layout
    cdef int32_t locked = 0, attempt
    cdef uintptr_t holder = 0
    cdef Member *member
    for attempt in range(HOLDERS):
        if (memory_read(&engine.memory, gil + layout.gil_locked, &locked, 4) != 4 or locked != 1
                or memory_read(&engine.memory, gil + layout.gil_holder, &holder, 8) != 8):
            return
        member = _member_at(group, holder)
        if member == NULL or member.tid == 0 or stopper_has(stopper, member.tid):
            return
        if not stopper_stop(stopper, member.tid):
            return


cdef void group_stop(Group *group, Engine *engine, Stopper *stopper) noexcept nogil:
    """Stop what could change a stack: the threads that have a GIL, or where there is none, all. Nobody else runs
    Python until `stopper_go`, unless the GIL was free and is taken meanwhile, or its holder is not known yet: then the
    sample is as true as without."""
    cdef Gil *gil
    cdef uint32_t i
    for i in range(group.interp_count):
        if group.interps[i].gil == i and group.gils[i].address:
            _stop_holder(group, engine, stopper, group.gils[i].address)
    for i in range(group.count):
        gil = member_gil(group, group.members[i])
        if group.members[i].thread != NULL and group.members[i].tid and gil != NULL and gil.address == 0:
            stopper_stop(stopper, group.members[i].tid)


cdef int group_sample(Group *group, Engine *engine, uint64_t now) noexcept nogil:
    """One sample of all threads, or of the first: SAMPLED, FAULT if nothing could be read, GONE or DENIED."""
    cdef int outcome
    group.now_ns = now
    outcome = _sample_all(group, engine) if group.all else _sample_first(group, engine)
    if outcome == GONE or outcome == DENIED or outcome == INTERRUPTED:
        return outcome
    if group.asks:
        _ask_all(group, engine)
    else:
        _ask_one(group, engine)
    return outcome

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
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset, strrchr

from tachyscope._core.codes cimport CODE_GC
from tachyscope._core.engine cimport (
    Engine, counts_add, counts_clear, engine_sample, engine_special, thread_clear, thread_init,
)
from tachyscope._core.frames cimport int32_at, word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport iovec, memory_read, memory_readv, now_ns
from tachyscope._core.regions cimport (
    DENIED, FAULT, GONE, SAMPLED, UNLINKED, ThreadReader,
    reader_forget, reader_prepare, reader_relink, reader_state,
)

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void *buffer, size_t size, long long offset)
    int close(int fd)


cdef enum:
    ROUNDS = 3                 # reads of those that turned out to have run, for one sample
    MEMBERS_MAX = 1 << 16
    EXCEPTIONS_MAX = 64        # levels of handlers that are looked through
    WATCH_EVERY_NS = 40000     # at rates above this the state of the GIL may be that of so long ago
    LOOK_EVERY_NS = 1000000    # how often the kernel is asked about a thread where no mode needs it
    LOOKS = 8                  # threads that the kernel is asked about for one sample in CPU mode, about
    STAT_BYTES = 512
    ITEM_BYTES = 136           # of a _PyErr_StackItem, see `bounds`


# ---- beginning and end --------------------------------------------------------------------------------------------

cdef int group_init(Group *group, uint32_t max_depth) noexcept nogil:
    memset(group, 0, sizeof(Group))
    group.max_depth, group.stride, group.gc = max_depth, 1, True
    return 0


cdef void _end(Member *member) noexcept nogil:
    """The thread is over; what was counted of it stays."""
    if member.thread != NULL:
        thread_clear(member.thread)
        free(member.thread)
        member.thread = NULL
    if member.stat >= 0:
        close(member.stat)
        member.stat = -1
    member.settled = member.counting = False


cdef void _free(Member *member) noexcept nogil:
    _end(member)
    counts_clear(&member.counts)
    free(member)


cdef void group_clear(Group *group) noexcept nogil:
    cdef uint32_t i
    for i in range(group.count):
        _free(group.members[i])
    for i in range(group.ended_count):
        _free(group.ended[i])
    free(group.members)
    free(group.ended)
    free(group.gils)
    free(group.interps)
    free(group.remote)
    free(group.buffer)
    memset(group, 0, sizeof(Group))


cdef void group_tidy(Group *group) noexcept nogil:
    """Put the members whose threads are over aside."""
    cdef uint32_t capacity = 2 * group.ended_capacity + group.count, i, kept = 0
    cdef void *grown
    if group.ended_count + group.count > group.ended_capacity:
        grown = realloc(group.ended, capacity * sizeof(Member *))
        if grown == NULL:
            return
        group.ended, group.ended_capacity = <Member **>grown, capacity
    for i in range(group.count):
        if group.members[i].thread == NULL:
            group.ended[group.ended_count] = group.members[i]
            group.ended_count += 1
        else:
            group.members[kept] = group.members[i]
            kept += 1
    group.count = kept


cdef Member *group_add(Group *group, uintptr_t address) noexcept nogil:
    """A new member for the thread state at `address`; NULL if there is no memory for it."""
    cdef uint32_t capacity = 2 * group.capacity + 16
    cdef Member *member
    cdef void *grown
    if group.count == MEMBERS_MAX:
        return NULL
    if group.count == group.capacity:
        grown = realloc(group.members, capacity * sizeof(Member *))
        if grown == NULL:
            return NULL
        group.members, group.capacity = <Member **>grown, capacity
    member = <Member *>calloc(1, sizeof(Member))
    if member == NULL:
        return NULL
    member.thread = <Thread *>calloc(1, sizeof(Thread))
    if member.thread == NULL or thread_init(member.thread, address, group.max_depth) < 0:
        free(member.thread)
        free(member)
        return NULL
    member.address, member.stat = address, -1
    group.members[group.count] = member
    group.count += 1
    return member


cdef void group_retarget(Group *group, Engine *engine, uintptr_t address) noexcept nogil:
    """Let the first member be another thread from now on."""
    cdef Member *member = group.members[0]
    if member.address != address:
        _flush(group, engine, member, group.tick + 1)
        member.counting = member.settled = False
        reader_forget(&member.thread.reader)
        member.address = member.thread.reader.address = address


cdef int group_set_interps(Group *group, Engine *engine, uintptr_t *pairs, uint32_t count) noexcept nogil:
    """The interpreters of the process: pairs of (address, address of its GIL); -1 if there is no memory for them."""
    cdef Interp *interps
    cdef Gil *gils
    cdef uint32_t i, j
    if count == group.interp_count:
        for i in range(count):
            if group.interps[i].address != pairs[2 * i] or group.gils[group.interps[i].gil].address != pairs[2 * i + 1]:
                break
        else:
            return 0
    interps, gils = <Interp *>calloc(count, sizeof(Interp)), <Gil *>calloc(count, sizeof(Gil))
    if interps == NULL or gils == NULL:
        free(interps)
        free(gils)
        return -1
    for i in range(count):
        interps[i].address, gils[i].address, interps[i].gil = pairs[2 * i], pairs[2 * i + 1], i
        for j in range(i):
            if gils[j].address and gils[j].address == gils[i].address:
                interps[i].gil = j
                break
    for i in range(group.count):
        _move(group, group.members[i], interps, count)
    free(group.interps)
    free(group.gils)
    group.interps, group.gils, group.interp_count = interps, gils, count
    return 0


cdef void _move(Group *group, Member *member, Interp *interps, uint32_t count) noexcept nogil:
    """Find a member's interpreter in a new list of them; without one it is left to be found missing."""
    cdef uintptr_t address = group.interps[member.interp].address if member.interp < group.interp_count else 0
    cdef uint32_t i
    member.interp = 0
    member.settled = False
    for i in range(count):
        if interps[i].address == address:
            member.interp = i


# ---- threads come and go ------------------------------------------------------------------------------------------

cdef Member *_member_at(Group *group, uintptr_t address) noexcept nogil:
    cdef uint32_t i
    for i in range(group.count):
        if group.members[i].address == address and group.members[i].thread != NULL:
            return group.members[i]
    return NULL


cdef bint _read_word(Engine *engine, uintptr_t address, uintptr_t *word) noexcept nogil:
    return memory_read(&engine.memory, address, word, 8) == 8


cdef bint _rejoin(Group *group, Engine *engine, Member *member) noexcept nogil:
    """Whether a thread is still in the list, though not where it was: the one before it has ended, or a new one is
    there."""
    cdef uintptr_t previous = 0, linked = 0, unique_id = 0, link
    cdef Interp *interp = &group.interps[member.interp]
    if not _read_word(engine, member.address + engine.layout.thread_prev, &previous):
        return False
    link = (previous + engine.layout.thread_next) if previous else interp.address + engine.layout.interp_thread_head
    if not _read_word(engine, link, &linked) or linked != member.address:
        return False
    if not _read_word(engine, member.address + engine.layout.thread_unique_id, &unique_id):
        return False
    if unique_id != member.unique_id:
        return False
    reader_relink(&member.thread.reader, link)
    return True


cdef Member *_join(Group *group, Engine *engine, uint32_t interp, uintptr_t address) noexcept nogil:
    """A member for a thread state that was not known; NULL if it is none of this interpreter, by now."""
    cdef uintptr_t owner = 0, unique_id = 0
    cdef Member *member
    if not _read_word(engine, address + engine.layout.thread_interp, &owner) or owner != group.interps[interp].address:
        return NULL
    if not _read_word(engine, address + engine.layout.thread_unique_id, &unique_id):
        return NULL
    member = group_add(group, address)
    if member != NULL:
        member.interp, member.unique_id, member.told = interp, unique_id, True  # for its ids: see `_identify`
    return member


cdef void _find_new(Group *group, Engine *engine, uint32_t number) noexcept nogil:
    """Walk the list of an interpreter's threads from its head to the first one that is known."""
    cdef Interp *interp = &group.interps[number]
    cdef uintptr_t link = interp.address + engine.layout.interp_thread_head, address = 0
    cdef Member *member
    cdef uint32_t steps
    for steps in range(MEMBERS_MAX):
        if not _read_word(engine, link, &address) or address == 0:
            return
        member = _member_at(group, address)
        if member != NULL:
            reader_relink(&member.thread.reader, link)
            if _rejoin(group, engine, member):
                return
            _leave(group, engine, member)
        member = _join(group, engine, number, address)
        if member == NULL:
            return
        reader_relink(&member.thread.reader, link)
        link = address + engine.layout.thread_next


cdef void _leave(Group *group, Engine *engine, Member *member) noexcept nogil:
    _flush(group, engine, member, group.tick)
    _end(member)


# ---- counting -----------------------------------------------------------------------------------------------------

cdef void _count(Group *group, Engine *engine, Member *member, uint64_t samples) noexcept nogil:
    counts_add(&member.counts, member.node, samples)
    member.samples += samples
    engine.counters.samples += samples
    engine.counters.truncated += samples if member.truncated else 0
    engine.counters.empty += samples if member.node == 0 else 0


cdef void _flush(Group *group, Engine *engine, Member *member, uint64_t tick) noexcept nogil:
    """Count what was not counted yet of the ticks before `tick`."""
    cdef uint64_t samples = tick - member.since
    if not member.counting or samples == 0:
        return
    member.since = tick
    member.exceptions += samples if member.exception else 0
    if group.mode == WALL or (group.mode == EXCEPTION and member.exception):
        _count(group, engine, member, samples)
    elif group.mode == EXCEPTION:
        engine.counters.left_out += samples


cdef void group_flush(Group *group, Engine *engine) noexcept nogil:
    cdef uint32_t i
    for i in range(group.count):
        _flush(group, engine, group.members[i], group.tick + 1)


cdef bint _holds(Group *group, Member *member) noexcept nogil:
    cdef Gil *gil
    if member.interp >= group.interp_count:
        return False
    gil = &group.gils[group.interps[member.interp].gil]
    return gil.known and gil.locked and gil.holder == member.address


cdef bint _is_none(Group *group, Engine *engine, uintptr_t value) noexcept nogil:
    cdef uintptr_t type_address = 0, name_address = 0
    cdef char name[9]
    if value == group.none or group.none:
        return value == group.none
    if (not _read_word(engine, value + engine.layout.object_type, &type_address)
            or not _read_word(engine, type_address + engine.layout.type_name, &name_address)
            or memory_read(&engine.memory, name_address, name, 9) != 9 or memcmp(name, b"NoneType\0", 9) != 0):
        return False
    group.none = value
    return True


cdef bint _has_exception(Group *group, Engine *engine, Member *member) noexcept nogil:
    """Whether an exception is being raised or handled in a thread that was just read."""
    cdef Layout *layout = &engine.layout
    cdef ThreadReader *reader = &member.thread.reader
    cdef uintptr_t item = reader_state(reader, layout, layout.thread_exc_info), value
    cdef char copy[ITEM_BYTES]
    cdef int level
    if reader_state(reader, layout, layout.thread_exception):
        return True
    for level in range(EXCEPTIONS_MAX):
        if item == member.address + layout.thread_exc_state:
            value = reader_state(reader, layout, layout.thread_exc_state + layout.exc_value)
            return value != 0 and not _is_none(group, engine, value)
        if item == 0 or memory_read(&engine.memory, item, copy, ITEM_BYTES) != ITEM_BYTES:
            return False
        value = word_at(copy + layout.exc_value)
        if value and not _is_none(group, engine, value):
            return True
        item = word_at(copy + layout.exc_previous)
    return False


cdef bint _is_on_cpu(Member *member) noexcept nogil:
    """Whether the kernel runs the thread, or would like to."""
    cdef char text[STAT_BYTES]
    cdef char *end
    cdef ssize_t got
    if member.stat < 0:
        return False
    got = pread(member.stat, text, STAT_BYTES - 1, 0)
    if got <= 0:
        return False
    text[got] = 0
    end = strrchr(text, c')')
    return end != NULL and end + 2 < text + got and end[2] == c'R'


cdef void _identify(Group *group, Engine *engine, Member *member) noexcept nogil:
    """A thread state is made by another thread, and has that one's ids until its own thread begins."""
    cdef ThreadReader *reader = &member.thread.reader
    cdef uint64_t ident = reader_state(reader, &engine.layout, engine.layout.thread_id), native_id = 0
    if engine.layout.thread_native_id >= 0:
        native_id = reader_state(reader, &engine.layout, engine.layout.thread_native_id)
    if ident != member.ident or native_id != member.native_id:
        member.ident, member.native_id = ident, native_id
        group.untold += member.told
        member.told = False


cdef void _take(Group *group, Engine *engine, Member *member, uint32_t node) noexcept nogil:
    """A thread has this stack at this tick, and until something else is known."""
    cdef bint holds = _holds(group, member), exception = _has_exception(group, engine, member)
    cdef uint8_t truncated = member.thread.reader.truncated
    if group.all:
        _identify(group, engine, member)
    if holds and group.interps[member.interp].collecting:
        member.collecting += 1
        if group.gc:
            node = engine_special(engine, node, CODE_GC)
    member.held += holds
    if not (member.counting and member.node == node and member.exception == exception
            and member.truncated == truncated):
        _flush(group, engine, member, group.tick)
        member.node, member.exception, member.truncated = node, exception, truncated
        member.since, member.counting = group.tick, True


cdef void _fail(Group *group, Engine *engine, Member *member) noexcept nogil:
    _flush(group, engine, member, group.tick)
    member.counting = member.settled = False
    member.failed += 1
    engine.counters.failed += 1


# ---- one round: what is read in one call ---------------------------------------------------------------------------

cdef int _reserve(Group *group) noexcept nogil:
    """Room for all that the chosen ones want to read; -1 if there is no memory for it."""
    cdef uint32_t ranges = 4 * group.interp_count, i
    cdef size_t size = 96 * group.interp_count
    cdef void *grown
    for i in range(group.count):
        if group.members[i].chosen:
            ranges += group.members[i].thread.reader.remote_count
            size += group.members[i].thread.reader.buffer_size
    if ranges > group.remote_capacity:
        grown = realloc(group.remote, 2 * ranges * sizeof(iovec))
        if grown == NULL:
            return -1
        group.remote, group.remote_capacity = <iovec *>grown, 2 * ranges
    if size > group.buffer_capacity:
        grown = realloc(group.buffer, 2 * size)
        if grown == NULL:
            return -1
        group.buffer, group.buffer_capacity = <char *>grown, 2 * size
    return 0


cdef size_t _expect(Group *group, uintptr_t address, size_t size) noexcept nogil:
    cdef iovec *range = &group.remote[group.remote_count]
    range.iov_base = <void *>address
    range.iov_len = size
    group.remote_count += 1
    group.buffer_size += size
    return group.buffer_size - size


cdef void _expect_gils(Group *group, Layout *layout, bint second) noexcept nogil:
    cdef size_t size = layout.gil_switches + 8 - layout.gil_holder, place
    cdef uint32_t i
    for i in range(group.interp_count):
        if group.interps[i].gil == i and group.gils[i].address:
            place = _expect(group, group.gils[i].address + layout.gil_holder, size)
            if second:
                group.gils[i].second = place
            else:
                group.gils[i].first = place


cdef void _expect_interps(Group *group, Layout *layout) noexcept nogil:
    cdef Interp *interp
    cdef uint32_t i
    for i in range(group.interp_count):
        interp = &group.interps[i]
        if layout.interp_collecting >= 0:
            interp.collecting_offset = _expect(group, interp.address + layout.interp_collecting, 4)
        if group.all:
            interp.head_offset = _expect(group, interp.address + layout.interp_thread_head, 8)


cdef int _lay_out(Group *group, Engine *engine) noexcept nogil:
    cdef Member *member
    cdef uint32_t i
    for i in range(group.count):
        if group.members[i].chosen and reader_prepare(&group.members[i].thread.reader, &engine.layout) < 0:
            return -1
    if _reserve(group) < 0:
        return -1
    group.remote_count = 0
    group.buffer_size = 0
    _expect_gils(group, &engine.layout, False)
    for i in range(group.count):
        member = group.members[i]
        if member.chosen:
            member.base = group.buffer_size
            memcpy(&group.remote[group.remote_count], member.thread.reader.remote,
                   member.thread.reader.remote_count * sizeof(iovec))
            group.remote_count += member.thread.reader.remote_count
            group.buffer_size += member.thread.reader.buffer_size
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
    elif holder != gil.holder or switches != gil.switches:
        if gil.holder:
            _unsettle(group, number, gil.holder)
        if holder:
            _unsettle(group, number, holder)
    gil.holder, gil.switches, gil.known = holder, switches, True
    gil.locked = int32_at(copy + layout.gil_locked - layout.gil_holder) == 1


cdef bint _changed_hands(Group *group, Engine *engine, uint32_t number) noexcept nogil:
    """Whether the two readings of a GIL differ in who has it."""
    cdef Gil *gil = &group.gils[number]
    cdef char *first = group.buffer + gil.first
    cdef char *second = group.buffer + gil.second
    cdef int32_t switches = engine.layout.gil_switches - engine.layout.gil_holder
    return word_at(first) != word_at(second) or word_at(first + switches) != word_at(second + switches)


cdef void _watch(Group *group, Engine *engine, bint whole) noexcept nogil:
    """Take note of what was read of GILs and interpreters, if all of it was."""
    cdef Interp *interp
    cdef uint32_t i
    for i in range(group.interp_count):
        if group.interps[i].gil == i and group.gils[i].address:
            if whole:
                _see(group, engine, i, group.buffer + group.gils[i].first)
            else:
                group.gils[i].known = False
                _unsettle(group, i, 0)
    for i in range(group.interp_count if whole else 0):
        interp = &group.interps[i]
        if engine.layout.interp_collecting >= 0:
            interp.collecting = int32_at(group.buffer + interp.collecting_offset) != 0
        if group.all and word_at(group.buffer + interp.head_offset) != interp.head:
            interp.head = word_at(group.buffer + interp.head_offset)
            _find_new(group, engine, i)


cdef void _watch_again(Group *group, Engine *engine) noexcept nogil:
    """The second readings: who was read between two equal ones, and did not hold the GIL, is settled."""
    cdef Member *member
    cdef Gil *gil
    cdef uint32_t i
    for i in range(group.count):
        member = group.members[i]
        if member.chosen and member.counting and member.done == group.tick:
            gil = &group.gils[group.interps[member.interp].gil]
            member.settled = (gil.known and gil.holder != member.address
                              and not _changed_hands(group, engine, group.interps[member.interp].gil))
    for i in range(group.interp_count):
        if group.interps[i].gil == i and group.gils[i].known and _changed_hands(group, engine, i):
            _see(group, engine, i, group.buffer + group.gils[i].second)


cdef int _sample_member(Group *group, Engine *engine, Member *member, bint is_read) noexcept nogil:
    """The outcome of a sample of one thread, after which it may have been found to be over."""
    cdef uint32_t node = 0
    cdef int outcome = engine_sample(engine, member.thread, is_read, &node)
    member.done = group.tick
    if outcome == UNLINKED and _rejoin(group, engine, member):
        outcome = engine_sample(engine, member.thread, False, &node)
    if outcome == UNLINKED:
        _leave(group, engine, member)
        return SAMPLED
    if outcome == SAMPLED:
        _take(group, engine, member, node)
    elif outcome != GONE and outcome != DENIED:
        _fail(group, engine, member)
    return outcome


cdef int _round(Group *group, Engine *engine) noexcept nogil:
    """Read the chosen threads in one call, and take their samples. SAMPLED unless all of them failed."""
    cdef Member *member
    cdef ssize_t got
    cdef uint32_t i, count = group.count
    cdef uint64_t now
    cdef bint whole
    cdef int outcome, result = -1
    if _lay_out(group, engine) < 0:
        return FAULT
    got = memory_readv(&engine.memory, group.buffer, group.remote, group.remote_count)
    if got == -ESRCH or got == -EPERM:
        return GONE if got == -ESRCH else DENIED
    now = now_ns()
    whole = got == <ssize_t>group.buffer_size
    group.watched_ns = now
    _watch(group, engine, whole)
    for i in range(count):
        member = group.members[i]
        if not member.chosen or member.thread == NULL:
            continue
        member.thread.reader.buffer = group.buffer + member.base
        member.thread.reader.read_ns = now
        outcome = _sample_member(group, engine, member, whole)
        if outcome == GONE or outcome == DENIED:
            return outcome
        result = outcome if result != SAMPLED else SAMPLED
    if whole:
        _watch_again(group, engine)
    return result if result != -1 else SAMPLED


# ---- one sample ---------------------------------------------------------------------------------------------------

cdef int _sample_first(Group *group, Engine *engine) noexcept nogil:
    """The first member only. At very high rates the GIL is not looked at each time."""
    cdef Member *member = group.members[0]
    if group.interp_count == 0 or group.now_ns - group.watched_ns < WATCH_EVERY_NS:
        return _sample_member(group, engine, member, False)
    member.chosen = True
    return _round(group, engine)


cdef uint32_t _choose(Group *group) noexcept nogil:
    """Choose who has to be read: who may have run since, and is wanted."""
    cdef Member *member
    cdef uint32_t i, chosen = 0
    for i in range(group.count):
        member = group.members[i]
        member.chosen = False
        if member.thread == NULL or member.done == group.tick or member.settled:
            continue
        if group.mode == GIL and not _holds(group, member):
            continue
        if group.mode == CPU and i % group.stride != group.turn and not _holds(group, member):
            continue
        member.chosen = True
        chosen += 1
    return chosen


cdef int _sample_all(Group *group, Engine *engine) noexcept nogil:
    cdef uint32_t round, i
    cdef Member *member
    cdef int outcome = SAMPLED
    group.stride = (group.count + LOOKS - 1) / LOOKS if group.count else 1
    group.turn = (group.turn + 1) % group.stride
    for round in range(ROUNDS):
        if _choose(group) == 0 and round:
            break
        outcome = _round(group, engine)
        if outcome == GONE or outcome == DENIED:
            return outcome
    if group.mode == WALL or group.mode == EXCEPTION:
        for i in range(group.count):
            member = group.members[i]
            if member.thread != NULL and not member.settled and member.done != group.tick:
                _fail(group, engine, member)  # it always ran again
    return outcome


cdef void _count_now(Group *group, Engine *engine) noexcept nogil:
    """GIL and CPU mode: count those of this tick for whom it holds, leave out the others."""
    cdef Member *member
    cdef uint32_t i, weight
    for i in range(group.count):
        member = group.members[i]
        if member.thread == NULL:
            continue
        weight = 1
        if group.mode == CPU and not _holds(group, member):
            weight = group.stride if i % group.stride == group.turn else 0
        if weight and member.counting and (_holds(group, member) if group.mode == GIL else _is_on_cpu(member)):
            _count(group, engine, member, weight)
        else:
            engine.counters.left_out += weight if group.mode == CPU else 1


cdef void _look(Group *group) noexcept nogil:
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
            member.looks += 1
            member.on_cpu_looks += _is_on_cpu(member)
            return


cdef int group_sample(Group *group, Engine *engine, uint64_t now) noexcept nogil:
    """One sample of all threads, or of the first: SAMPLED, FAULT if nothing could be read, GONE or DENIED."""
    cdef int outcome
    group.now_ns = now
    group.tick += 1
    outcome = _sample_all(group, engine) if group.all else _sample_first(group, engine)
    if outcome == GONE or outcome == DENIED:
        group.tick -= 1
        return outcome
    if group.mode == CPU or group.mode == GIL:
        _count_now(group, engine)
    _look(group)
    return outcome

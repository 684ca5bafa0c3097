# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The threads of a process that are sampled together: they come and go, and each is in one state until it changes.

Used from compiled code only.
"""

from libc.stdint cimport UINT64_MAX, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, realloc, strtol, strtoull
from libc.string cimport memcmp, memset, strrchr

from tachyscope._core.codes cimport CODE_GC, CODE_NATIVE
from tachyscope._core.frames cimport word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport memory_read, reading_clear
from tachyscope._core.naming cimport Engine
from tachyscope._core.reader cimport reader_clear, reader_forget, reader_init
from tachyscope._core.thread_reader cimport BETWEEN, ThreadReader, reader_state
from tachyscope._core.spans cimport (
    COLLECTS, EXCEPTS, FAILED, HOLDS, IN_SYSCALL, ON_CPU, STOPPED, WAITS_GIL, Span, stream_add, stream_clear,
)
from tachyscope._core.stacks cimport opcode_at, tree_child
from tachyscope._core.stopper cimport stopper_has


cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void *buffer, size_t size, long long offset)
    ssize_t read(int fd, void *buffer, size_t size)
    int close(int fd)

cdef extern from "<fcntl.h>" nogil:
    int O_RDONLY, O_CLOEXEC
    int open(const char *path, int flags)

cdef extern from "<sys/syscall.h>" nogil:
    long SYS_futex


cdef enum:
    MEMBERS_MAX = 1 << 16
    EXCEPTIONS_MAX = 64        # levels of handlers that are looked through
    STAT_BYTES = 512
    SYSCALL_BYTES = 256
    GIL_BYTES = 208            # struct _gil_runtime_state with its two locks and conditions, at most
    ITEM_BYTES = 136           # of a _PyErr_StackItem, see `bounds`


# ---- beginning and end --------------------------------------------------------------------------------------------

cdef int group_init(Group *group, uint32_t max_depth) noexcept nogil:
    memset(group, 0, sizeof(Group))
    group.max_depth, group.stride, group.gc = max_depth, 1, True
    return 0


cdef void _end(Member *member) noexcept nogil:
    """The thread is over."""
    if member.thread != NULL:
        reader_clear(member.thread)
        free(member.thread)
        member.thread = NULL
    if member.stat >= 0:
        close(member.stat)
        member.stat = -1
    member.settled = member.lasting = False


cdef void _free(Member *member) noexcept nogil:
    _end(member)
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
    reading_clear(&group.reading)
    stream_clear(&group.stream)
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


cdef void group_forget_ended(Group *group) noexcept nogil:
    """All has been told of the threads that are over."""
    while group.ended_count:
        group.ended_count -= 1
        _free(group.ended[group.ended_count])


cdef Member *group_add(Group *group, Engine *engine, uintptr_t address) noexcept nogil:
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
    member.thread = <ThreadReader *>calloc(1, sizeof(ThreadReader))
    if member.thread == NULL or reader_init(member.thread, &engine.layout, address, group.max_depth) < 0:
        free(member.thread)
        free(member)
        return NULL
    member.address, member.stat, member.done = address, -1, UINT64_MAX
    member.track, member.begin = group.tracks, group.tick
    group.tracks += 1
    member.thread.native = group.native
    group.members[group.count] = member
    group.count += 1
    return member


cdef void group_retarget(Group *group, Engine *engine, uintptr_t address) noexcept nogil:
    """Let the first member be another thread from now on."""
    cdef Member *member = group.members[0]
    if member.address != address:
        _flush(group, engine, member)
        member.lasting = member.settled = member.listed = False
        reader_forget(member.thread)
        member.address = member.thread.address = address


cdef int group_set_interps(Group *group, Engine *engine, uintptr_t *triples, uint32_t count) noexcept nogil:
    """The interpreters of the process: its address, that of its GIL, that of the word which says that it collects
    garbage; -1 if there is no memory for them."""
    cdef Interp *interps
    cdef Gil *gils
    cdef uint32_t i, j
    if count == 0:  # it is starting, or lies
        return 0
    if count == group.interp_count:
        for i in range(count):
            if group.interps[i].address != triples[3 * i] or group.gils[group.interps[i].gil].address != triples[3 * i + 1]:
                break
        else:
            return 0
    interps, gils = <Interp *>calloc(count, sizeof(Interp)), <Gil *>calloc(count, sizeof(Gil))
    if interps == NULL or gils == NULL:
        free(interps)
        free(gils)
        return -1
    for i in range(count):
        interps[i].address, gils[i].address, interps[i].gil = triples[3 * i], triples[3 * i + 1], i
        interps[i].collecting_at = triples[3 * i + 2]
        for j in range(i):
            if gils[j].address and gils[j].address == gils[i].address:
                interps[i].gil = j
                gils[j].shared = True
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


cdef bint member_rejoin(Group *group, Engine *engine, Member *member) noexcept nogil:
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
    member.thread.link = link
    return True


cdef Member *_join(Group *group, Engine *engine, uint32_t interp, uintptr_t address) noexcept nogil:
    """A member for a thread state that was not known; NULL if it is none of this interpreter, by now."""
    cdef uintptr_t owner = 0, unique_id = 0
    cdef Member *member
    if not _read_word(engine, address + engine.layout.thread_interp, &owner) or owner != group.interps[interp].address:
        return NULL
    if not _read_word(engine, address + engine.layout.thread_unique_id, &unique_id):
        return NULL
    member = group_add(group, engine, address)
    if member != NULL:
        member.interp, member.unique_id, member.told = interp, unique_id, True  # for its ids: see `_identify`
        member.thread.unique_id = unique_id
    return member


cdef void group_find_new(Group *group, Engine *engine, uint32_t number, bint whole) noexcept nogil:
    """Walk the list of an interpreter's threads from its head to the first one that is known, or the `whole` list. What
    cannot be walked now is walked the next time."""
    cdef Interp *interp = &group.interps[number]
    cdef uintptr_t link = interp.address + engine.layout.interp_thread_head, address = 0
    cdef Member *member
    cdef uint32_t steps
    for steps in range(<uint32_t>MEMBERS_MAX):
        if not _read_word(engine, link, &address):
            break
        if address == 0:
            return
        member = _member_at(group, address)
        if member != NULL and member.interp == number:
            member.thread.link = link
            if not member_rejoin(group, engine, member):
                member_leave(group, engine, member)
                member = NULL
            elif not whole:
                return
        if member == NULL:
            member = _join(group, engine, number, address)
        if member == NULL:
            break
        member.thread.link = link
        link = address + engine.layout.thread_next
    interp.head = 0


cdef void member_leave(Group *group, Engine *engine, Member *member) noexcept nogil:
    """A thread is over, as it seems. Its state may be that of the next one already, so look at the list again."""
    _flush(group, engine, member)
    member.end, member.listed = max(group.tick, <uint64_t>1), False
    if member.interp < group.interp_count:
        group.interps[member.interp].head = 0
        group.interps[member.interp].rescan = True
    _end(member)


# ---- states -------------------------------------------------------------------------------------------------------

cdef void _flush(Group *group, Engine *engine, Member *member) noexcept nogil:
    """Write down the state that a thread had before this tick."""
    cdef Span span
    span.tick, span.ticks, span.weight = member.since, group.tick - member.since, group.weight - member.since_weight
    if member.lasting and span.weight:
        span.track, span.node, span.status, span.known = member.track, member.node, member.status, member.known
        stream_add(&group.stream, &span)
        if span.status & FAILED:
            engine.counters.failed += span.weight
        else:
            engine.counters.samples += span.weight
    member.since, member.since_weight = group.tick, group.weight


cdef void _become(Group *group, Engine *engine, Member *member, uint32_t node, uint16_t status,
                  uint16_t known) noexcept nogil:
    """A thread has this state at this tick, and until something else is known."""
    if member.lasting and member.node == node and member.status == status and member.known == known:
        return
    _flush(group, engine, member)
    member.node, member.status, member.known, member.lasting = node, status, known, True


cdef void group_flush(Group *group, Engine *engine) noexcept nogil:
    """Write down all states as far as they have come."""
    cdef uint32_t i
    for i in range(group.count):
        _flush(group, engine, group.members[i])


cdef void member_hear(Group *group, Engine *engine, Member *member, uint16_t asked, uint16_t answered) noexcept nogil:
    """What the kernel says of a thread holds until it is asked again."""
    cdef uint16_t others = ~(ON_CPU | WAITS_GIL)
    member.asked, member.answered = asked, answered
    if member.lasting and not member.status & FAILED:
        _become(group, engine, member, member.node, member.status & others | asked, member.known & others | answered)


cdef Gil *member_gil(Group *group, Member *member) noexcept nogil:
    """The GIL of a thread's interpreter, which may have no address; NULL if the interpreters are not known yet."""
    return &group.gils[group.interps[member.interp].gil] if member.interp < group.interp_count else NULL


cdef bint member_holds(Group *group, Member *member) noexcept nogil:
    cdef Gil *gil = member_gil(group, member)
    return gil != NULL and gil.known and gil.locked and gil.holder == member.address


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
    cdef ThreadReader *reader = member.thread
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


cdef bint member_is_on_cpu(Group *group, Member *member) noexcept nogil:
    """Whether the kernel runs the thread, or would like to, or would if we had not stopped it."""
    cdef char text[STAT_BYTES]
    cdef char *end
    cdef Gil *gil
    cdef ssize_t got
    if member.stat < 0:
        return False
    got = pread(member.stat, text, STAT_BYTES - 1, 0)
    if got <= 0:
        return False
    text[got] = 0
    end = strrchr(text, c')')
    if end == NULL or end + 2 >= text + got:
        return False
    # Where there is a GIL only who has it was stopped, and that one was running.
    gil = member_gil(group, member)
    return end[2] == c'R' or (end[2] == c't' and group.blocking and gil != NULL and gil.address != 0)


cdef long _system_call(int pid, int tid, uintptr_t *first) noexcept nogil:
    """The number of the system call that a thread is in, and its first argument; -1: in none, or nobody can tell."""
    cdef char text[SYSCALL_BYTES]
    cdef char path[SYSCALL_BYTES]
    cdef char *end = text
    cdef ssize_t got
    cdef int descriptor
    cdef long number
    snprintf(path, SYSCALL_BYTES, "/proc/%d/task/%d/syscall", pid, tid)
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0:
        return -1
    got = read(descriptor, text, SYSCALL_BYTES - 1)
    close(descriptor)
    if got <= 0:
        return -1
    text[got] = 0
    number = strtol(text, &end, 10)
    if end == text:  # "running" is no number
        return -1
    first[0] = strtoull(end, NULL, 16)
    return number


cdef bint member_waits_for(int pid, Member *member, uintptr_t gil) noexcept nogil:
    """Whether the thread waits for a GIL: the kernel has it in a futex call for one of that GIL's own locks."""
    cdef uintptr_t address = 0
    if gil == 0 or member.tid == 0 or _system_call(pid, member.tid, &address) != SYS_futex:
        return False
    return gil <= address < gil + GIL_BYTES


cdef uint16_t _checked(Group *group, int pid, Member *member) noexcept nogil:
    """What there is to say of a thread that is stopped to check the others."""
    cdef uintptr_t first = 0
    if group.checks == NULL or member.tid == 0 or not stopper_has(group.checks, member.tid):
        return 0
    return STOPPED | (IN_SYSCALL if _system_call(pid, member.tid, &first) >= 0 else 0)


cdef void _identify(Group *group, Engine *engine, Member *member) noexcept nogil:
    """A thread state is made by another thread, and has that one's ids until its own thread begins."""
    cdef ThreadReader *reader = member.thread
    cdef uint64_t ident = reader_state(reader, &engine.layout, engine.layout.thread_id), native_id = 0
    if engine.layout.thread_native_id >= 0:
        native_id = reader_state(reader, &engine.layout, engine.layout.thread_native_id)
    if ident != member.ident or native_id != member.native_id:
        member.ident, member.native_id, member.listed = ident, native_id, False
        group.untold += member.told
        member.told = False


cdef void member_take(Group *group, Engine *engine, Member *member, uint32_t node) noexcept nogil:
    """A thread has this stack at this tick."""
    cdef bint holds = member_holds(group, member)
    cdef Gil *gil = member_gil(group, member)
    cdef uint16_t status = member.thread.status & ~BETWEEN | member.asked, known = member.answered | EXCEPTS
    if gil != NULL and gil.known:
        known |= HOLDS | COLLECTS
    if _has_exception(group, engine, member):
        status |= EXCEPTS
    if group.all:
        _identify(group, engine, member)
    if group.native and not member.thread.status & BETWEEN and (
            engine.codes.native[opcode_at(engine.tree.nodes[node].place)]):
        node = tree_child(&engine.tree, node, CODE_NATIVE, 0)
    if holds:
        status |= HOLDS
    if holds and group.interps[member.interp].collecting:
        status |= COLLECTS
        if group.gc:
            node = tree_child(&engine.tree, node, CODE_GC, 0)
    _become(group, engine, member, node, status | _checked(group, engine.memory.pid, member), known)


cdef void member_fail(Group *group, Engine *engine, Member *member) noexcept nogil:
    _become(group, engine, member, 0, FAILED, 0)
    member.settled = False

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One sample of one thread: read until its stack is consistent, name its functions, find its node in the tree.

Used from compiled code only.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from tachyscope._core.belief cimport (
    belief_child, belief_is_worth, belief_clear, belief_count, belief_distrust, belief_init, belief_node, calls_may_be_short,
)
from tachyscope._core.codes cimport (
    CHANGED, CODE_FIRST, COPIED, NO_CODE, UNREADABLE, Code,
    codes_add, codes_clear, codes_find, codes_find_by_instr, codes_init, codes_validate,
)
from tachyscope._core.recursion cimport is_recursive, recursion_find
from tachyscope._core.regions cimport (
    DENIED, FAULT, GONE, INNER, MISSED, SAMPLED, TORN, UNLINKED, ThreadReader, Walked,
    reader_accept, reader_be_strict, reader_clear, reader_forget, reader_init, reader_is_linked, reader_learn, reader_read,
    reader_state,
)
from tachyscope._core.memory cimport iovec, memory_readv
from tachyscope._core.sites cimport site_has_proved
from tachyscope._core.stacks cimport offset_at, place_of, tree_clear, tree_init
from tachyscope._core.unwinder cimport reader_walk, reader_walk_copy


cdef enum:
    ATTEMPTS = 64                  # reads for one sample; after that it counts as failed
    VALIDATE_MAX = 256
    ALWAYS_VALIDATE_NS = 50000     # at this interval and above every new arrival on the stack is validated
    ARRIVAL_FRESH_NS = 1000000     # how long a validation is good for: at most this, at most 1/16 of the age
    RESIDENT_FRESH_NS = 10000000   # ... for frames that were there in the last sample, too
    RESIDENT_CHECK_NS = 1000000
    CHURN_NS = 1000000000          # after an address was found reused, everything is validated for this long
    ALWAYS = 16                    # times in a row that a function has to have been called from the same place to be ...
    FAULTS_MAX = 8                 # of them; predictions are given up with the first
    HOLD = 3                       # attempts after which the last stack of a function is taken for its stack now
    HOLD_ALWAYS = 16               # ... or any stack
    COUNTS_FIRST = 64              # slots
    OPCODES = 128                  # read in one call
    MOVED = 2                      # callers of a function that is over which may have gone on since
    UNHURRIED_NS = 40000           # at this interval and above two copies of everything do not burden the target


# Frames that were certain in a read, innermost first.
cdef struct Held:
    Walked frames[INNER]
    int count
    uint64_t read_ns


# ---- beginning and end --------------------------------------------------------------------------------------------

cdef int engine_init(Engine *engine) noexcept nogil:
    """Get ready, with `memory`, `layout` and `interval_ns` filled in; -1 if there is no memory for it."""
    if codes_init(&engine.codes, &engine.layout) < 0 or tree_init(&engine.tree) < 0:
        return -1
    engine.belief.memory, engine.belief.layout = &engine.memory, &engine.layout
    return belief_init(&engine.belief, &engine.tree, &engine.codes, engine.layout.frame_owner < 0)


cdef void engine_clear(Engine *engine) noexcept nogil:
    codes_clear(&engine.codes)
    tree_clear(&engine.tree)
    belief_clear(&engine.belief)


cdef int thread_init(Thread *thread, uintptr_t address, uint32_t max_depth) noexcept nogil:
    memset(thread, 0, sizeof(Thread))
    return reader_init(&thread.reader, address, max_depth)


cdef void thread_clear(Thread *thread) noexcept nogil:
    reader_clear(&thread.reader)
    _path_clear(&thread.path)


# ---- the last stack -----------------------------------------------------------------------------------------------

cdef int _path_reserve(Path *path, uint32_t depth) noexcept nogil:
    cdef uint32_t capacity = 2 * depth + 64
    cdef void *codes
    cdef void *instrs
    cdef void *opcodes
    cdef void *ids
    cdef void *nodes
    if depth <= path.capacity:
        return 0
    codes = realloc(path.codes, capacity * sizeof(uintptr_t))
    path.codes = <uintptr_t *>codes if codes else path.codes
    instrs = realloc(path.instrs, capacity * sizeof(int64_t))
    path.instrs = <int64_t *>instrs if instrs else path.instrs
    opcodes = realloc(path.opcodes, capacity)
    path.opcodes = <uint8_t *>opcodes if opcodes else path.opcodes
    ids = realloc(path.ids, capacity * sizeof(uint32_t))
    path.ids = <uint32_t *>ids if ids else path.ids
    nodes = realloc(path.nodes, capacity * sizeof(uint32_t))
    path.nodes = <uint32_t *>nodes if nodes else path.nodes
    if codes == NULL or instrs == NULL or opcodes == NULL or ids == NULL or nodes == NULL:
        return -1
    path.capacity = capacity
    return 0


cdef void _path_clear(Path *path) noexcept nogil:
    free(path.codes)
    free(path.instrs)
    free(path.opcodes)
    free(path.ids)
    free(path.nodes)
    memset(path, 0, sizeof(Path))


# ---- naming ---------------------------------------------------------------------------------------------------

cdef int _resolve(Engine *engine, Thread *thread, uint32_t common) noexcept nogil:
    """Give every frame beyond the common beginning its code id; TORN if what is there is no code object, or one
    that was copied only now: the frame may have been of the one before it at that address, so it has to be there
    in another read, after the copy."""
    cdef uint32_t depth = thread.reader.depth, i, code_id
    cdef int outcome = SAMPLED
    cdef Walked *walked
    if _path_reserve(&thread.path, depth) < 0:
        return TORN
    thread.path.depth = common
    for i in range(common, depth):
        walked = &thread.reader.frames[depth - 1 - i]
        code_id = codes_find(&engine.codes, walked.code)
        if code_id == NO_CODE:
            code_id = codes_add(&engine.codes, &engine.memory, &engine.layout, walked.code)
            if code_id == NO_CODE:
                return TORN
            reader_be_strict(&thread.reader)
            outcome = TORN
        thread.path.codes[i], thread.path.instrs[i] = walked.code, walked.instr
        thread.path.ids[i] = code_id
        thread.path.opcodes[i] = 0
    return outcome


cdef inline bint _due(Engine *engine, uint32_t code_id, uint64_t now, bint arrival) noexcept nogil:
    """Whether a code object has to be looked at again before this sample may be named after it."""
    cdef Code *code = &engine.codes.codes[code_id]
    cdef uint64_t fresh_ns = ARRIVAL_FRESH_NS if arrival else RESIDENT_FRESH_NS
    if code.validated_ns >= now or code_id < CODE_FIRST:
        return False
    if engine.codes.reused_ns and now < engine.codes.reused_ns + CHURN_NS:
        return True
    if arrival and engine.interval_ns >= ALWAYS_VALIDATE_NS:
        return True
    if (code.validated_ns - code.first_ns) / 16 < fresh_ns:
        fresh_ns = (code.validated_ns - code.first_ns) / 16
    return now - code.validated_ns > fresh_ns


cdef int _validate(Engine *engine, Thread *thread, uint32_t common, uint64_t now) noexcept nogil:
    """Look again at the code objects of this stack for which that is due, in one call."""
    cdef uint32_t ids[VALIDATE_MAX]
    cdef uint32_t depth = thread.reader.depth, first = common, i, place
    cdef size_t count = 0
    cdef Code *code
    cdef bint churn = engine.codes.reused_ns and now < engine.codes.reused_ns + CHURN_NS
    if churn or now > thread.path.checked_ns + RESIDENT_CHECK_NS:
        first = 0
        thread.path.checked_ns = now
    for i in range(first, depth):
        place = depth - 1 - (i - first)
        code = &engine.codes.codes[thread.path.ids[place]]
        if code.asked_ns != now and _due(engine, thread.path.ids[place], now, place >= common):
            code.asked_ns = now
            ids[count] = thread.path.ids[place]
            count += 1
            if count == VALIDATE_MAX:
                break
    if count == 0:
        return COPIED
    i = codes_validate(&engine.codes, &engine.memory, &engine.layout, ids, count)
    return _bury(engine, ids, count) if i == UNREADABLE else <int>i


cdef int _bury(Engine *engine, uint32_t *ids, size_t count) noexcept nogil:
    """One of several code objects is not readable any more: find out which, and forget those."""
    cdef size_t i
    for i in range(count):
        if codes_validate(&engine.codes, &engine.memory, &engine.layout, &ids[i], 1) == UNREADABLE:
            engine.codes.codes[ids[i]].alive = False
    return CHANGED


cdef int64_t _offset(Engine *engine, uint32_t code_id, int64_t offset) noexcept nogil:
    """Byte offset of the instruction that a frame is at; below -2 if it is not in its code."""
    cdef Code *code = &engine.codes.codes[code_id]
    if code_id < CODE_FIRST:
        return 0
    if engine.layout.frame_instr_kind == 2:
        offset -= <int64_t>(code.address + engine.layout.code_instructions)
    elif engine.layout.frame_instr_kind == 1:
        offset *= 2
    return offset if -2 <= offset < code.length else -3


cdef inline int64_t _start(Engine *engine, uint32_t code_id, int64_t offset) noexcept nogil:
    """Offset of the beginning of the instruction that `offset` is in; below 0 if none is, or that is not known."""
    cdef Code *code = &engine.codes.codes[code_id]
    if offset < 0 or code.back == NULL or offset / 2 >= code.length / 2:
        return -1
    return 2 * (offset / 2 - code.back[offset / 2])


cdef void _read_opcodes(Engine *engine, uint32_t *ids, int64_t *instrs, uint8_t *opcodes, uint32_t count) noexcept nogil:
    """Read the instructions that up to OPCODES frames are at, as they are specialised now; 0 where that is not known."""
    cdef iovec remote[OPCODES]
    cdef uint8_t read[OPCODES]
    cdef uint32_t known = 0, i
    cdef int64_t start
    for i in range(count):
        start = _start(engine, ids[i], _offset(engine, ids[i], instrs[i]))
        opcodes[i] = start >= 0
        if start >= 0:
            remote[known].iov_base = <void *>(engine.codes.codes[ids[i]].bytecode + <uintptr_t>start)
            remote[known].iov_len = 1
            known += 1
    if known and memory_readv(&engine.memory, <char *>read, remote, known) != <ssize_t>known:
        memset(read, 0, sizeof(read))
    known = 0
    for i in range(count):
        if opcodes[i]:
            opcodes[i] = read[known]
            known += 1


cdef inline int64_t _place(Engine *engine, uint32_t code_id, int64_t offset, uint8_t opcode) noexcept nogil:
    """An instruction's frames are one, wherever in its caches they are."""
    cdef int64_t start = _start(engine, code_id, offset) if engine.codes.with_caches else -1
    return place_of(<int32_t>(start if start >= 0 else offset), opcode)


cdef uint32_t _common(Engine *engine, Thread *thread) noexcept nogil:
    """How many frames, from the outermost, are where they were in the last sample."""
    cdef uint32_t depth = thread.reader.depth, common = 0
    cdef Walked *walked
    while common < depth and common < thread.path.depth:
        walked = &thread.reader.frames[depth - 1 - common]
        if walked.code != thread.path.codes[common] or walked.instr != thread.path.instrs[common]:
            break
        common += 1
    return common


cdef int _intern(Engine *engine, Thread *thread, uint64_t now, uint32_t *node) noexcept nogil:
    """From the reader's frames to a node of the tree."""
    cdef uint32_t depth = thread.reader.depth, common = _common(engine, thread), i, parent
    cdef int64_t offset
    cdef bint sure = True
    cdef int outcome = _resolve(engine, thread, common)
    if outcome != SAMPLED:
        return outcome
    if _validate(engine, thread, common, now) != COPIED:  # another code object lies there by now, or none
        engine.counters.reused += 1
        thread.path.depth = 0
        return TORN
    if engine.codes.with_caches:
        i = common
        while i < depth:
            _read_opcodes(engine, &thread.path.ids[i], &thread.path.instrs[i], &thread.path.opcodes[i],
                          depth - i if depth - i < OPCODES else OPCODES)
            i += OPCODES
    if engine.belief.heap and common < depth:
        recursion_find(&engine.belief, thread.path.ids, depth)
    belief_count(&engine.belief, thread.path.nodes, common)
    node[0] = thread.path.nodes[common - 1] if common else 0
    for i in range(common, depth):
        offset = _offset(engine, thread.path.ids[i], thread.path.instrs[i])
        if offset < -2:
            return TORN
        if not engine.codes.codes[thread.path.ids[i]].hidden:
            engine.belief.innermost = i + 1 == depth
            parent = node[0]
            node[0] = belief_child(
                &engine.belief, parent, thread.path.ids[i],
                _place(engine, thread.path.ids[i], offset, thread.path.opcodes[i]), now, &sure)
            if node[0] == 0:
                if engine.interval_ns >= UNHURRIED_NS or belief_is_worth(&engine.belief, parent, thread.path.ids[i]):
                    reader_be_strict(&thread.reader)
                if not engine.belief.heap:
                    recursion_find(&engine.belief, thread.path.ids, depth)
                return TORN
        thread.path.nodes[i] = node[0]
        if sure:
            thread.path.depth = i + 1
    engine.tree.nodes[node[0]].calls += 1  # it was there, as a caller or not: see `belief`
    if not sure:
        reader_be_strict(&thread.reader)
    return SAMPLED if sure else TORN


cdef uint32_t _parent_of(Engine *engine, Thread *thread, Held *held, int place, uint64_t now, uint32_t *code_id) noexcept nogil:
    """The node that a frame's function had below it the last time, if that can be told; 0 if not."""
    cdef Code *code
    code_id[0] = codes_find(&engine.codes, held.frames[place].code)
    if code_id[0] == NO_CODE:
        codes_add(&engine.codes, &engine.memory, &engine.layout, held.frames[place].code)
        return 0
    if engine.codes.codes[code_id[0]].first_ns >= held.read_ns:  # that frame was perhaps of another one
        code_id[0] = NO_CODE
        return 0
    if _due(engine, code_id[0], now, True) and codes_validate(
            &engine.codes, &engine.memory, &engine.layout, code_id, 1) != COPIED:
        code_id[0] = NO_CODE
        return 0
    code = &engine.codes.codes[code_id[0]]
    if code.thread != thread.reader.address:
        return 0
    if place == 0 and code.last_parent:
        return code.last_parent
    return code.parent if code.parent_times >= ALWAYS and not code.recursive else 0


cdef int _recall(Engine *engine, Thread *thread, Held *held, uint64_t now, uint32_t *node) noexcept nogil:
    """The innermost frames that were certain, on the stack that the outermost of them had below it the last time."""
    cdef uint32_t ids[INNER]
    cdef int64_t offset
    cdef uint8_t opcode = 0
    cdef int i, base
    cdef bint sure = True
    node[0] = 0
    belief_distrust(&engine.belief)
    for base in range(held.count):
        node[0] = _parent_of(engine, thread, held, base, now, &ids[base])
        if node[0] or ids[base] == NO_CODE:
            break
    if node[0] == 0 or engine.tree.nodes[node[0]].depth + base + 1 > thread.reader.max_depth:
        return TORN
    for i in range(base, -1, -1):
        if engine.codes.codes[ids[i]].hidden:
            continue
        offset = _offset(engine, ids[i], held.frames[i].instr)
        if offset < -2:
            return TORN
        if engine.codes.with_caches:
            _read_opcodes(engine, &ids[i], &held.frames[i].instr, &opcode, 1)
        if i == base and is_recursive(&engine.belief, node[0]):
            node[0] = belief_node(&engine.belief, node[0], ids[i], _place(engine, ids[i], offset, opcode))
        else:
            node[0] = belief_child(&engine.belief, node[0], ids[i], _place(engine, ids[i], offset, opcode), now, &sure)
        if node[0] == 0 or not sure:
            return TORN
    engine.counters.recalled += 1
    return SAMPLED


cdef void _remember(Engine *engine, Thread *thread, uint32_t node) noexcept nogil:
    """Keep what `_recall` will want to know of a stack that was seen whole."""
    cdef Code *code
    cdef int level
    for level in range(INNER):
        if node == 0:
            break
        code = &engine.codes.codes[engine.tree.nodes[node].code]
        node = engine.tree.nodes[node].parent
        if code.thread != thread.reader.address:
            code.thread, code.last_parent, code.parent = thread.reader.address, 0, 0
        if level == 0 or code.last_parent == 0:
            code.last_parent = node
        code.parent_times = code.parent_times + 1 if code.parent == node else 0
        code.parent = node


cdef inline bint _is_the_same(Engine *engine, Thread *thread) noexcept nogil:
    """Whether this is still the thread that it was, not the next one whose state lies there."""
    return thread.reader.link == 0 or reader_state(
        &thread.reader, &engine.layout, engine.layout.thread_unique_id) == thread.unique_id


cdef bint _name_left(Engine *engine, Thread *thread) noexcept nogil:
    """The frame that was current when the read began may have been left before it was copied, and have lost its code
    object. Its last instruction says which one that was; false if it is of none that is known."""
    cdef ThreadReader *reader = &thread.reader
    cdef uint32_t code_id
    if reader.inner_count == 0 or reader.inner[0].code:
        return True
    code_id = codes_find_by_instr(&engine.codes, <uintptr_t>reader.inner[0].instr)
    reader.agreed = reader.stayed = False
    if code_id == NO_CODE:
        reader.inner_count = 0
        return False
    reader.inner[0].code = engine.codes.codes[code_id].address
    if reader.depth:
        reader.frames[0].code = reader.inner[0].code
    return True


cdef bint _is_called_from(Engine *engine, Thread *thread, uint32_t node) noexcept nogil:
    """Whether the frames below the innermost one are those of a node, but for where its next callers are in their code;
    of a function that calls itself even that."""
    cdef uint32_t i, code_id
    cdef Walked *walked
    for i in range(1, thread.reader.depth):
        walked = &thread.reader.frames[i]
        code_id = codes_find(&engine.codes, walked.code)
        if code_id == NO_CODE or (node == 0 and not engine.codes.codes[code_id].hidden):
            return False
        if engine.codes.codes[code_id].hidden:
            continue
        if engine.tree.nodes[node].code != code_id:
            return False
        if (i > MOVED or walked.code == thread.reader.frames[0].code) and offset_at(engine.tree.nodes[node].place) != offset_at(
                _place(engine, code_id, _offset(engine, code_id, walked.instr), 0)):
            return False
        node = engine.tree.nodes[node].parent
    return node == 0


cdef int _intern_left(Engine *engine, Thread *thread, uint64_t now, uint32_t *node) noexcept nogil:
    """The function that was current first was over when its stack was copied. It is believed as it lies there, or
    else, if its caller is at another place by now, with the stack that it had the last time. If it has not been seen
    before, the sample is about the moment of the copy."""
    cdef ThreadReader *reader = &thread.reader
    cdef Held held
    cdef uint32_t code_id = codes_find(&engine.codes, reader.frames[0].code), parent, known = engine.codes.count
    cdef int outcome
    if _intern(engine, thread, now, node) == SAMPLED and site_has_proved(
            &engine.belief, engine.tree.nodes[node[0]].parent, engine.tree.nodes[node[0]].code):
        return SAMPLED
    held.count, held.frames[0], held.read_ns = 1, reader.frames[0], now
    if code_id != NO_CODE:
        parent = engine.codes.codes[code_id].last_parent
        if parent and _is_called_from(engine, thread, parent) and site_has_proved(&engine.belief, parent, code_id):
            if _recall(engine, thread, &held, now, node) == SAMPLED:
                reader.left = False  # this was not seen, so there is nothing to remember
                return SAMPLED
    if engine.codes.count != known:  # what was copied only now has to be there in another read
        return TORN
    outcome = reader_walk_copy(reader, &engine.layout)
    return _intern(engine, thread, now, node) if outcome == SAMPLED else outcome


cdef int _attempt(Engine *engine, Thread *thread, bint is_read, uint32_t *node) noexcept nogil:
    cdef int outcome = SAMPLED if is_read else reader_read(&thread.reader, &engine.memory, &engine.layout)
    if outcome == SAMPLED and not (reader_is_linked(&thread.reader) and _is_the_same(engine, thread)):
        return UNLINKED
    if outcome == SAMPLED:
        outcome = reader_walk(&thread.reader, &engine.layout)
        if not _name_left(engine, thread) and outcome == SAMPLED:
            outcome = TORN
    if outcome == SAMPLED:
        outcome = (_intern_left if thread.reader.left else _intern)(engine, thread, thread.reader.read_ns, node)
        if outcome == TORN and thread.reader.inner_count == 0 and thread.reader.running and thread.reader.depth:
            thread.reader.inner_count, thread.reader.inner[0] = 1, thread.reader.frames[0]
    if outcome == TORN:
        engine.counters.torn += 1
    elif outcome == MISSED:
        engine.counters.mispredicted += 1
        thread.reader.code_type = engine.codes.code_type
        reader_learn(&thread.reader, &engine.memory, &engine.layout)
    elif outcome == FAULT:
        engine.counters.faults += 1
        reader_forget(&thread.reader)
    return outcome


cdef int _persist(Engine *engine, Thread *thread, bint is_read, uint32_t *node) noexcept nogil:
    """What the first attempt found current is what this sample is about, even if its callers could not be read:
    short chains of calls (to 3.10) and of generators seldom can, and to take the next stack that can would favour
    long ones. So wait for a stack of the same function, for some attempts; then take the one that it had the last
    time. If nothing was called meanwhile there is no such excuse."""
    cdef uint32_t attempt, faults = 0, recalled = 0
    cdef int outcome = FAULT
    cdef bint moved = False
    cdef bint brief = calls_may_be_short(&engine.belief) or engine.layout.frame_stack_top_kind < 0
    cdef uint32_t hold = HOLD_ALWAYS if brief else HOLD
    cdef Held held
    held.count = 0
    for attempt in range(ATTEMPTS):
        outcome = _attempt(engine, thread, is_read and attempt == 0, node)
        if held.count == 0:
            held.count, held.read_ns = thread.reader.inner_count, thread.reader.read_ns
            memcpy(held.frames, thread.reader.inner, sizeof(held.frames))
        faults += outcome == FAULT
        if outcome == GONE or outcome == DENIED or outcome == UNLINKED or faults == FAULTS_MAX:
            break
        if outcome == SAMPLED and (held.count == 0 or _is_of(engine, node[0], &held)):
            _remember(engine, thread, node[0])
            break
        moved = (moved or engine.belief.moved or not thread.reader.stayed
                 or thread.reader.inner[0].address != held.frames[0].address)
        if moved and attempt >= HOLD and _recall(engine, thread, &held, thread.reader.read_ns, &recalled) == SAMPLED:
            node[0] = recalled
            return SAMPLED
        if outcome == SAMPLED and attempt >= hold:
            _remember(engine, thread, node[0])
            break
    return outcome


cdef inline bint _is_of(Engine *engine, uint32_t node, Held *held) noexcept nogil:
    return node and engine.codes.codes[engine.tree.nodes[node].code].address == held.frames[0].code


cdef int engine_sample(Engine *engine, Thread *thread, bint is_read, uint32_t *node) noexcept nogil:
    """Take one sample of a thread: SAMPLED and the node of its stack, or why there is none. `is_read` says that
    the first read was done already."""
    cdef uint64_t torn = engine.counters.torn
    cdef int outcome
    engine.belief.reader, engine.belief.confirmed_ns, engine.belief.moved = &thread.reader, 0, False
    outcome = _persist(engine, thread, is_read, node)
    engine.counters.retried += engine.counters.torn != torn
    if outcome == SAMPLED:
        reader_accept(&thread.reader, &engine.layout)
    return outcome


cdef uint32_t engine_special(Engine *engine, uint32_t node, uint32_t code) noexcept nogil:
    """The node of a special frame, CODE_GC or CODE_NATIVE, under another node."""
    cdef uint32_t child = belief_node(&engine.belief, node, code, 0)
    engine.tree.nodes[child].believed = True
    return child


# ---- samples by node ----------------------------------------------------------------------------------------------

cdef int _counts_grow(Counts *counts) noexcept nogil:
    cdef Counts grown
    cdef uint32_t i
    grown.slots, grown.used = 2 * counts.slots if counts.slots else COUNTS_FIRST, 0
    grown.nodes = <uint32_t *>calloc(grown.slots, sizeof(uint32_t))
    grown.samples = <uint64_t *>calloc(grown.slots, sizeof(uint64_t))
    if grown.nodes == NULL or grown.samples == NULL:
        counts_clear(&grown)
        return -1
    for i in range(counts.slots):
        if counts.samples[i]:
            counts_add(&grown, counts.nodes[i], counts.samples[i])
    counts_clear(counts)
    counts[0] = grown
    return 0


cdef int counts_add(Counts *counts, uint32_t node, uint64_t samples) noexcept nogil:
    cdef uint32_t slot
    if samples == 0:
        return 0
    if 2 * counts.used >= counts.slots and _counts_grow(counts) < 0:
        return -1
    slot = (node * <uint32_t>0x9E3779B1) & (counts.slots - 1)
    while counts.samples[slot] and counts.nodes[slot] != node:
        slot = (slot + 1) & (counts.slots - 1)
    counts.used += counts.samples[slot] == 0
    counts.nodes[slot] = node
    counts.samples[slot] += samples
    return 0


cdef void counts_clear(Counts *counts) noexcept nogil:
    free(counts.nodes)
    free(counts.samples)
    memset(counts, 0, sizeof(Counts))

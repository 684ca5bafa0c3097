# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""From the frames of a sample to a node of the tree of stacks. Used from compiled code only."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from tachyscope._core.codes cimport (
    CHANGED, CODE_FIRST, COPIED, NO_CODE, UNREADABLE, Code, codes_clear, codes_init, codes_validate,
)
from tachyscope._core.memory cimport iovec, memory_readv
from tachyscope._core.stacks cimport place_of, tree_child, tree_clear, tree_init


cdef enum:
    VALIDATE_MAX = 256
    ALWAYS_VALIDATE_NS = 50000     # at this interval and above every new arrival on the stack is validated
    ARRIVAL_FRESH_NS = 1000000     # how long a validation is good for: at most this, at most 1/16 of the age
    RESIDENT_FRESH_NS = 10000000   # ... for frames that were there in the last sample, too
    RESIDENT_CHECK_NS = 1000000
    CHURN_NS = 1000000000          # after an address was found reused, all arrivals are validated for this long
    OPCODES = 128                  # read in one call
    BEFORE_FIRST = -2              # bytes; frames that have not begun say so


cdef int engine_init(Engine *engine) noexcept nogil:
    """Get ready, with `memory`, `layout` and `interval_ns` filled in; -1 if there is no memory for it."""
    return -1 if codes_init(&engine.codes, &engine.layout) < 0 or tree_init(&engine.tree) < 0 else 0


cdef void engine_clear(Engine *engine) noexcept nogil:
    codes_clear(&engine.codes)
    tree_clear(&engine.tree)


# ---- the path -----------------------------------------------------------------------------------------------------

cdef void path_clear(Path *path) noexcept nogil:
    free(path.steps)
    memset(path, 0, sizeof(Path))


cdef int path_push(Path *path, uint32_t code_id, int64_t instr) noexcept nogil:
    """Add a frame inwards; -1 if there is no memory for it. It keeps its node if the last sample had it here, too."""
    cdef uint32_t capacity = 2 * path.depth + 64
    cdef void *grown
    cdef Step *step
    if path.depth == path.capacity:
        grown = realloc(path.steps, capacity * sizeof(Step))
        if grown == NULL:
            return -1
        path.steps, path.capacity = <Step *>grown, capacity
    step = &path.steps[path.depth]
    if path.depth >= path.named or step.code_id != code_id or step.instr != instr:
        path.named = min(path.named, path.depth)
        step.code_id, step.instr, step.opcode = code_id, instr, 0
    path.depth += 1
    return 0


# ---- naming -------------------------------------------------------------------------------------------------------

cdef inline bint _churns(Engine *engine, uint64_t now) noexcept nogil:
    """Whether an address was found reused lately: others will be."""
    return engine.codes.reused_ns != 0 and now < engine.codes.reused_ns + CHURN_NS


cdef inline bint _due(Engine *engine, uint32_t code_id, uint64_t now, bint arrival) noexcept nogil:
    """Whether a code object has to be looked at again before this sample may be named after it."""
    cdef Code *code = &engine.codes.codes[code_id]
    cdef uint64_t fresh_ns = ARRIVAL_FRESH_NS if arrival else RESIDENT_FRESH_NS
    if code.validated_ns >= now or code_id < CODE_FIRST:
        return False
    if arrival and (_churns(engine, now) or engine.interval_ns >= ALWAYS_VALIDATE_NS):
        return True
    if (code.validated_ns - code.first_ns) / 16 < fresh_ns:
        fresh_ns = (code.validated_ns - code.first_ns) / 16
    return now - code.validated_ns > fresh_ns


cdef int _validate(Engine *engine, Path *path, uint32_t first, uint64_t now) noexcept nogil:
    """Look again at the code objects of this stack for which that is due, in one call."""
    cdef uint32_t ids[VALIDATE_MAX]
    cdef uint32_t i, arrived = path.named
    cdef size_t count = 0
    cdef Code *code
    cdef int result
    first = max(first, arrived)
    if now > path.checked_ns + RESIDENT_CHECK_NS or _churns(engine, now):
        first, path.checked_ns = 0, now
    for i in range(first, path.depth):
        code = &engine.codes.codes[path.steps[i].code_id]
        if code.asked_ns != now and _due(engine, path.steps[i].code_id, now, i >= arrived):
            code.asked_ns = now
            ids[count] = path.steps[i].code_id
            count += 1
            if count == VALIDATE_MAX:
                break
    if path.doubted != NO_CODE and count < VALIDATE_MAX and _due(engine, path.doubted, now, False):
        ids[count] = path.doubted
        count += 1
    if count == 0:
        return COPIED
    result = codes_validate(&engine.codes, &engine.memory, &engine.layout, ids, count)
    return _bury(engine, ids, count) if result == UNREADABLE else result


cdef int _bury(Engine *engine, uint32_t *ids, size_t count) noexcept nogil:
    """One of several code objects is not readable any more, or none: find out which, and forget those. The sample is of
    a moment before that, so it keeps them."""
    cdef size_t i
    cdef int result = COPIED, one
    for i in range(count):
        one = codes_validate(&engine.codes, &engine.memory, &engine.layout, &ids[i], 1)
        if one == UNREADABLE:
            engine.codes.codes[ids[i]].alive = False
        elif one == CHANGED:
            result = CHANGED
    return result


cdef int64_t _offset(Engine *engine, uint32_t code_id, int64_t instr) noexcept nogil:
    """Byte offset of the instruction that a frame is at; less than BEFORE_FIRST if it is not in its code."""
    cdef Code *code = &engine.codes.codes[code_id]
    if code_id < CODE_FIRST:
        return 0
    if engine.layout.frame_instr_kind == 2:
        instr -= <int64_t>code.bytecode
    elif engine.layout.frame_instr_kind == 1:
        instr *= 2
    return instr if BEFORE_FIRST <= instr < code.length else BEFORE_FIRST - 1


cdef inline int64_t _start(Engine *engine, uint32_t code_id, int64_t offset) noexcept nogil:
    """Offset of the beginning of the instruction that `offset` is in; below 0 if none is, or that is not known."""
    cdef Code *code = &engine.codes.codes[code_id]
    if offset < 0 or code.back == NULL or offset / 2 >= code.length / 2:
        return -1
    return 2 * (offset / 2 - code.back[offset / 2])


cdef void _read_opcodes(Engine *engine, Step *steps, uint32_t count) noexcept nogil:
    """Read the instructions that up to OPCODES frames are at, as they are specialised now; 0 where that is not known."""
    cdef iovec remote[OPCODES]
    cdef uint8_t read[OPCODES]
    cdef uint32_t known = 0, i
    cdef int64_t start
    for i in range(count):
        start = _start(engine, steps[i].code_id, _offset(engine, steps[i].code_id, steps[i].instr))
        steps[i].opcode = start >= 0
        if start >= 0:
            remote[known].iov_base = <void *>(engine.codes.codes[steps[i].code_id].bytecode + <uintptr_t>start)
            remote[known].iov_len = 1
            known += 1
    if known and memory_readv(&engine.memory, <char *>read, remote, known) != <ssize_t>known:
        memset(read, 0, sizeof(read))
    known = 0
    for i in range(count):
        if steps[i].opcode:
            steps[i].opcode = read[known]
            known += 1


cdef inline int64_t _place(Engine *engine, uint32_t code_id, int64_t offset, uint8_t opcode) noexcept nogil:
    """An instruction's frames are one, wherever in its caches they are."""
    cdef int64_t start = _start(engine, code_id, offset) if engine.codes.with_opcodes else -1
    return place_of(<int32_t>(start if start >= 0 else offset), opcode)


cdef int path_name(Engine *engine, Path *path, uint32_t max_depth, uint64_t now, uint32_t *node) noexcept nogil:
    """Find the node of the path's innermost `max_depth` frames."""
    cdef uint32_t first = path.depth - max_depth if path.depth > max_depth else 0, i
    cdef Step *step
    cdef int64_t offset
    cdef int outcome
    path.named = min(path.named, path.depth)
    outcome = _validate(engine, path, first, now)
    if outcome != COPIED:
        engine.counters.reused += 1
        path.named = 0
        return REUSED
    if first:
        path.named = 0  # they have other outermost frames than the last time, most likely
    i = max(path.named, first)
    while engine.codes.with_opcodes and i < path.depth:
        _read_opcodes(engine, &path.steps[i], min(path.depth - i, <uint32_t>OPCODES))
        i += OPCODES
    i = max(path.named, first)
    node[0] = path.steps[i - 1].node if i > first else 0
    for i in range(i, path.depth):
        step = &path.steps[i]
        offset = _offset(engine, step.code_id, step.instr)
        if offset < BEFORE_FIRST:
            path.named = i
            return UNNAMED
        if not engine.codes.codes[step.code_id].hidden:
            node[0] = tree_child(&engine.tree, node[0], step.code_id, _place(engine, step.code_id, offset, step.opcode))
        step.node = node[0]
    path.named = path.depth if first == 0 else 0
    return NAMED

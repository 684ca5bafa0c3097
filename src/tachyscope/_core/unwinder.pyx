# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""From a thread state to its frames, in one system call, consistent.

The target runs while it is read. What the reader asks for, in this order, in one call:

    scattered frames    generators, coroutines, entry frames on the C stack; all frames up to 3.10
    current frame       a first reading
    data stack          all other frames (3.11+), one copy, low to high: close to one instant
    current frame       a second reading
    scattered frames    again, in reverse order, so that the windows around the current frame are nested

The data stack's copy is the sample. A frame that runs bytecode says so itself (its saved stack top is cleared while
it runs), so the copy tells which of its frames was innermost, whatever the thread did before or after; the
readings of the current frame only say where to start. This matters for truth in two ways: callers and callees come
from one instant, and short functions are not thrown away more often than long ones. Scattered frames are accepted if
both copies agree. Where nothing is marked as running (the thread is between two frames, or C code runs, 3.14+) the
current frame is innermost. What is not accepted is read again at once.

One copy is not quite one instant: its cache lines arrive a few dozen nanoseconds apart, or microseconds if an
interrupt comes between. So a call that was never seen before has to be seen in a strict read, which takes a second
copy of the data stack and wants both to agree. Calls repeat, so this costs nothing in the long run, and unlike
wanting it of every sample, it does not favour long-lived frames.

Hard cases, each with a test: recursion over several data stack chunks; generators and coroutines (on the heap,
linked into the chain only while they run); C code that calls back into Python (entry frames, 3.12+; `is_entry`, 3.11);
frames of a popped segment that still lie in memory; a frame being pushed or cleared.
"""

from libc.errno cimport EFAULT, EPERM, ESRCH
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory, iovec, memory_read, memory_readv, now_ns


cdef enum:
    PAGE = 4096
    STACK_SLACK = 1024         # bytes above the innermost frame that are read too: room for the next calls
    STACK_GAP = PAGE           # data stack frames this close are read as one range (no unmapped page fits between)
    SCATTERED_GAP = 512
    TRIM_EVERY = 256           # samples after which ranges that were not needed are given up
    CFRAME_WORDS = 16          # bytes of a cframe that are read: current_frame and previous
    STRICT_FOR = 16            # samples that are read strictly after something new was seen
    REGIONS_MAX = 1 << 16
    INSTR_POINTER = 2          # the kinds below: see tachyscope.target.layouts
    EXECUTING_BYTE = 0
    EXECUTING_STATE = 1
    STACK_TOP_INDEX = 2
    OWNER_MAX = 8              # larger owners do not exist: garbage


cdef inline uintptr_t _word(char *at) noexcept nogil:
    cdef uintptr_t value
    memcpy(&value, at, sizeof(value))
    return value


cdef inline int32_t _int32(char *at) noexcept nogil:
    cdef int32_t value
    memcpy(&value, at, sizeof(value))
    return value


cdef inline uintptr_t _code(Layout *layout, char *frame) noexcept nogil:
    return _word(frame + layout.frame_code) & ~<uintptr_t>layout.frame_code_tag


cdef inline uintptr_t _previous(Layout *layout, char *frame) noexcept nogil:
    return _word(frame + layout.frame_previous)


cdef inline int64_t _instr(Layout *layout, char *frame) noexcept nogil:
    if layout.frame_instr_kind == INSTR_POINTER:
        return <int64_t>_word(frame + layout.frame_instr)
    return _int32(frame + layout.frame_instr)


cdef inline bint _running(Layout *layout, char *frame) noexcept nogil:
    """Whether the frame says that it is the one that executes (3.11+), or among those that do (to 3.10)."""
    cdef char *at = frame + layout.frame_stack_top
    if layout.frame_stack_top_kind == STACK_TOP_INDEX:
        return _int32(at) == -1
    if layout.frame_stack_top_kind == EXECUTING_BYTE:
        return at[0] == 1
    if layout.frame_stack_top_kind == EXECUTING_STATE:
        return at[0] == 0
    return _word(at) == 0


cdef inline bint _is_entry(Layout *layout, uint8_t owner) noexcept nogil:
    return layout.frame_entry_owner >= 0 and owner >= layout.frame_entry_owner


# ---- what to read -------------------------------------------------------------------------------------------------

cdef int reader_init(ThreadReader *reader, uintptr_t address, uint32_t max_depth) noexcept nogil:
    memset(reader, 0, sizeof(ThreadReader))
    reader.address = address
    reader.max_depth = max_depth
    reader.frame_capacity = 256
    reader.frames = <Walked *>malloc(reader.frame_capacity * sizeof(Walked))
    reader.stale = True
    return 0 if reader.frames != NULL else -1


cdef void reader_clear(ThreadReader *reader) noexcept nogil:
    free(reader.stack.items)
    free(reader.scattered.items)
    free(reader.remote)
    free(reader.buffer)
    free(reader.frames)
    memset(reader, 0, sizeof(ThreadReader))


cdef void reader_forget(ThreadReader *reader) noexcept nogil:
    """Give up all predictions, as one of them turned out to be unmapped."""
    reader.stack.count = reader.scattered.count = 0
    reader.base_entry = reader.base_frame = 0
    reader.cframes[0] = reader.cframes[1] = 0
    reader.stale = True


cdef size_t _expect(ThreadReader *reader, uintptr_t address, size_t size) noexcept nogil:
    """Add a range to what is read; returns where in the buffer it will be."""
    cdef iovec *range = &reader.remote[reader.remote_count]
    range.iov_base = <void *>address
    range.iov_len = size
    reader.remote_count += 1
    reader.buffer_size += size
    return reader.buffer_size - size


cdef inline int32_t _cframe_start(Layout *layout) noexcept nogil:
    """Its two words are neighbours."""
    return (layout.cframe_current_frame if layout.cframe_current_frame < layout.cframe_previous
            else layout.cframe_previous)


cdef void _expect_words(ThreadReader *reader, Layout *layout) noexcept nogil:
    """One reading of the current frame; through the cframe where there is one (3.11, 3.12)."""
    cdef int i
    reader.words_offset[reader.readings] = reader.buffer_size
    reader.readings += 1
    if layout.thread_cframe < 0:
        _expect(reader, reader.address + layout.thread_frame, 8)
        return
    _expect(reader, reader.address + layout.thread_cframe, 8)
    for i in range(2):
        if reader.cframes[i]:
            _expect(reader, reader.cframes[i] + _cframe_start(layout), CFRAME_WORDS)


cdef int _reserve_ranges(ThreadReader *reader) noexcept nogil:
    cdef uint32_t needed = 2 * (reader.stack.count + reader.scattered.count) + 8
    cdef void *grown
    if needed > reader.remote_capacity:
        grown = realloc(reader.remote, 2 * needed * sizeof(iovec))
        if grown == NULL:
            return -1
        reader.remote, reader.remote_capacity = <iovec *>grown, 2 * needed
    return 0


cdef int _reserve_buffer(ThreadReader *reader) noexcept nogil:
    cdef void *grown
    if reader.buffer_size > reader.buffer_capacity:
        grown = realloc(reader.buffer, 2 * reader.buffer_size)
        if grown == NULL:
            return -1
        reader.buffer, reader.buffer_capacity = <char *>grown, 2 * reader.buffer_size
    return 0


cdef int _lay_out(ThreadReader *reader, Layout *layout) noexcept nogil:
    """Write down what one sample reads, see the head of this file for the order; -1 if there is no memory for it."""
    cdef Region *region
    cdef uint32_t i
    if _reserve_ranges(reader) < 0:
        return -1
    reader.remote_count = reader.buffer_size = reader.readings = 0
    for i in range(reader.scattered.count):
        region = &reader.scattered.items[i]
        region.offset = _expect(reader, region.start, region.end - region.start)
    _expect_words(reader, layout)
    for i in range(reader.stack.count):
        region = &reader.stack.items[i]
        region.offset = region.second = _expect(reader, region.start, region.end - region.start)
    if reader.stack.count:
        _expect_words(reader, layout)
    for i in range(reader.stack.count if reader.strict else 0):
        region = &reader.stack.items[i]
        region.second = _expect(reader, region.start, region.end - region.start)
    for i in range(reader.scattered.count):
        region = &reader.scattered.items[reader.scattered.count - 1 - i]
        region.second = _expect(reader, region.start, region.end - region.start)
    reader.stale = False
    return _reserve_buffer(reader)


cdef int reader_read(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil:
    """Read everything that is expected; SAMPLED here means that all of it came."""
    cdef ssize_t got
    if reader.stale and _lay_out(reader, layout) < 0:
        return FAULT
    got = memory_readv(memory, reader.buffer, reader.remote, reader.remote_count)
    reader.read_ns = now_ns()
    if got == <ssize_t>reader.buffer_size:
        return SAMPLED
    if got == -ESRCH:
        return GONE
    if got == -EPERM:
        return DENIED
    return FAULT


# ---- where frames are ---------------------------------------------------------------------------------------------

cdef inline bint _holds(Region *region, uintptr_t address, size_t size) noexcept nogil:
    return address >= region.start and address + size <= region.end


cdef Region *_search(RegionList *list, uintptr_t address, size_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(list.count):
        if _holds(&list.items[list.count - 1 - i], address, size):
            return &list.items[list.count - 1 - i]
    return NULL


cdef inline Region *_find(ThreadReader *reader, uintptr_t address, size_t size, Region *hint) noexcept nogil:
    """The region that holds `size` bytes at `address`, or NULL. A caller's frame is often in the callee's region,
    `hint`, or in the one before it."""
    if hint != NULL:
        if _holds(hint, address, size):
            return hint
        if hint != reader.stack.items and hint != reader.scattered.items and _holds(hint - 1, address, size):
            return hint - 1
    hint = _search(&reader.stack, address, size)
    return hint if hint != NULL else _search(&reader.scattered, address, size)


cdef inline bint _on_stack(ThreadReader *reader, Region *region) noexcept nogil:
    return reader.stack.items <= region < reader.stack.items + reader.stack.count


cdef inline void _mark_used(Region *region, uintptr_t start, uintptr_t end) noexcept nogil:
    if start < region.used_start:
        region.used_start = start
    if end > region.used_end:
        region.used_end = end


cdef inline uintptr_t _with_slack(uintptr_t end) noexcept nogil:
    """Room for the next frames, but not beyond the page, which is the last one known to be mapped."""
    cdef uintptr_t page_end = (end + PAGE - 1) & ~<uintptr_t>(PAGE - 1)
    return end + STACK_SLACK if end + STACK_SLACK < page_end else page_end


cdef bint _widen(RegionList *list, uintptr_t start, uintptr_t end, uintptr_t gap) noexcept nogil:
    """Let a neighbouring region include [start, end), if there is one within `gap`."""
    cdef Region *region
    cdef uint32_t i
    for i in range(list.count):
        region = &list.items[list.count - 1 - i]
        if start <= region.end + gap and end + gap >= region.start:
            region.start = start if start < region.start else region.start
            region.end = end if end > region.end else region.end
            _mark_used(region, start, end)
            return True
    return False


cdef Region *_insert(RegionList *list, uint32_t place) noexcept nogil:
    """Make room for one more region before index `place`; NULL if there is no memory or there are too many."""
    cdef uint32_t capacity = 2 * list.capacity + 16
    cdef void *grown
    if list.count == list.capacity:
        grown = realloc(list.items, capacity * sizeof(Region)) if capacity <= REGIONS_MAX else NULL
        if grown == NULL:
            return NULL
        list.items, list.capacity = <Region *>grown, capacity
    memmove(&list.items[place + 1], &list.items[place], (list.count - place) * sizeof(Region))
    list.count += 1
    return &list.items[place]


cdef int _add(ThreadReader *reader, uintptr_t start, uintptr_t end, bint on_stack) noexcept nogil:
    """Read [start, end) with every sample from now on; -1 if there is no memory for it."""
    cdef RegionList *list = &reader.stack if on_stack else &reader.scattered
    cdef uint32_t place = list.count
    cdef Region *region
    cdef uintptr_t with_slack = _with_slack(end) if on_stack else end
    reader.stale = True
    if _widen(list, start, with_slack, STACK_GAP if on_stack else SCATTERED_GAP):
        return 0
    while on_stack and place > 0 and list.items[place - 1].start > start:
        place -= 1
    region = _insert(list, place)
    if region == NULL:
        return -1
    region.start, region.end = start, with_slack
    region.used_start, region.used_end = start, end
    return 0


cdef bint _trim(RegionList *list, bint on_stack) noexcept nogil:
    """Give up what no sample needed lately, so that one deep moment does not cost for ever."""
    cdef uint32_t i, kept = 0
    cdef Region region
    cdef uintptr_t end
    cdef bint changed = False
    for i in range(list.count):
        region = list.items[i]
        if region.used_end <= region.used_start:
            changed = True
            continue
        end = _with_slack(region.used_end) if on_stack else region.used_end
        if region.used_start > region.start or end < region.end:
            region.start = region.used_start
            region.end = end if end < region.end else region.end
            changed = True
        region.used_start, region.used_end = <uintptr_t>-1, 0
        list.items[kept] = region
        kept += 1
    list.count = kept
    return changed


cdef void reader_be_strict(ThreadReader *reader) noexcept nogil:
    """Take two copies of everything from now on, for some samples: the last read showed something new."""
    reader.stale = reader.stale or not reader.strict
    reader.strict = STRICT_FOR


cdef void reader_accept(ThreadReader *reader) noexcept nogil:
    """Account for a sample that was accepted."""
    reader.accepted += 1
    if reader.strict:
        reader.strict -= 1
        reader.stale = reader.stale or not reader.strict
    if reader.accepted >= TRIM_EVERY:
        reader.accepted = 0
        if _trim(&reader.stack, True):
            reader.stale = True
        if _trim(&reader.scattered, False):
            reader.stale = True


cdef int _learn_chain(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil:
    """Follow the links from the missing frame one by one, to learn where its callers are. What is seen on the way
    need not be consistent: it only says what to read next time."""
    cdef char pages[3 * PAGE]
    cdef uintptr_t address = reader.missing, callee = reader.missing_callee, loaded = 0, loaded_end = 0
    cdef uint32_t scattered = 0, steps = 0
    cdef char *frame
    cdef uint8_t owner
    while address and steps < reader.max_depth and _find(reader, address, layout.frame_size, NULL) == NULL:
        if address < loaded or address + layout.frame_size > loaded_end:
            loaded = address & ~<uintptr_t>(PAGE - 1)
            loaded_end = (address + layout.frame_size + PAGE - 1) & ~<uintptr_t>(PAGE - 1)
            if memory_read(memory, loaded, pages, loaded_end - loaded) != <ssize_t>(loaded_end - loaded):
                break
        frame = pages + (address - loaded)
        owner = <uint8_t>frame[layout.frame_owner] if layout.frame_owner >= 0 else 1
        if owner == 0:
            if _add(reader, address, address + layout.frame_size, True) < 0:
                break
        elif _is_entry(layout, owner) and _previous(layout, frame) == 0:
            if callee or address != reader.base_entry:
                reader.base_entry, reader.base_frame = address, callee
            break
        elif scattered < reader.frame_capacity or _grow_frames(reader) == 0:
            reader.frames[scattered].address = address
            scattered += 1
        callee = address
        address = _previous(layout, frame)
        steps += 1
    return <int>scattered


cdef int reader_learn(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil:
    """After MISSED: find out what has to be read, so that the next read has it."""
    cdef int scattered
    if reader.missing == 0:
        return 0
    scattered = _learn_chain(reader, memory, layout)
    while scattered > 0:  # outermost first
        scattered -= 1
        if _add(reader, reader.frames[scattered].address,
                reader.frames[scattered].address + layout.frame_size, False) < 0:
            return -1
    return 0


# ---- the walk -----------------------------------------------------------------------------------------------------

cdef int _grow_frames(ThreadReader *reader) noexcept nogil:
    cdef void *grown = realloc(reader.frames, 2 * reader.frame_capacity * sizeof(Walked))
    if grown == NULL:
        return -1
    reader.frames, reader.frame_capacity = <Walked *>grown, 2 * reader.frame_capacity
    return 0


cdef inline bint _linked(Layout *layout, char *frame) noexcept nogil:
    return _running(layout, frame) and _previous(layout, frame) != 0


cdef inline bint _agree(Layout *layout, char *first, char *second) noexcept nogil:
    return _code(layout, first) == _code(layout, second) and _previous(layout, first) == _previous(layout, second)


cdef inline bint _same(Layout *layout, char *first, char *second, bint innermost) noexcept nogil:
    """Whether nothing that matters changed in a frame from one copy to the next."""
    return (_agree(layout, first, second) and _running(layout, first) == _running(layout, second)
            and (innermost or _instr(layout, first) == _instr(layout, second)))


cdef char *_choose(Layout *layout, char *first, char *second, bint innermost) noexcept nogil:
    """The copy of a frame to believe, or NULL. Only the innermost frame may have changed between the copies."""
    if _agree(layout, first, second):
        if innermost:
            return first if _running(layout, first) else second
        return second if _instr(layout, first) == _instr(layout, second) else NULL
    if not innermost:
        return NULL
    if _linked(layout, first):
        return first
    return second if _linked(layout, second) else NULL


cdef char *_choose_executing(Layout *layout, char *first, char *second, bint innermost) noexcept nogil:
    """The same up to 3.10, where every frame of a running stack says that it executes."""
    cdef bint in_first = _running(layout, first), in_second = _running(layout, second)
    cdef bint settled = in_first and in_second
    if innermost and _previous(layout, first):
        settled = True  # it may be about to execute, or just have done so, but is linked all the while
    if settled and _agree(layout, first, second):
        return first
    if not innermost:
        return NULL
    if in_first and _previous(layout, first):
        return first
    return second if in_second and _previous(layout, second) else NULL


cdef inline int _push(ThreadReader *reader, Layout *layout, uintptr_t address, char *frame) noexcept nogil:
    cdef Walked *walked
    if reader.depth == reader.frame_capacity and _grow_frames(reader) < 0:
        return -1
    walked = &reader.frames[reader.depth]
    walked.address = address
    walked.code = _code(layout, frame)
    walked.instr = _instr(layout, frame)
    reader.depth += 1
    return 0 if walked.code else -1


cdef int _walk_from(ThreadReader *reader, Layout *layout, uintptr_t top) noexcept nogil:
    """Fill `frames` from the frame at `top` outwards, out of the buffer."""
    cdef uintptr_t address = top, callee = 0, previous
    cdef bint nested = layout.frame_owner < 0, innermost = True, entry, at_end = False, on_stack = False
    cdef Region *region = NULL
    cdef char *first
    cdef char *second
    cdef char *frame
    cdef uint32_t steps = 0
    reader.depth = reader.truncated = reader.running = 0
    reader.agreed = reader.strict or nested
    reader.unlinked = False
    while address:
        if address == reader.base_entry and (callee == reader.base_frame or callee == 0):
            return SAMPLED
        region = _find(reader, address, layout.frame_size, region)
        if region == NULL:
            reader.missing, reader.missing_callee = address, callee
            return MISSED
        first = reader.buffer + region.offset + (address - region.start)
        second = reader.buffer + region.second + (address - region.start)
        _mark_used(region, address, address + layout.frame_size)
        if nested:
            frame = _choose_executing(layout, first, second, reader.depth == 0)
            entry, at_end = False, True
        else:
            on_stack = _on_stack(reader, region)
            if on_stack:
                reader.agreed = reader.agreed and _same(layout, first, second, reader.depth == 0)
            frame = first if on_stack else _choose(layout, first, second, reader.depth == 0)
            entry = _is_entry(layout, <uint8_t>first[layout.frame_owner])
            at_end = entry or (layout.frame_entry_owner < 0 and on_stack)
        if frame == NULL or (not nested and <uint8_t>frame[layout.frame_owner] > OWNER_MAX):
            return TORN
        previous = _previous(layout, frame)
        if entry:
            innermost = False
        else:
            if innermost and not nested and _running(layout, frame):
                if reader.running:
                    return TORN
                reader.running = True
                reader.depth = 0  # frames further in had been left, or not yet entered, at the instant of the copy
            if _push(reader, layout, address, frame) < 0:
                return TORN
            if layout.frame_is_entry >= 0 and frame[layout.frame_is_entry]:
                innermost = False
        if reader.depth >= reader.max_depth:
            reader.truncated = True
            return SAMPLED
        steps += 1
        if steps > 2 * reader.max_depth or (on_stack and previous >= address and _holds(region, previous, 1)):
            return TORN  # a circle
        callee = address
        address = previous
    reader.unlinked = not at_end
    return SAMPLED if at_end else TORN


cdef char *_cframe_words(ThreadReader *reader, Layout *layout, int reading, uintptr_t cframe) noexcept nogil:
    """What was read of a cframe, from its start; NULL if it was not expected, but it will be next time."""
    cdef char *words = reader.buffer + reader.words_offset[reading] + 8
    cdef int i
    for i in range(2):
        if reader.cframes[i] == cframe:
            return words - _cframe_start(layout)
        words += CFRAME_WORDS if reader.cframes[i] else 0
    reader.cframes[1] = reader.cframes[0]
    reader.cframes[0] = cframe
    reader.stale = True
    return NULL


cdef bint _current_frame(ThreadReader *reader, Layout *layout, int reading, uintptr_t *frame) noexcept nogil:
    """What a reading says; false if the cframe had moved."""
    cdef uintptr_t word = _word(reader.buffer + reader.words_offset[reading])
    cdef char *cframe
    frame[0] = word
    if layout.thread_cframe < 0 or word == 0:
        return True
    cframe = _cframe_words(reader, layout, reading, word)
    if cframe == NULL:
        return False
    frame[0] = _word(cframe + layout.cframe_current_frame)
    return True


cdef int _walk_outer(ThreadReader *reader, Layout *layout) noexcept nogil:
    """3.11 and 3.12 link a new cframe before they fill it in: until then the one before it has the current frame."""
    cdef uintptr_t word = _word(reader.buffer + reader.words_offset[0])
    cdef char *cframe = _cframe_words(reader, layout, 0, word) if word else NULL
    if cframe == NULL:
        return TORN
    word = _word(cframe + layout.cframe_previous)
    cframe = _cframe_words(reader, layout, 0, word) if word else NULL
    if cframe == NULL:
        return MISSED if word else TORN
    return _walk_from(reader, layout, _word(cframe + layout.cframe_current_frame))


cdef int _walk_before(ThreadReader *reader, Layout *layout, uintptr_t before, int outcome) noexcept nogil:
    """The second reading led to no stack: perhaps the first one does. Of two misses the second reading's counts."""
    cdef uintptr_t missing = reader.missing, missing_callee = reader.missing_callee
    if _walk_from(reader, layout, before) == SAMPLED and reader.running:
        return SAMPLED
    if missing == 0:
        return MISSED if reader.missing else outcome
    reader.missing, reader.missing_callee = missing, missing_callee
    return outcome


cdef int reader_walk(ThreadReader *reader, Layout *layout) noexcept nogil:
    """Turn what was read into `frames`, leaf first; `depth` is 0 if the thread runs no Python."""
    cdef uintptr_t before, after
    cdef int outcome
    reader.missing = reader.unlinked = 0
    reader.depth = reader.truncated = 0
    if not _current_frame(reader, layout, reader.readings - 1, &after):
        return MISSED
    if not _current_frame(reader, layout, 0, &before):
        return MISSED
    if before == 0 and after == 0:
        return SAMPLED
    outcome = _walk_from(reader, layout, after) if after else TORN
    if outcome == TORN and reader.unlinked and before == after and layout.thread_cframe >= 0:
        outcome = _walk_outer(reader, layout)
    if before != after or (layout.frame_stack_top_kind == STACK_TOP_INDEX and not reader.running):
        reader.agreed = False
    if outcome == SAMPLED or before == after or before == 0:
        return outcome
    outcome = _walk_before(reader, layout, before, outcome)
    reader.agreed = False
    return outcome

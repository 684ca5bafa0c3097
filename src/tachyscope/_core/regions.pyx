# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What is read of a thread with each sample, and where: prediction, the one read, and learning from its misses.

In one call and in this order:

    current frame       a first reading
    data stack          low to high: close to one instant, the moment that the sample is about
    current frame       a second reading
    scattered frames    what is not on the data stack: generators, coroutines, entry frames on the C stack
    scattered frames    again, in reverse order

What is read is taken out of the cache of the target's CPU, so it has to wait the next time that it writes there. To
read first what the sample is about keeps this out of the sample. A strict read takes the data stack twice, and the
scattered frames before and after it: the windows around the current frame are nested.

Up to 3.10 there is no data stack, all frames are scattered objects:

    current frame       the moment that the sample is about
    frames              innermost first
    current frame       a second reading
    frames              again, in reverse order
    current frame       a third reading
"""

from libc.errno cimport EPERM, ESRCH
from libc.stdint cimport int32_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove, memset

from tachyscope._core.frames cimport code_of, instr_of, is_entry, previous_of, running, word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory, iovec, memory_read, memory_readv, now_ns


cdef enum:
    PAGE = 4096
    STACK_SLACK = 1024         # bytes above the innermost frame that are read too: room for the next calls
    STACK_GAP = PAGE           # data stack frames this close are read as one range (no unmapped page fits between)
    SCATTERED_GAP = 2048       # reading so many bytes more costs no more than another range
    SCATTERED_MAX = 8192       # bytes of one range: more take so long that its frames are not of one moment
    LOOK_EVERY = 4             # reads after which scattered ranges are looked at: is each still needed?
    IDLE_LOOKS = 64            # so often, at most, a range may be found idle before it is given up
    MANY_IDLE = 8              # ranges
    IMPATIENT = 16
    TRIM_EVERY = 256           # reads after which what was not needed of ranges is given up
    CFRAME_WORDS = 16          # bytes of a cframe that are read: current_frame and previous
    STRICT_FOR = 16            # samples that are read strictly after something new was seen
    REGIONS_MAX = 1 << 16
    FRAME_MAX = 256            # bytes; the frames of versions with entry frames are far smaller


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
    free(reader.own)
    free(reader.frames)
    memset(reader, 0, sizeof(ThreadReader))


cdef void reader_forget(ThreadReader *reader) noexcept nogil:
    """Give up all predictions, as one of them turned out to be unmapped."""
    reader.stack.count = reader.scattered.count = 0
    reader.inner_count = 0
    reader.base_entry = reader.base_frame = 0
    memset(reader.cframes, 0, sizeof(reader.cframes))
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
    """One reading of the current frame, through the cframe where there is one (3.11, 3.12); the first one with what
    else the thread state says. The cframes come first: the program waits when it writes to the thread state after
    that was read, which it does with every call."""
    cdef int32_t word = layout.thread_frame if layout.thread_cframe < 0 else layout.thread_cframe
    cdef int i
    reader.cframes_offset[reader.readings] = reader.buffer_size
    for i in range(CFRAMES if layout.thread_cframe >= 0 else 0):
        if reader.cframes[i]:
            _expect(reader, reader.cframes[i] + _cframe_start(layout), CFRAME_WORDS)
    if reader.readings == 0:
        reader.state_offset = _expect(reader, reader.address + layout.state_start, layout.state_end - layout.state_start)
        reader.words_offset[0] = reader.state_offset + (word - layout.state_start)
    else:
        reader.words_offset[reader.readings] = _expect(reader, reader.address + word, 8)
    reader.readings += 1


cdef int _reserve_ranges(ThreadReader *reader) noexcept nogil:
    cdef uint32_t needed = 2 * (reader.stack.count + reader.scattered.count + CFRAMES + READINGS) + 1
    cdef void *grown
    if needed > reader.remote_capacity:
        grown = realloc(reader.remote, 2 * needed * sizeof(iovec))
        if grown == NULL:
            return -1
        reader.remote, reader.remote_capacity = <iovec *>grown, 2 * needed
    return 0


cdef int _reserve_buffer(ThreadReader *reader) noexcept nogil:
    cdef void *grown
    if reader.buffer_size > reader.own_size:
        grown = realloc(reader.own, 2 * reader.buffer_size)
        if grown == NULL:
            return -1
        reader.own, reader.own_size = <char *>grown, 2 * reader.buffer_size
    return 0


cdef void _expect_stack(ThreadReader *reader, Layout *layout) noexcept nogil:
    """The current frame, the data stack, and the current frame again."""
    cdef Region *region
    cdef uint32_t i
    _expect_words(reader, layout)
    for i in range(reader.stack.count):
        region = &reader.stack.items[i]
        region.offset = region.second = _expect(reader, region.start, region.end - region.start)
    if reader.stack.count and (reader.strict or layout.frame_stack_top_kind >= 0):
        _expect_words(reader, layout)  # where no frame says that it runs, only a strict read needs it
    for i in range(reader.stack.count if reader.strict else 0):
        region = &reader.stack.items[i]
        region.second = _expect(reader, region.start, region.end - region.start)


cdef void _expect_scattered(ThreadReader *reader, bint inwards, bint second) noexcept nogil:
    """One copy of the scattered frames, innermost last or first."""
    cdef Region *region
    cdef uint32_t i
    for i in range(reader.scattered.count):
        region = &reader.scattered.items[i if inwards else reader.scattered.count - 1 - i]
        if second:
            region.second = _expect(reader, region.start, region.end - region.start)
        else:
            region.offset = _expect(reader, region.start, region.end - region.start)


cdef int _lay_out(ThreadReader *reader, Layout *layout) noexcept nogil:
    """Write down what one sample reads, see the head of this file for the order; -1 if there is no memory for it."""
    if _reserve_ranges(reader) < 0:
        return -1
    reader.remote_count = reader.buffer_size = reader.readings = 0
    if reader.link:
        reader.link_offset = _expect(reader, reader.link, 8)
    if layout.frame_owner < 0:
        _expect_words(reader, layout)
        _expect_scattered(reader, False, False)
        _expect_words(reader, layout)
        _expect_scattered(reader, True, True)
        _expect_words(reader, layout)
    elif reader.strict:
        _expect_scattered(reader, True, False)
        _expect_stack(reader, layout)
        _expect_scattered(reader, False, True)
    else:
        _expect_stack(reader, layout)
        _expect_scattered(reader, False, False)
        _expect_scattered(reader, True, True)
    reader.stale = False
    return _reserve_buffer(reader)


cdef int reader_prepare(ThreadReader *reader, Layout *layout) noexcept nogil:
    """Bring `remote`, the list of what the next read reads, up to date; -1 if there is no memory for it."""
    reader.reads += 1
    if reader.reads % LOOK_EVERY == 0:
        _tidy(reader)
    return _lay_out(reader, layout) if reader.stale else 0


cdef int reader_read(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil:
    """Read everything that is expected; SAMPLED here means that all of it came."""
    cdef ssize_t got
    if reader_prepare(reader, layout) < 0:
        return FAULT
    reader.buffer = reader.own
    got = memory_readv(memory, reader.buffer, reader.remote, reader.remote_count)
    reader.read_ns = now_ns()
    if got == <ssize_t>reader.buffer_size:
        return SAMPLED
    if got == -ESRCH:
        return GONE
    if got == -EPERM:
        return DENIED
    return FAULT


cdef void reader_relink(ThreadReader *reader, uintptr_t link) noexcept nogil:
    """The list of threads points to this one from another place now."""
    reader.stale = reader.stale or reader.link != link
    reader.link = link


cdef uintptr_t reader_state(ThreadReader *reader, Layout *layout, int field) noexcept nogil:
    """A word of the thread state as it was read last; `field` is its offset there."""
    return word_at(reader.buffer + reader.state_offset + (field - layout.state_start))


# ---- where frames are ---------------------------------------------------------------------------------------------

cdef Region *region_search(RegionList *list, uintptr_t address, size_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(list.count):
        if region_holds(&list.items[list.count - 1 - i], address, size):
            return &list.items[list.count - 1 - i]
    return NULL


cdef inline uintptr_t _with_slack(uintptr_t end) noexcept nogil:
    """Room for the next frames, but not beyond the page, which is the last one known to be mapped."""
    cdef uintptr_t page_end = (end + PAGE - 1) & ~<uintptr_t>(PAGE - 1)
    return end + STACK_SLACK if end + STACK_SLACK < page_end else page_end


cdef bint _widen(RegionList *list, uintptr_t start, uintptr_t end, uintptr_t gap, uintptr_t most) noexcept nogil:
    """Let a neighbouring region include [start, end), if there is one within `gap` and that makes it no larger than
    `most`."""
    cdef Region *region
    cdef uint32_t i
    for i in range(list.count):
        region = &list.items[list.count - 1 - i]
        if (start <= region.end + gap and end + gap >= region.start
                and region.end <= start + most and end <= region.start + most):
            region.start = start if start < region.start else region.start
            region.end = end if end > region.end else region.end
            region_mark_used(region, start, end)
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
    if _widen(list, start, with_slack, STACK_GAP if on_stack else SCATTERED_GAP,
              <uintptr_t>1 << 40 if on_stack else SCATTERED_MAX):
        return 0
    while on_stack and place > 0 and list.items[place - 1].start > start:
        place -= 1
    region = _insert(list, place)
    if region == NULL:
        return -1
    memset(region, 0, sizeof(Region))
    region.start, region.end = start, with_slack
    region.used_start, region.used_end = start, end
    region.used = True
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
            if on_stack:
                changed = True
                continue
            region.used_start, region.used_end = region.start, region.end
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


cdef bint _drop_idle(RegionList *list) noexcept nogil:
    """Give up scattered ranges that were not needed for longer than they had been: frames that are gone. Where many
    are idle they go sooner: reading them all takes longer than to learn one again."""
    cdef uint32_t i, kept = 0, idle = 0, patience
    cdef Region *region
    for i in range(list.count):
        idle += not list.items[i].used
    patience = 1 if idle <= MANY_IDLE else IMPATIENT
    for i in range(list.count):
        region = &list.items[i]
        if region.used:
            region.used_looks += region.used_looks < IDLE_LOOKS
        region.idle_looks = 0 if region.used else region.idle_looks + 1
        if region.idle_looks > region.used_looks / patience:
            continue
        region.used = False
        list.items[kept] = region[0]
        kept += 1
    i, list.count = list.count, kept
    return kept != i


cdef void _keep_order(ThreadReader *reader, Layout *layout) noexcept nogil:
    """Let the scattered ranges of the last stack be read closest to the current frame, the innermost one closest."""
    cdef RegionList *list = &reader.scattered
    cdef Region *region
    cdef Region moved
    cdef uint32_t i, place
    for i in range(reader.depth):
        region = region_search(list, reader.frames[reader.depth - 1 - i].address, layout.frame_size)
        if region == NULL:
            continue
        moved, place = region[0], <uint32_t>(region - list.items)
        memmove(region, region + 1, (list.count - 1 - place) * sizeof(Region))
        list.items[list.count - 1] = moved
    reader.stale = True
    reader.disordered = False


cdef void _tidy(ThreadReader *reader) noexcept nogil:
    """Now and then: give up what is not needed any more."""
    if _drop_idle(&reader.scattered):
        reader.stale = True
    if reader.reads % TRIM_EVERY == 0:
        if _trim(&reader.stack, True):
            reader.stale = True
        if _trim(&reader.scattered, False):
            reader.stale = True


cdef void reader_be_strict(ThreadReader *reader) noexcept nogil:
    """Take two copies of everything from now on, for some samples: the last read showed something new."""
    reader.stale = reader.stale or not reader.strict
    reader.strict = STRICT_FOR


cdef void reader_accept(ThreadReader *reader, Layout *layout) noexcept nogil:
    """Account for a sample that was accepted."""
    if reader.strict:
        reader.strict -= 1
        reader.stale = reader.stale or not reader.strict
    if reader.disordered:
        _keep_order(reader, layout)


cdef bint reader_push_inner(ThreadReader *reader, Layout *layout, uintptr_t address, char *frame) noexcept nogil:
    cdef Walked *walked = &reader.inner[reader.inner_count]
    walked.address, walked.code, walked.instr = address, code_of(layout, frame), instr_of(layout, frame)
    reader.inner_count += walked.code != 0
    return walked.code != 0


cdef void reader_keep_inner(ThreadReader *reader, Layout *layout, uintptr_t address) noexcept nogil:
    """Add to `inner`: frames from `address` outwards that executed in the first copy, or in the second one and were of the
    same function in the first (the innermost one need not execute: it may just have ended)."""
    cdef Region *region
    cdef char *first
    cdef char *second
    while address and reader.inner_count < INNER:
        region = region_find(reader, address, layout.frame_size, NULL)
        if region == NULL:
            return
        first = first_copy(reader, region, address)
        second = second_copy(reader, region, address)
        if not running(layout, first):
            if code_of(layout, first) != code_of(layout, second) or (reader.inner_count and not running(layout, second)):
                return
            first = second
        if not reader_push_inner(reader, layout, address, first) or not running(layout, first):
            return
        address = previous_of(layout, first)


cdef bint _is_frame(ThreadReader *reader, Memory *memory, Layout *layout, char *frame) noexcept nogil:
    """Whether this is a frame (to 3.10), or its code a code object (3.11+), as far as their types are known yet."""
    cdef uintptr_t type_address = 0
    if layout.frame_owner < 0:  # itself an object
        return reader.frame_type == 0 or word_at(frame + layout.object_type) == reader.frame_type
    if reader.code_type == 0:
        return True
    memory_read(memory, code_of(layout, frame) + layout.object_type, &type_address, 8)
    return type_address == reader.code_type


cdef bint _nothing_below(Memory *memory, Layout *layout, uintptr_t address) noexcept nogil:
    """Whether an entry frame's caller is none, or (3.15) the entry frame inside the thread state, which has none."""
    cdef char frame[FRAME_MAX]
    if address == 0:
        return True
    if layout.frame_size > FRAME_MAX or memory_read(memory, address, frame, layout.frame_size) != layout.frame_size:
        return False
    return is_entry(layout, <uint8_t>frame[layout.frame_owner]) and previous_of(layout, frame) == 0


cdef int _learn_chain(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil:
    """Follow the links from the missing frame one by one, to learn where its callers are. What is seen on the way
    need not be consistent: it only says what to read next time."""
    cdef char pages[3 * PAGE]
    cdef uintptr_t address = reader.missing, callee = reader.missing_callee, loaded = 0, loaded_end = 0
    cdef uint32_t scattered = 0, steps = 0
    cdef bint certain = layout.frame_owner < 0
    cdef char *frame
    cdef uint8_t owner
    while address and steps < reader.max_depth and region_find(reader, address, layout.frame_size, NULL) == NULL:
        if loaded_end == 0 or address < loaded or address > loaded_end - layout.frame_size:
            loaded = address & ~<uintptr_t>(PAGE - 1)
            loaded_end = (address + layout.frame_size + PAGE - 1) & ~<uintptr_t>(PAGE - 1)
            if memory_read(memory, loaded, pages, loaded_end - loaded) != <ssize_t>(loaded_end - loaded):
                break
        frame = pages + (address - loaded)
        certain = certain and steps < INNER and running(layout, frame)
        owner = <uint8_t>frame[layout.frame_owner] if layout.frame_owner >= 0 else 1
        if address & 7 or not (is_entry(layout, owner) or _is_frame(reader, memory, layout, frame)):
            break  # freed and used for something else by now
        if owner == 0:
            if _add(reader, address, address + layout.frame_size, True) < 0:
                break
        elif is_entry(layout, owner) and _nothing_below(memory, layout, previous_of(layout, frame)):
            if callee or address != reader.base_entry:
                reader.base_entry, reader.base_frame = address, callee
            break
        elif scattered < reader.frame_capacity or reader_grow_frames(reader) == 0:
            reader.frames[scattered].address = address
            scattered += 1
        if certain and reader.inner_count < INNER:
            certain = reader_push_inner(reader, layout, address, frame)
        callee = address
        address = previous_of(layout, frame)
        steps += 1
    if certain:
        reader_keep_inner(reader, layout, address)
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


cdef int reader_grow_frames(ThreadReader *reader) noexcept nogil:
    cdef void *grown = realloc(reader.frames, 2 * reader.frame_capacity * sizeof(Walked))
    if grown == NULL:
        return -1
    reader.frames, reader.frame_capacity = <Walked *>grown, 2 * reader.frame_capacity
    return 0


cdef char *reader_cframe(ThreadReader *reader, Layout *layout, int reading, uintptr_t cframe) noexcept nogil:
    """What was read of a cframe, from its start; NULL if it was not expected, but it will be next time."""
    cdef char *words = reader.buffer + reader.cframes_offset[reading]
    cdef int i
    for i in range(CFRAMES):
        if reader.cframes[i] == cframe:
            return words - _cframe_start(layout)
        words += CFRAME_WORDS if reader.cframes[i] else 0
    for i in range(CFRAMES - 1, 0, -1):
        reader.cframes[i] = reader.cframes[i - 1]
    reader.cframes[0] = cframe
    reader.stale = True
    return NULL

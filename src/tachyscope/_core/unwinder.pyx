# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""From what was read of a thread to its frames, consistent.

The target runs while it is read; `regions` says what is read, and in which order.

The data stack's copy is the sample. A frame that runs bytecode says so itself (its saved stack top is cleared while
it runs), so the copy tells which of its frames was innermost, whatever the thread did before or after; the
readings of the current frame only say where to start. This matters for truth in two ways: callers and callees come
from one instant, and short functions are not thrown away more often than long ones. Scattered frames are accepted if
both copies agree. Where nothing is marked as running (the thread is between two frames; or the version does not mark it, 3.14+) the
current frame is innermost. What is not accepted is read again at once.

One copy is not quite one instant: its cache lines arrive a few dozen nanoseconds apart, or microseconds if an
interrupt comes between. So a call that was never seen before has to be seen in a strict read, which takes a second
copy of the data stack and wants both to agree. Calls repeat, so this costs nothing in the long run, and unlike
wanting it of every sample, it does not favour long-lived frames.

Hard cases, each with a test: recursion over several data stack chunks; generators and coroutines (on the heap,
linked into the chain only while they run); C code that calls back into Python (entry frames, 3.12+; `is_entry`, 3.11);
frames of a popped segment that still lie in memory; a frame being pushed or cleared.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from tachyscope._core.codes cimport NATIVE_ADDRESS
from tachyscope._core.confirm cimport reader_count_unseen
from tachyscope._core.frames cimport INSTR_POINTER, code_of, instr_of, is_entry, previous_of, running, word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.regions cimport (
    INNER, LINKS, MISSED, SAMPLED, TORN, Link, Region, ThreadReader, Walked,
    first_copy, reader_cframe, reader_grow_frames, reader_keep_inner, reader_push_inner, region_find, region_holds,
    region_mark_used, region_on_stack, second_copy,
)


cdef enum:
    CALLS_DEEPER = 4           # calls inwards that are followed to find the frame that runs
    STILL = 4                  # so many equal strict reads in a row: the thread does not run at all right now
    LASTING = 8                # times in a row that a frame had the same caller: it may be taken for granted (to 3.10)
    GENERATOR_OWNER = 1        # of an interpreter frame, 3.11+
    OWNER_MAX = 8              # larger owners do not exist: garbage


cdef inline bint _linked(Layout *layout, char *frame) noexcept nogil:
    """Whether a generator's frame is in use: only then has it a caller."""
    return previous_of(layout, frame) != 0


cdef inline bint _agree(Layout *layout, char *first, char *second) noexcept nogil:
    return code_of(layout, first) == code_of(layout, second) and previous_of(layout, first) == previous_of(layout, second)


cdef inline bint _same(Layout *layout, char *first, char *second, bint innermost) noexcept nogil:
    """Whether nothing that matters changed in a frame from one copy to the next."""
    return (_agree(layout, first, second) and running(layout, first) == running(layout, second)
            and (innermost or instr_of(layout, first) == instr_of(layout, second)))


cdef char *_choose(ThreadReader *reader, Layout *layout, char *first, char *second) noexcept nogil:
    """The copy of a scattered frame to believe, or NULL. A generator's frame has a caller only while it is in use; it
    may have been so in one copy only. The one below another frame has to wait for that, the innermost one to run."""
    cdef bint in_first = _linked(layout, first), in_second = _linked(layout, second)
    if is_entry(layout, <uint8_t>first[layout.frame_owner]):
        return first if _agree(layout, first, second) else NULL
    if in_first and in_second and _agree(layout, first, second):
        reader.agreed = reader.agreed and (reader.depth == 0 or instr_of(layout, first) == instr_of(layout, second))
        return first if running(layout, first) == (reader.depth == 0) else second
    reader.agreed = False
    if in_first:
        return first
    return second if in_second else NULL


cdef inline bint _may_be_left(Layout *layout) noexcept nogil:
    """Whether a frame that was left has lost its code but kept its instruction, by which that can be found (3.14+)."""
    return layout.frame_stack_top_kind < 0 and layout.frame_instr_kind == INSTR_POINTER


cdef inline int _push(ThreadReader *reader, Layout *layout, uintptr_t address, char *frame) noexcept nogil:
    cdef Walked *walked
    if reader.depth == reader.frame_capacity and reader_grow_frames(reader) < 0:
        return -1
    walked = &reader.frames[reader.depth]
    walked.address = address
    walked.code = code_of(layout, frame)
    walked.instr = instr_of(layout, frame)
    reader.depth += 1
    if walked.code == 0 and reader.depth == 1 and _may_be_left(layout):
        return 0
    return 0 if walked.code else -1


cdef int _push_native(ThreadReader *reader) noexcept nogil:
    """C code called the frame that was pushed last, and was itself called by the one that follows."""
    if reader.depth == reader.frame_capacity and reader_grow_frames(reader) < 0:
        return -1
    reader.frames[reader.depth].address = 0
    reader.frames[reader.depth].code = NATIVE_ADDRESS
    reader.frames[reader.depth].instr = 0
    reader.depth += 1
    return 0


cdef inline uint32_t _slot(uintptr_t frame) noexcept nogil:
    return (frame >> 3) & (LINKS - 1)


cdef void _remember(ThreadReader *reader) noexcept nogil:
    """The two innermost frames are beyond doubt: keep who called whom."""
    cdef Walked *callee = &reader.frames[0]
    cdef Walked *caller = &reader.frames[1]
    cdef Link *link
    cdef bint same
    if reader.depth > 1 and caller.address:
        link = &reader.links[_slot(callee.address)]
        same = link.frame == callee.address and link.code == callee.code and link.caller == caller.address
        link.times = link.times + 1 if same else 0
        link.frame, link.code, link.caller = callee.address, callee.code, caller.address
        link = &reader.callees[_slot(caller.address)]
        link.frame, link.code, link.caller = callee.address, callee.code, caller.address


cdef uintptr_t _known_caller(ThreadReader *reader, uintptr_t frame, uintptr_t code, uint32_t needed) noexcept nogil:
    cdef Link *link = &reader.links[_slot(frame)]
    return link.caller if link.frame == frame and link.code == code and link.times >= needed else 0


cdef uintptr_t _known_callee(ThreadReader *reader, uintptr_t frame) noexcept nogil:
    cdef Link *link = &reader.callees[_slot(frame)]
    return link.frame if link.caller == frame else 0


cdef int _walk_from(ThreadReader *reader, Layout *layout, uintptr_t top) noexcept nogil:
    """Fill `frames` from the frame at `top` outwards, out of the buffer (3.11+)."""
    cdef uintptr_t address = top, callee = 0, previous, known
    cdef bint innermost = True, entry, at_end = False, on_stack = False, stack_runs = False, from_c = False
    cdef Region *region = NULL
    cdef char *first
    cdef char *second
    cdef char *frame
    cdef uint32_t steps = 0
    reader.depth = reader.truncated = reader.running = 0
    reader.agreed = reader.strict > 0
    reader.unlinked = False
    while address:
        if address == reader.base_entry and (callee == reader.base_frame or callee == 0):
            return SAMPLED
        region = region_find(reader, address, layout.frame_size, region)
        if region == NULL:
            reader.missing, reader.missing_callee = address, callee
            return MISSED
        first = first_copy(reader, region, address)
        second = second_copy(reader, region, address)
        region_mark_used(region, address, address + layout.frame_size)
        on_stack = region_on_stack(reader, region)
        if on_stack:
            reader.agreed = reader.agreed and _same(layout, first, second, reader.depth == 0)
        frame = first if on_stack else _choose(reader, layout, first, second)
        known = 0
        if frame == NULL and reader.depth == 0 and not is_entry(layout, <uint8_t>first[layout.frame_owner]):
            known = _known_caller(reader, address, code_of(layout, first), 0)
            frame = first if known else NULL
        entry = is_entry(layout, <uint8_t>first[layout.frame_owner])
        at_end = entry or (layout.frame_entry_owner < 0 and on_stack)
        if frame == NULL or <uint8_t>frame[layout.frame_owner] > OWNER_MAX:
            return TORN
        previous = known if known else previous_of(layout, frame)
        if entry:
            innermost = False
            from_c = reader.native and reader.depth
        else:
            if from_c and _push_native(reader) < 0:
                return TORN
            from_c = False
            reader.generators = reader.generators or <uint8_t>frame[layout.frame_owner] == GENERATOR_OWNER
            if innermost and on_stack and not reader.left and running(layout, frame):
                if stack_runs:
                    return TORN
                stack_runs = reader.running = True
                reader.depth = 0  # frames further in had been left, or not yet entered, at the instant of the copy
            elif reader.depth == 0 and not known and not reader.left and running(layout, frame):
                reader.running = True
            if _push(reader, layout, address, frame) < 0:
                return TORN
            if layout.frame_is_entry >= 0 and frame[layout.frame_is_entry]:
                innermost = False
                from_c = reader.native
        if reader.depth >= reader.max_depth:
            reader.truncated = True
            return SAMPLED
        steps += 1
        if steps > 2 * reader.max_depth or (on_stack and previous >= address and region_holds(region, previous, 1)):
            return TORN  # a circle
        callee = address
        address = previous
    reader.unlinked = not at_end
    return SAMPLED if at_end else TORN


cdef int _push_linked(ThreadReader *reader, Layout *layout, uintptr_t address, char *frame) noexcept nogil:
    """Push a frame up to 3.10, where torn links may lead in a circle: -1 if they do, at the latest after a few rounds."""
    if reader.depth and address == reader.landmark:
        return -1
    if reader.depth & (reader.depth - 1) == 0:
        reader.landmark = address
    return _push(reader, layout, address, frame)


cdef Region *_heap_region(ThreadReader *reader, Layout *layout, uintptr_t address, Region *callee) noexcept nogil:
    """The range where a frame was read, NULL (MISSED) if it was not."""
    cdef Region *region = region_find(reader, address, layout.frame_size, callee)
    if region == NULL:
        reader.missing, reader.missing_callee = address, 0
        return NULL
    region_mark_used(region, address, address + layout.frame_size)
    reader.disordered = reader.disordered or (region > callee and callee != NULL)
    return region


cdef int _walk_both(ThreadReader *reader, Layout *layout, uintptr_t address) noexcept nogil:
    """Fill `frames` from the frame at `address` outwards, wanting both copies of each frame to agree (to 3.10). The
    innermost one may be about to execute, or just have done so, but is linked all the while."""
    cdef Region *region = NULL
    cdef char *first
    cdef char *second
    cdef bint settled
    while address:
        region = _heap_region(reader, layout, address, region)
        if region == NULL:
            return MISSED
        first = first_copy(reader, region, address)
        second = second_copy(reader, region, address)
        settled = running(layout, first) and running(layout, second)
        if reader.depth == 0 and previous_of(layout, first):
            settled = True
        if not (settled and _agree(layout, first, second)) or _push_linked(reader, layout, address, first) < 0:
            return TORN
        if reader.depth >= reader.max_depth:
            reader.truncated = True
            return SAMPLED
        address = previous_of(layout, first)
    reader.frame_type = word_at(first + layout.object_type) if reader.depth else reader.frame_type
    return SAMPLED


cdef bint _is_outermost(ThreadReader *reader, Layout *layout, uintptr_t address, Region *region) noexcept nogil:
    """A generator has no caller either, for a moment: in both copies the frame has to execute without one."""
    cdef char *first = first_copy(reader, region, address)
    cdef char *second = second_copy(reader, region, address)
    return _agree(layout, first, second) and running(layout, first) and running(layout, second)


cdef int _walk_copy(ThreadReader *reader, Layout *layout, uintptr_t address, bint second) noexcept nogil:
    """The same from one copy, in which all frames have to execute. As it was read in the order of the calls this is a
    stack that was there shortly after the current frame was read."""
    cdef Region *region = NULL
    cdef char *frame
    reader.depth = reader.truncated = 0
    while address:
        region = _heap_region(reader, layout, address, region)
        if region == NULL:
            return MISSED
        frame = second_copy(reader, region, address) if second else first_copy(reader, region, address)
        if previous_of(layout, frame) == 0 and not _is_outermost(reader, layout, address, region):
            return TORN
        if not running(layout, frame) or _push_linked(reader, layout, address, frame) < 0:
            return TORN
        if reader.depth >= reader.max_depth:
            reader.truncated = True
            return SAMPLED
        address = previous_of(layout, frame)
    return SAMPLED


cdef int _walk_known(ThreadReader *reader, Layout *layout, uintptr_t top) noexcept nogil:
    """A function that takes some nanoseconds may have neither begun in the first copy nor be there any more in the
    second. But the current frame was its own: it is believed with the caller that it always had."""
    cdef Region *region = _heap_region(reader, layout, top, NULL)
    cdef uintptr_t caller
    cdef char *frame
    if region == NULL:
        return MISSED
    frame = first_copy(reader, region, top)
    reader.depth = reader.truncated = 0
    caller = _known_caller(reader, top, code_of(layout, frame), LASTING)
    if caller == 0 or _push_linked(reader, layout, top, frame) < 0:
        return TORN
    return _walk_both(reader, layout, caller)


cdef int _walk_heap(ThreadReader *reader, Layout *layout, uintptr_t top) noexcept nogil:
    """Up to 3.10 frames are objects on the heap, and all of a running stack say that they execute. Short calls do not
    outlast the read: one of the copies has to do for them."""
    cdef int outcome
    reader.depth = reader.truncated = reader.running = 0
    reader.stayed = (word_at(reader.buffer + reader.words_offset[1]) == top
                     and word_at(reader.buffer + reader.words_offset[2]) == top)
    outcome = _walk_both(reader, layout, top)
    if outcome == SAMPLED:
        _remember(reader)
    elif outcome == TORN:
        outcome = _walk_copy(reader, layout, top, False)
        if outcome == TORN:
            outcome = _walk_copy(reader, layout, top, True)
        if outcome == TORN:
            outcome = _walk_known(reader, layout, top)
        reader.stayed = reader.stayed and outcome != TORN
    reader_count_unseen(reader, layout, reader.buffer + reader.words_offset[0])
    reader_keep_inner(reader, layout, top)
    return outcome


cdef bint _current_frame(ThreadReader *reader, Layout *layout, int reading, uintptr_t *frame) noexcept nogil:
    """What a reading says; false if the cframe had moved."""
    cdef uintptr_t word = word_at(reader.buffer + reader.words_offset[reading])
    cdef char *cframe
    frame[0] = word
    if layout.thread_cframe < 0 or word == 0:
        return True
    cframe = reader_cframe(reader, layout, reading, word)
    if cframe == NULL:
        return False
    frame[0] = word_at(cframe + layout.cframe_current_frame)
    return True


cdef int _walk_outer(ThreadReader *reader, Layout *layout) noexcept nogil:
    """3.11 and 3.12 link a new cframe before they fill it in: until then the one before it has the current frame."""
    cdef uintptr_t word = word_at(reader.buffer + reader.words_offset[0])
    cdef char *cframe = reader_cframe(reader, layout, 0, word) if word else NULL
    if cframe == NULL:
        return TORN
    word = word_at(cframe + layout.cframe_previous)
    cframe = reader_cframe(reader, layout, 0, word) if word else NULL
    if cframe == NULL:
        return MISSED if word else TORN
    return _walk_from(reader, layout, word_at(cframe + layout.cframe_current_frame))


cdef bint _is_below(ThreadReader *reader, uintptr_t frame) noexcept nogil:
    """Whether a frame is among those of the last walk."""
    cdef uint32_t i
    for i in range(reader.depth):
        if reader.frames[i].address == frame:
            return True
    return False


cdef int _walk_in(ThreadReader *reader, Layout *layout, uintptr_t top) noexcept nogil:
    """No frame from `top` outwards runs, so `top` is in a call: of the frame that it called last, or called from there,
    perhaps. If that one was running in this copy, it was innermost."""
    cdef uintptr_t frame = top
    cdef int level
    for level in range(CALLS_DEEPER):
        frame = _known_callee(reader, frame)
        if frame == 0 or _walk_from(reader, layout, frame) != SAMPLED:
            break
        if reader.running and _is_below(reader, top):  # else a call of long ago: its frame is another one's by now
            return SAMPLED
    return TORN


cdef int _walk_others(ThreadReader *reader, Layout *layout, uintptr_t before, uintptr_t after, int outcome) noexcept nogil:
    """The second reading of the current frame led to no frame that runs: try the first one, and what they call. If
    nothing runs anywhere, the second reading holds. Of two misses the second reading's counts."""
    cdef uintptr_t missing = reader.missing, missing_callee = reader.missing_callee
    if before and before != after and _walk_from(reader, layout, before) == SAMPLED and reader.running:
        return SAMPLED
    if outcome == SAMPLED:
        if _walk_in(reader, layout, after) == SAMPLED:
            return SAMPLED
        if before and before != after and _walk_in(reader, layout, before) == SAMPLED:
            return SAMPLED
        reader.missing = 0
        return _walk_from(reader, layout, after)
    if missing == 0:
        return MISSED if reader.missing else outcome
    reader.missing, reader.missing_callee = missing, missing_callee
    return outcome


cdef bint _settled(ThreadReader *reader, int outcome) noexcept nogil:
    """Whether the innermost frame is beyond doubt: it runs, or the thread stands still, perhaps waiting for a CPU."""
    cdef uint64_t seen = outcome
    cdef uint32_t i
    if reader.running or not reader.strict:
        return reader.running
    for i in range(reader.depth):
        seen = (seen ^ reader.frames[i].address ^ <uint64_t>reader.frames[i].instr) * <uint64_t>0x9E3779B97F4A7C15
        seen ^= seen >> 32
    reader.still = (reader.still + 1 if reader.still < STILL else STILL) if seen == reader.seen else 0
    reader.seen = seen
    return reader.still == STILL


cdef char *_generator(ThreadReader *reader, Layout *layout, uintptr_t frame) noexcept nogil:
    """A generator's frame in the first copy, NULL if it is something else."""
    cdef Region *region = region_find(reader, frame, layout.frame_size, NULL) if frame else NULL
    cdef char *first
    if region == NULL or region_on_stack(reader, region):
        return NULL
    first = first_copy(reader, region, frame)
    return first if <uint8_t>first[layout.frame_owner] == GENERATOR_OWNER else NULL


cdef void _keep_inner(ThreadReader *reader) noexcept nogil:
    """What is certain of a walk that failed: the frames up to there, if the first one runs."""
    if reader.running and reader.depth:
        reader.inner_count = reader.depth if reader.depth < INNER else INNER
        memcpy(reader.inner, reader.frames, reader.inner_count * sizeof(Walked))


cdef bint _walk_callee(ThreadReader *reader, Layout *layout, uintptr_t callee, uintptr_t caller,
                       int *outcome) noexcept nogil:
    """Whether this frame runs in the copy of the data stack, called by `caller` if that is not 0; then the outcome of
    the walk from it."""
    if callee == 0 or layout.frame_stack_top_kind < 0 or _generator(reader, layout, callee) != NULL:
        return False
    outcome[0] = _walk_from(reader, layout, callee)
    if not reader.running or reader.depth == 0 or (caller and not _is_below(reader, caller)):
        return False
    if outcome[0] == SAMPLED:
        _remember(reader)
    else:
        _keep_inner(reader)
    return True


cdef int _walk_generator(ThreadReader *reader, Layout *layout, uintptr_t current, uintptr_t after, char *frame) noexcept nogil:
    """The current frame was a generator's. It still was when the data stack was copied, unless what is current after
    that, or what it called last, runs there; a caller that waits for C code always looks as if it ran. A generator's
    frame does not become another one's: so much is certain."""
    cdef int outcome = _walk_from(reader, layout, current)
    cdef bint below = _is_below(reader, after)
    if not below and _walk_callee(reader, layout, after, 0, &outcome):
        return outcome
    if _walk_callee(reader, layout, _known_callee(reader, current), current, &outcome):
        return outcome
    reader.missing = reader.running = 0
    outcome = _walk_from(reader, layout, current)
    if outcome == SAMPLED and reader.frames[0].address == current:
        if reader.running:
            _remember(reader)
        return SAMPLED
    reader.inner_count = 0
    reader_push_inner(reader, layout, current, frame)
    return TORN if outcome == SAMPLED else outcome


cdef int _walk_unmarked(ThreadReader *reader, Layout *layout, uintptr_t current) noexcept nogil:
    """From 3.14 on no frame says that it runs: what the first reading calls current is innermost. A frame that was left
    since then lies there unchanged until something else is called."""
    cdef int outcome = _walk_from(reader, layout, current) if current else SAMPLED
    reader.agreed = reader.agreed and reader.stayed
    if reader.depth:
        reader.inner_count = 1
        reader.inner[0] = reader.frames[0]
    return outcome


cdef bint _walk_left(ThreadReader *reader, Layout *layout, uintptr_t before) noexcept nogil:
    """Whether the frame that was current before the copy does not run in it: a short function that was over by then, or
    one that called another since. What lies there and below it is walked, to be believed only if that call is known."""
    cdef Region *region = region_find(reader, before, layout.frame_size, NULL) if before else NULL
    cdef char *frame
    if region == NULL or not region_on_stack(reader, region):
        return False
    frame = first_copy(reader, region, before)
    if running(layout, frame) or is_entry(layout, <uint8_t>frame[layout.frame_owner]):
        return False
    reader.left = True
    if _walk_from(reader, layout, before) == SAMPLED and reader.depth > 1 and reader.frames[0].address == before:
        reader.inner_count, reader.inner[0], reader.agreed = 1, reader.frames[0], False
        return True
    reader.left = False
    return False


cdef int reader_walk(ThreadReader *reader, Layout *layout) noexcept nogil:
    """Turn what was read into `frames`, leaf first; `depth` is 0 if the thread runs no Python."""
    cdef uintptr_t before, after
    cdef char *generator
    reader.missing = reader.unlinked = reader.left = 0
    reader.depth = reader.truncated = reader.running = 0
    reader.inner_count = 0
    if layout.frame_owner < 0:
        return _walk_heap(reader, layout, word_at(reader.buffer + reader.words_offset[0]))
    if not _current_frame(reader, layout, reader.readings - 1, &after):
        return MISSED
    if not _current_frame(reader, layout, 0, &before):
        return MISSED
    if before == 0 and after == 0:
        return SAMPLED
    reader.stayed = before == after
    generator = _generator(reader, layout, before)
    if generator != NULL:
        return _walk_generator(reader, layout, before, after, generator)
    if layout.frame_stack_top_kind < 0:
        return _walk_unmarked(reader, layout, before)
    # Without a version in code objects (3.11) a call cannot be proved, and a coincidence would be believed for good.
    if layout.code_version >= 0 and _walk_left(reader, layout, before):
        return SAMPLED
    return reader_walk_copy(reader, layout)


cdef int reader_walk_copy(ThreadReader *reader, Layout *layout) noexcept nogil:
    """The same for the moment of the copy, where that says which frame runs."""
    cdef uintptr_t before, after
    cdef int outcome = TORN
    cdef bint agreed
    reader.missing = reader.unlinked = reader.left = 0
    reader.depth = reader.truncated = reader.running = 0
    reader.inner_count = 0
    if not _current_frame(reader, layout, reader.readings - 1, &after):
        return MISSED
    if not _current_frame(reader, layout, 0, &before):
        return MISSED
    if before != after and _walk_callee(reader, layout, before, 0, &outcome):
        reader.agreed = False
        return outcome
    reader.missing = 0
    outcome = _walk_from(reader, layout, after) if after else TORN
    if outcome != SAMPLED:
        _keep_inner(reader)
    if outcome == TORN and reader.unlinked and before == after and layout.thread_cframe >= 0:
        outcome = _walk_outer(reader, layout)
    if before != after or not _settled(reader, outcome):
        reader.agreed = False
    if outcome == SAMPLED and (reader.running or reader.depth == 0):
        if reader.running:
            _remember(reader)
        return SAMPLED
    if outcome != SAMPLED and (before == after or reader.inner_count):
        return outcome
    agreed = reader.agreed
    outcome = _walk_others(reader, layout, before, after, outcome)
    reader.agreed = agreed and outcome == SAMPLED and not reader.running
    return outcome

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The data stack, from one copy of it: which frames lie there, and which one is innermost (3.11 and later).

Frames lie one behind the other, each as long as its code object says. So the copy is walked from the outermost one
upwards. CPython leaves marks in frames which tell those that run or wait for a call from those that were left and whose
remains are still there: see `state_of`. Nothing else is asked, above all nothing that was read at another moment.

What a place showed the last time is kept beside it. Equal words mean the same again: that is all that is remembered.
Used from compiled code only.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from tachyscope._core.codes cimport CREATES, LEAVES, NO_CODE, RAISES, Code, CodeTable, code_role, codes_find
from tachyscope._core.frames cimport RUNNING, STACK_TOP_INDEX, THREAD_OWNER, Frame, frame_decode, frame_same, word_at
from tachyscope._core.layout cimport Layout


cdef enum:
    C_NEAR = 16384             # bytes; from one entry frame to the next it is mostly less
    SLOTS_MAX = 1 << 18
    BYTECODE_MAX = 1 << 30     # an instruction is no further from its code object
    SLACK = 512                # bytes above the highest leaf that are read, too: room for the next calls
    STEP = 4096                # bytes more if that was not enough
    TRIM_EVERY = 512           # scans after which the end is where the leaves of these scans were
    STEADY_EVERY = 256         # scans in which frames have to stay as they are for those below them not to be read
    STEADY_LEAST = 64          # frames for which that is worth while: some 8 KB
    WHOLE_EVERY = 64           # scans, of which one reads all


cdef void window_clear(Window *window) noexcept nogil:
    free(window.chunks)
    free(window.slots)
    memset(window, 0, sizeof(Window))


cdef void window_forget(Window *window) noexcept nogil:
    """The chunks are not where they were."""
    window.chunk_count = window.known = window.kept = window.base = window.anchor = window.steady = 0


cdef int window_add_chunk(Window *window, uintptr_t start, uintptr_t end, uintptr_t used) noexcept nogil:
    """The next chunk, inwards; `used` is where its frames end, 0 in the innermost one, where nobody says it."""
    cdef uint32_t capacity = 2 * window.chunk_capacity + 4
    cdef void *grown
    cdef Chunk *chunk
    if window.chunk_count == window.chunk_capacity:
        grown = realloc(window.chunks, capacity * sizeof(Chunk)) if window.chunk_count < CHUNKS_MAX else NULL
        if grown == NULL:
            return -1
        window.chunks, window.chunk_capacity = <Chunk *>grown, capacity
    chunk = &window.chunks[window.chunk_count]
    chunk.start, chunk.end, chunk.lo, chunk.offset = start, end, start, 0
    chunk.hi = used if used else min(end, start + STEP)
    window.chunk_count += 1
    return 0


cdef bint window_holds(Window *window, uintptr_t address) noexcept nogil:
    """Whether an address is on the data stack."""
    cdef uint32_t i
    for i in range(window.chunk_count):
        if window.chunks[i].start <= address < window.chunks[i].end:
            return True
    return False


cdef uint8_t state_of(Layout *layout, Code *code, Frame *frame, uint8_t *role) noexcept nogil:
    """The state of a frame, and the role of the instruction that it is at. See docs/how-it-works.md for the marks."""
    cdef int64_t offset = frame.instr - <int64_t>code.bytecode
    cdef bint indexed = layout.frame_stack_top_kind == STACK_TOP_INDEX, created
    role[0] = code_role(code, offset)
    if indexed and frame.saved == RUNNING:
        return RUNS
    if offset < 0 or (offset == 0 and frame.saved == code.locals and indexed):
        return NEW
    # What makes a generator steps on before it leaves; to 3.13 it saves its stack only then.
    created = code_role(code, offset - 2) & CREATES or (indexed and role[0] & CREATES)
    if (created and frame.owner == THREAD_OWNER) or (frame.saved == 0 and code.locals > 0):
        return LEFT
    # From 3.14 on a frame that raised has lost its code once it is over; until then it is busy with that.
    return LEFT if role[0] & LEAVES and (indexed or not role[0] & RAISES) else WAITS


cdef bint _is_linked(Window *window, uint32_t place) noexcept nogil:
    """Whether a slot can have been called by what lies below it, perhaps through frames that lie elsewhere."""
    cdef uintptr_t previous = window.slots[place].frame.previous
    if place == 0 or previous == window.slots[place - 1].address:
        return True
    if window.top >= 0 and previous == window.slots[window.top].address:
        return True
    return previous != 0 and not window_holds(window, previous)  # 0: C code is about to enter it


cdef bint window_wants_code(Window *window, Layout *layout, Frame *frame) noexcept nogil:
    """Whether a frame may be of a code object that is not known: then that is wanted, and is in `unknown`."""
    if frame.code == 0 or frame.code & 7 or frame.code == window.refused or (
            layout.frame_owner >= 0
            and not -2 <= frame.instr - <int64_t>frame.code - layout.code_instructions < BYTECODE_MAX):
        return False
    window.unknown = frame.code
    return True


cdef int _look(Window *window, Layout *layout, CodeTable *codes, char *raw, uint32_t place, bint *same) noexcept nogil:
    """Find out what lies in a slot, `same` as the last time or not; -1 if it is no frame (any more)."""
    cdef Slot *slot = &window.slots[place]
    cdef Frame frame
    cdef uint32_t code_id
    cdef Code *code
    frame_decode(layout, raw, slot.address, &frame)
    same[0] = place < window.known and frame_same(&frame, &slot.frame)
    if same[0]:
        return 0
    if frame.owner != THREAD_OWNER:
        return -1
    code_id = codes_find(codes, frame.code)
    if code_id == NO_CODE:
        return NEEDS_CODE if window_wants_code(window, layout, &frame) else -1
    code = &codes.codes[code_id]
    if not -2 <= frame.instr - <int64_t>code.bytecode < code.length:
        window.doubted = code_id
        return -1
    slot.frame, slot.code_id, slot.size = frame, code_id, code.frame_bytes
    slot.state = state_of(layout, code, &frame, &slot.role)
    slot.emptied = layout.frame_stack_top_kind == STACK_TOP_INDEX and frame.saved == code.locals
    return 0


cdef int _reserve(Window *window, uint32_t count) noexcept nogil:
    cdef uint32_t capacity = 2 * count + 64
    cdef void *grown
    if count <= window.capacity:
        return 0
    grown = realloc(window.slots, capacity * sizeof(Slot)) if count <= SLOTS_MAX else NULL
    if grown == NULL:
        return -1
    window.slots, window.capacity = <Slot *>grown, capacity
    return 0


cdef uint32_t _judge(Window *window, uint32_t place, bint *live) noexcept nogil:
    """Whether the slot is, or may be, part of the stack; returns where it is then. Frames in between are remains."""
    cdef Slot *slot = &window.slots[place]
    cdef Slot *below = &window.slots[place - 1] if place else NULL
    cdef bint linked = _is_linked(window, place), beside = False
    if below != NULL:
        beside = slot.frame.previous != below.address or slot.frame.is_entry  # C code stands between the two
    if slot.state == RUNS and linked:
        live[0] = True
    elif slot.state != WAITS or not linked:
        live[0] = False
    elif beside:
        # What was left may be calling, too: a destructor, or the class of an exception. But a call that raised empties
        # the stack of its frame, which says to be in that call still: then the thread state is believed.
        live[0] = not (slot.emptied and window.chunks[slot.chunk].start <= window.current < slot.address)
    elif below != NULL and below.state == RUNS:
        live[0] = False  # who runs does not wait for a call: that one is over
    if (live[0] and window.top >= 0 and <uint32_t>window.top + 1 < place and slot.frame.previous != below.address
            and not (window.slots[window.top + 1].role & RAISES and window.slots[window.top + 1].frame.saved)):
        window.slots[window.top + 1] = slot[0]
        return window.top + 1
    return place


cdef bint slot_near_c_stack(Slot *slot, uintptr_t address) noexcept nogil:
    """Whether an address is on the C stack, not far inwards from the entry frame that is nearest to a slot."""
    return address <= slot.on_c_stack and slot.on_c_stack - address < C_NEAR


cdef void _note(Window *window, Layout *layout, uint32_t place) noexcept nogil:
    """Keep which entry frame is nearest: links that lead near it lead to the C stack, too."""
    cdef Slot *slot = &window.slots[place]
    cdef uintptr_t previous = slot.frame.previous
    if place == 0:
        slot.on_c_stack = previous
    else:
        slot.on_c_stack = window.slots[place - 1].on_c_stack
        if slot_near_c_stack(slot, previous):
            slot.on_c_stack = previous


cdef int window_scan(Window *window, Layout *layout, CodeTable *codes, char *buffer) noexcept nogil:
    """Find the frames in the copy. `top` is the innermost one; `kept` says how many are as they were."""
    cdef uint32_t place = window.base, found
    cdef uintptr_t address
    cdef Chunk *chunk
    cdef bint live = True, same = False
    cdef int outcome
    window.top, window.doubted = <int32_t>place - 1, NO_CODE
    if window.chunk_count == 0:
        return SCANNED
    chunk = &window.chunks[window.slots[place].chunk if place else 0]
    address = window.slots[place].address if place else chunk.start
    while True:
        if _reserve(window, place + 1) < 0:
            return BROKEN
        outcome = -1
        if address <= chunk.hi - layout.frame_size and chunk.lo <= address:
            if place >= window.known or window.slots[place].address != address:
                window.known, window.kept = min(window.known, place), min(window.kept, place)
                window.slots[place].address = address
            outcome = _look(window, layout, codes, buffer + chunk.offset + (address - chunk.lo), place, &same)
            if place and place == window.base and not same:
                window.anchor = 0
                return STALE
            if outcome == NEEDS_CODE:
                window.known = min(window.known, place)
                return NEEDS_CODE
        elif chunk.hi < chunk.end and chunk == &window.chunks[window.chunk_count - 1] and window.top + 1 == <int32_t>place:
            return BEYOND
        if outcome < 0:
            window.known = min(window.known, place)
            if place == 0 and word_at(buffer + chunk.offset + layout.frame_code):
                return BROKEN  # where the outermost frame is, or was, lies something else
            if chunk == &window.chunks[window.chunk_count - 1]:
                break
            chunk += 1
            address = chunk.start
            continue
        window.slots[place].chunk = <uint32_t>(chunk - window.chunks)
        if not same:
            window.kept = min(window.kept, place)
        if window.kept <= place:
            _note(window, layout, place)
        address += window.slots[place].size
        found = _judge(window, place, &live)
        if found != place:
            window.known, window.kept, place = found, min(window.kept, found), found
        window.known = max(window.known, place + 1)
        if live:
            window.top = place
        place += 1
    if window.top >= 0:
        window.peak = max(window.peak, window.slots[window.top].address + window.slots[window.top].size)
    if window.doubted == NO_CODE and <uint32_t>(window.top + 1) < window.known:
        window.doubted = window.slots[window.top + 1].code_id
    window.kept = min(window.kept, <uint32_t>(window.top + 1))
    window.steady = min(window.steady, window.kept)
    if window.kept <= window.anchor:
        window.anchor = 0
    return SCANNED


cdef void window_underive(Window *window) noexcept nogil:
    """An address turned out to hold another code object, with frames of another size: derive all anew. If only a part
    was read, the scan finds that what it begins with is not as it was, and all is read."""
    window.known = window.kept = 0


cdef bint window_widen(Window *window) noexcept nogil:
    """Read more of the innermost chunk; false if that is all of it already."""
    cdef Chunk *chunk = &window.chunks[window.chunk_count - 1]
    if window.chunk_count == 0 or chunk.hi == chunk.end:
        return False
    chunk.hi = min(chunk.end, chunk.hi + STEP)
    return True


cdef void _place_anchor(Window *window) noexcept nogil:
    """Let the next copy begin with the innermost frame that has stayed as it is, at the same instruction, for long: what
    is below it is as it was, while that frame is. (Or it was left and came back the same way, which the odd copy of all
    will show.)"""
    cdef uint32_t i
    cdef Chunk *chunk
    if window.scans % STEADY_EVERY == 0:
        window.anchor = window.steady - 1 if window.known > window.steady > STEADY_LEAST else 0
        window.steady = SLOTS_MAX
    window.base = window.anchor if window.scans % WHOLE_EVERY else 0
    for i in range(window.chunk_count):
        chunk = &window.chunks[i]
        chunk.lo = chunk.start
        if window.base and i < window.slots[window.base].chunk:
            chunk.lo = chunk.end
        elif window.base and i == window.slots[window.base].chunk:
            chunk.lo = window.slots[window.base].address


cdef void window_settle(Window *window) noexcept nogil:
    """Now and then: let the copy begin and end where it has to."""
    cdef Chunk *chunk = &window.chunks[window.chunk_count - 1]
    window.scans += 1
    if window.chunk_count == 0:
        return
    _place_anchor(window)
    if window.scans % TRIM_EVERY:
        return
    if chunk.start <= window.peak < chunk.end:
        chunk.hi = min(chunk.end, ((window.peak + SLACK) | 63) + 1)
    window.peak = 0


cdef uintptr_t window_word(Window *window, char *buffer, uint32_t place, uintptr_t at) noexcept nogil:
    """The word at an address in a frame, as it was copied; 0 if it was not read."""
    cdef Chunk *chunk = &window.chunks[window.slots[place].chunk]
    if place < window.base or at < chunk.lo or at > chunk.hi - 8:
        return 0
    return word_at(buffer + chunk.offset + (at - chunk.lo))


cdef uintptr_t window_value(Window *window, Layout *layout, char *buffer, uint32_t place) noexcept nogil:
    """What a frame that is at FOR_ITER or SEND iterates over, as its copy has it; 0 if it was not read."""
    cdef Slot *slot = &window.slots[place]
    if not layout.frame_iterator <= slot.frame.saved < BYTECODE_MAX:
        return 0
    return window_word(window, buffer, place, slot.address + layout.frame_locals + 8 * <uintptr_t>(
        slot.frame.saved - layout.frame_iterator)) & ~<uintptr_t>layout.frame_code_tag

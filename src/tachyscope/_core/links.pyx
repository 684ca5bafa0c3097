# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The whole stack from the frames on the data stack: what lies between two of them, and what runs above the innermost.

A function's frame says which frame called it. That is the one below it, or an entry frame, which C code made, or the
frame of a generator, which says in turn who runs it. A generator that a function runs by FOR_ITER or SEND (3.12 and
later) lies on that function's own stack, in the same copy. One that C code runs is what the thread state, read right
after the copy, calls current.

All of this is derived from what was read already. What has not been read is noted as wanted, and the caller reads it
and asks again. Used from compiled code only.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uintptr_t
from libc.string cimport memmove

from tachyscope._core.codes cimport CALLS, CODE_NATIVE, ITERATES, NO_CODE, CodeTable, Driver, codes_find, codes_holding
from tachyscope._core.frames cimport (
    GENERATOR_OWNER, STACK_TOP_INDEX, Frame, frame_decode, frame_is_entry,
)
from tachyscope._core.heap cimport HEAP_BEFORE, HeapFrame, heap_get, heap_known, heap_later, heap_place, heap_value
from tachyscope._core.layout cimport Layout
from tachyscope._core.naming cimport path_push
from tachyscope._core.thread_reader cimport BETWEEN, CHAIN_MAX, RECONSTRUCTED, UNCERTAIN, Driven, ThreadReader
from tachyscope._core.window cimport (
    RUNS, WAITS, Slot, state_of, window_holds, window_value, window_wants_code, window_word,
)


cdef enum Arrival:          # where links lead to
    ARRIVED = 0             # to the frame that they should
    ELSEWHERE = 1           # to another one on the data stack
    LOST = 2                # nowhere: a generator was left before it was read
    MISSING = 3             # to what has not been read

cdef enum Kind:             # of what lies at the address of a generator's frame
    NOTHING = 0
    ALIVE = 1
    ENDED = 2
    UNREAD = 3

cdef enum:
    RUNS_NONE = 1           # what a place ran that iterates over other things than generators

# The frame that is innermost so far: a generator's, or one on the data stack.
cdef struct Leaf:
    uintptr_t address, code
    int64_t instr
    uint8_t state, role
    uintptr_t iterates      # the object that it is at FOR_ITER or SEND for, 0: none


cdef int _generator(ThreadReader *reader, Layout *layout, CodeTable *codes, uintptr_t address,
                    Driven *found) noexcept nogil:
    """What lies where a generator's frame should."""
    cdef uint8_t state
    cdef bint ended
    found.at, found.address, found.by_c = heap_get(&reader.heap, address), address, False
    found.code_id = NO_CODE
    if found.at == NULL:
        return UNREAD
    frame_decode(layout, found.at.copy + HEAP_BEFORE, address, &found.frame)
    state = <uint8_t>found.at.copy[HEAP_BEFORE - layout.generator_frame + layout.generator_state]
    if found.frame.owner != GENERATOR_OWNER:
        return NOTHING
    ended = state < 128 and state > layout.generator_executing
    found.code_id = codes_find(codes, found.frame.code)
    if found.code_id != NO_CODE:
        return ENDED if ended else ALIVE
    if window_wants_code(&reader.window, layout, &found.frame):
        return UNREAD
    if not ended:
        return NOTHING
    found.code_id = codes_holding(codes, found.frame.instr)  # from 3.14 on the instruction is all it keeps
    found.frame.code = codes.codes[found.code_id].address if found.code_id != NO_CODE else 0
    return ENDED


cdef inline bint _executes(Layout *layout, Driven *generator) noexcept nogil:
    return generator.frame.previous != 0 and <uint8_t>generator.at.copy[
        HEAP_BEFORE - layout.generator_frame + layout.generator_state] == layout.generator_executing


cdef inline uintptr_t _frame_of(Layout *layout, uintptr_t value) noexcept nogil:
    """Where the frame of an object is if that is a generator; 0 of none."""
    return value + layout.generator_frame if value else 0


cdef uintptr_t _held(ThreadReader *reader, Layout *layout, uint32_t place) noexcept nogil:
    """The frame of the generator that a frame on the data stack is at FOR_ITER or SEND for, by its own copy; or 0."""
    cdef Slot *slot = &reader.window.slots[place]
    if slot.state != WAITS or not slot.role & ITERATES:
        return 0
    return _frame_of(layout, window_value(&reader.window, layout, reader.buffer, place))


cdef inline void _learn(CodeTable *codes, Driven *generator, uintptr_t consumer, uintptr_t code) noexcept nogil:
    """It was seen that a generator runs, and for whom."""
    cdef Driver driver
    driver.address, driver.code, driver.by_c = consumer, code, generator.by_c
    generator.at.code, generator.at.driver = generator.frame.code, driver
    codes.codes[generator.code_id].driver = driver


cdef inline Driver *_driver(CodeTable *codes, Driven *generator) noexcept nogil:
    """Who ran a generator the last time; else who ran another one of the same function. No address: it is not known."""
    if generator.at.code == generator.frame.code and generator.at.driver.address:
        return &generator.at.driver
    return &codes.codes[generator.code_id].driver


cdef bint _remember(ThreadReader *reader, CodeTable *codes, Driven *generator, uintptr_t code) noexcept nogil:
    """Take a generator that has lost its code since for one of this code; false if there is no such code."""
    generator.code_id = codes_find(codes, code)
    if generator.code_id == NO_CODE:
        return False
    generator.frame.code, generator.frame.previous = code, 0
    generator.frame.instr = <int64_t>codes.codes[generator.code_id].bytecode
    reader.status |= RECONSTRUCTED
    return True


cdef uintptr_t _iterates(Layout *layout, Driven *generator) noexcept nogil:
    """The frame of the object on top of a generator's values: the one that it iterates over, if it is at FOR_ITER or
    SEND, or yields in such a loop. 0 if that was not read."""
    return _frame_of(layout, heap_value(generator.at, layout, &generator.frame))


cdef int _join(ThreadReader *reader, Layout *layout, CodeTable *codes, uintptr_t held) noexcept nogil:
    """Add the generators between the outermost one in `chain` and `held`: found from there, each holds the next, as
    long as it waits for it, and also when it has yielded what came from there. If the innermost of them has gone on
    already it has to be one of the function that ran the last generator of this kind."""
    cdef uint32_t count = reader.chain_count, found = 0
    cdef Driven *inner = &reader.chain[count - 1]
    cdef Driven *outer = NULL
    cdef Driven *next
    cdef uintptr_t address = held
    cdef int kind = ALIVE
    while address != inner.address and kind == ALIVE:
        if count + found == CHAIN_MAX:
            return LOST
        next = &reader.chain[CHAIN_MAX - 1 - found]
        kind = _generator(reader, layout, codes, address, next) if address else NOTHING
        if kind == UNREAD:
            return MISSING
        if kind == ALIVE:
            outer, found = next, found + 1
            address = _iterates(layout, outer)
    if outer == NULL or (kind != ALIVE and outer.frame.code != _driver(codes, inner).code):
        return LOST
    memmove(&reader.chain[count], outer, found * sizeof(Driven))
    reader.chain_count += found
    reader.status |= RECONSTRUCTED
    return ARRIVED


cdef void _learn_chain(ThreadReader *reader, Layout *layout, CodeTable *codes, uintptr_t target, uintptr_t target_code,
                       uintptr_t held) noexcept nogil:
    cdef Driven *each
    cdef uint32_t i
    for i in range(reader.chain_count):
        each = &reader.chain[i]
        if not _executes(layout, each) and each.address != held:
            continue
        if i + 1 < reader.chain_count:
            _learn(codes, each, each[1].address, each[1].frame.code)
        else:
            _learn(codes, each, target, target_code)


cdef int _follow(ThreadReader *reader, Layout *layout, CodeTable *codes, uintptr_t link, uintptr_t target,
                 uintptr_t target_code, uintptr_t held) noexcept nogil:
    """Follow a link outwards to the frame at `target`, and put the generators on the way into `chain`, innermost first.
    `held` is the one that the target itself says to run."""
    cdef int arrival = _outwards(reader, layout, codes, link, target, target_code, held)
    if arrival == LOST and reader.chain_count and held:
        arrival = _join(reader, layout, codes, held)
    if arrival == ARRIVED:
        _learn_chain(reader, layout, codes, target, target_code, held)
    return arrival


cdef int _outwards(ThreadReader *reader, Layout *layout, CodeTable *codes, uintptr_t link, uintptr_t target,
                   uintptr_t target_code, uintptr_t held) noexcept nogil:
    """Follow a link from frame to frame. A generator that was left since is believed to be run by whoever ran it the
    last time."""
    cdef Driven *last
    cdef Driver *driver
    cdef uint32_t steps, count = 0
    cdef uintptr_t expected = 0
    cdef int kind
    reader.chain_count, reader.chain_by_c = 0, False
    for steps in range(2 * CHAIN_MAX):
        if link == target or (count and reader.chain[count - 1].address == held):
            break
        if window_holds(&reader.window, link):
            return ELSEWHERE
        if count == CHAIN_MAX:
            return LOST
        last = &reader.chain[count]
        kind = _generator(reader, layout, codes, link, last)
        if kind == UNREAD:
            return MISSING
        if kind == NOTHING and frame_is_entry(layout, &last.frame):
            if count:
                reader.chain[count - 1].by_c = True
            else:
                reader.chain_by_c = True
            link = last.frame.previous
            continue
        if expected and (kind != ALIVE or last.frame.code != expected or not (
                _executes(layout, last) or last.address == held)):
            return LOST
        expected = 0
        if last.code_id == NO_CODE and not _remember(reader, codes, last, last.at.code):
            return LOST
        last.by_c = last.frame.is_entry
        count += 1
        reader.chain_count = count
        if _executes(layout, last):
            link = last.frame.previous
        elif last.address == held:
            break
        else:
            driver = _driver(codes, last)
            link, last.by_c = driver.address, driver.by_c
            expected = driver.code if driver != &last.at.driver else 0
            reader.status |= RECONSTRUCTED
            if driver.code == target_code and held == 0:
                link = target
            elif driver.code == target_code or link == 0 or link == last.address:
                return LOST
    else:
        return LOST
    return ARRIVED


cdef void _push_chain(ThreadReader *reader) noexcept nogil:
    """Add the chain to the path, its outermost generator first."""
    cdef uint32_t i
    cdef Driven *generator
    for i in range(reader.chain_count):
        generator = &reader.chain[reader.chain_count - 1 - i]
        if generator.by_c and reader.native:
            path_push(&reader.path, CODE_NATIVE, 0)
        path_push(&reader.path, generator.code_id, generator.frame.instr)
        generator.at.taken = reader.heap.builds


cdef bint _is_left(ThreadReader *reader, uintptr_t address) noexcept nogil:
    """Whether a generator that executes is none of those that are in the path already."""
    cdef HeapFrame *at = heap_get(&reader.heap, address) if address else NULL
    return address != 0 and (at == NULL or at.taken != reader.heap.builds)


cdef bint _is_run_at(ThreadReader *reader, Slot *slot, int arrival) noexcept nogil:
    """Whether a chain whose links have been lost is run by a frame: by the place at which it is, which ran a generator
    of that very function the last time."""
    cdef uintptr_t *ran = heap_place(&reader.heap, slot.frame.code, slot.frame.instr)
    cdef Driven *outermost
    if reader.chain_count == 0:
        return False
    outermost = &reader.chain[reader.chain_count - 1]
    if arrival == ARRIVED:
        ran[0] = outermost.frame.code
    elif arrival == LOST and ran[0] == outermost.frame.code:
        outermost.by_c = not slot.role & ITERATES
        reader.status |= RECONSTRUCTED
        return True
    return False


cdef bint _between(ThreadReader *reader, Layout *layout, CodeTable *codes, uint32_t place) noexcept nogil:
    """Add to the path what lies between a slot and the one below it; false if the copy alone says what that is. Where
    the link is gone, the slot has been left since, and the innermost generator that executes is what called it."""
    cdef Slot *slot = &reader.window.slots[place]
    cdef Slot *below = slot - 1
    cdef bint by_c = slot.frame.previous == slot.on_c_stack or slot.frame.is_entry
    cdef bint followed = slot.frame.previous != below.address and not (by_c and not reader.generating)
    cdef bint left
    cdef uintptr_t held
    cdef int arrival
    if followed:
        held = _held(reader, layout, place - 1)
        arrival = _follow(reader, layout, codes, slot.frame.previous, below.address, below.frame.code, held)
        left = arrival == LOST and reader.chain_count == 0 and _is_left(reader, reader.executes)
        if left:
            arrival = _follow(reader, layout, codes, reader.executes, below.address, below.frame.code, held)
            left = arrival != ELSEWHERE  # else it runs above the slot
            if left:
                reader.status |= RECONSTRUCTED
            else:
                reader.chain_count = 0
        if _is_run_at(reader, below, arrival):
            arrival = ARRIVED
        if arrival == ARRIVED:
            _push_chain(reader)
            by_c = reader.chain_by_c or slot.frame.is_entry
        elif not by_c or reader.chain_count or left:
            reader.status |= UNCERTAIN
    if by_c and reader.native:
        path_push(&reader.path, CODE_NATIVE, 0)
    return followed


cdef void _enter(ThreadReader *reader, Layout *layout, CodeTable *codes, Driven *generator, Leaf *leaf) noexcept nogil:
    """A generator runs above the leaf: it is the leaf now."""
    if reader.native and generator.by_c:
        path_push(&reader.path, CODE_NATIVE, 0)
    path_push(&reader.path, generator.code_id, generator.frame.instr)
    generator.at.taken = reader.heap.builds
    leaf.address, leaf.code, leaf.instr = generator.address, generator.frame.code, generator.frame.instr
    leaf.state = state_of(layout, &codes.codes[generator.code_id], &generator.frame, &leaf.role)
    leaf.iterates = _iterates(layout, generator) if leaf.state == WAITS and leaf.role & ITERATES else 0


cdef bint _is_torn_down(ThreadReader *reader, Layout *layout, Driven *generator, Leaf *leaf) noexcept nogil:
    """Whether a generator that has ended is all that a frame on the data stack is busy with: a later look shows neither
    of them gone on. True, too, if that look is still to be taken."""
    cdef HeapFrame *consumer = heap_later(&reader.heap, leaf.address)
    cdef HeapFrame *ended = heap_later(&reader.heap, generator.address)
    cdef Frame frame
    if consumer == NULL or ended == NULL:
        return True
    frame_decode(layout, ended.copy + HEAP_BEFORE, generator.address, &frame)
    if frame.previous or frame.instr != generator.frame.instr:
        return False
    frame_decode(layout, consumer.copy + HEAP_BEFORE, leaf.address, &frame)
    return (frame.instr == leaf.instr and frame.saved == reader.window.slots[reader.window.top].frame.saved
            and heap_value(consumer, layout, &frame) + layout.generator_frame == generator.address)


cdef bint _ended(ThreadReader *reader, Layout *layout, CodeTable *codes, Driven *generator, Leaf *leaf) noexcept nogil:
    """What a frame iterates over has ended by the time that it was read: it ran, unless that frame is tearing it down.
    False if so, or if it cannot be told of which function it is."""
    cdef bint on_stack = leaf.address == reader.window.slots[reader.window.top].address
    if on_stack and _is_torn_down(reader, layout, generator, leaf):
        return False
    return generator.code_id != NO_CODE or _remember(
        reader, codes, generator, heap_place(&reader.heap, leaf.code, leaf.instr)[0])


cdef void _inline(ThreadReader *reader, Layout *layout, CodeTable *codes, Leaf *leaf) noexcept nogil:
    """The generators that run above the leaf by FOR_ITER and SEND."""
    cdef Driven generator
    cdef uint32_t steps
    cdef int kind
    for steps in range(CHAIN_MAX):
        if leaf.iterates == 0:
            return
        kind = _generator(reader, layout, codes, leaf.iterates, &generator)
        if kind == ALIVE:
            _learn(codes, &generator, leaf.address, leaf.code)
            heap_place(&reader.heap, leaf.code, leaf.instr)[0] = generator.frame.code
        elif kind != ENDED or not _ended(reader, layout, codes, &generator, leaf):
            return
        _enter(reader, layout, codes, &generator, leaf)
        if kind == ENDED:
            leaf.iterates = 0


cdef bint _is_driven(ThreadReader *reader, CodeTable *codes, Leaf *leaf, int arrival) noexcept nogil:
    """Whether the chain from the generator that is current runs above the leaf, which the copy does not show: C code
    runs it. Where its links have been lost, it does if this place has run generators before; but then it is not certain
    through which others, unless it ran this very function."""
    cdef Driven *outermost = &reader.chain[reader.chain_count - 1]
    cdef uintptr_t *ran = heap_place(&reader.heap, leaf.code, leaf.instr)
    if arrival == ARRIVED:
        if outermost.by_c:
            ran[0] = outermost.frame.code
        return outermost.by_c
    if arrival != LOST or not leaf.role & CALLS or (ran[0] == 0 and _driver(codes, outermost).address):
        return False
    outermost.by_c = True
    reader.status |= RECONSTRUCTED if ran[0] == outermost.frame.code else UNCERTAIN
    return True


cdef bint _on_its_stack(ThreadReader *reader, Layout *layout, CodeTable *codes, Leaf *leaf, bint ask,
                        Driven *found) noexcept nogil:
    """The innermost generator among the values of a function that does not say how many of them are in use. Those that
    were not read are wanted if `ask`."""
    cdef Slot *slot = &reader.window.slots[reader.window.top]
    cdef uintptr_t first = slot.address + layout.frame_locals + 8 * codes.codes[slot.code_id].locals
    cdef uintptr_t at = slot.address + slot.size - 8, value
    if leaf.address != slot.address:
        return False
    while at >= first:
        value = window_word(&reader.window, reader.buffer, reader.window.top, at) + layout.generator_frame
        if (heap_get(&reader.heap, value) if ask else heap_known(&reader.heap, value)) != NULL and (
                _generator(reader, layout, codes, value, found) in (ALIVE, ENDED) and found.code_id != NO_CODE):
            return True
        at -= 8
    return False


cdef void _recall(ThreadReader *reader, Layout *layout, CodeTable *codes, Leaf *leaf, bint lost) noexcept nogil:
    """The generator that runs is not to be found (`lost`: one does): it is one of the function that this place ran the
    last time, if it ran one. 3.11 runs every generator by C code, and a frame that runs says exactly which instruction
    it is at; so one at FOR_ITER or SEND waits for a generator, if it has one: at first that is asked."""
    cdef uintptr_t *ran = heap_place(&reader.heap, leaf.code, leaf.instr)
    cdef bint iterates = layout.frame_is_entry >= 0 and leaf.state == RUNS and leaf.role & ITERATES
    cdef Driven generator
    if not (iterates or (ran[0] and lost and leaf.role & CALLS)) or ran[0] == RUNS_NONE:
        return
    if iterates and _on_its_stack(reader, layout, codes, leaf, ran[0] == 0, &generator):
        ran[0] = generator.frame.code
    elif ran[0] == 0:
        ran[0] = RUNS_NONE if reader.heap.wanted_count == 0 and reader.window.unknown == 0 else 0
        return
    else:
        generator.code_id = codes_find(codes, ran[0])
    if generator.code_id != NO_CODE:
        reader.status |= RECONSTRUCTED
        path_push(&reader.path, generator.code_id, <int64_t>codes.codes[generator.code_id].bytecode)


cdef void _driven(ThreadReader *reader, Layout *layout, CodeTable *codes, Leaf *leaf) noexcept nogil:
    """The generators that C code runs above the leaf."""
    cdef HeapFrame *at = heap_get(&reader.heap, reader.current) if reader.current else NULL
    cdef uint8_t before = reader.status
    cdef int arrival
    if at == NULL:
        if reader.heap.wanted_count == 0:
            _recall(reader, layout, codes, leaf, reader.current != 0)
    elif at.taken == reader.heap.builds:
        _recall(reader, layout, codes, leaf, False)  # it is in the path already
    else:
        arrival = _follow(reader, layout, codes, reader.current, leaf.address, leaf.code, 0)
        if reader.chain_count and _is_driven(reader, codes, leaf, arrival):
            _push_chain(reader)
        elif arrival != MISSING:
            reader.status = before
            _recall(reader, layout, codes, leaf, reader.chain_count == 0)  # else it runs elsewhere


cdef int links_build(ThreadReader *reader, Layout *layout, CodeTable *codes) noexcept nogil:
    """Bring `path` up to date with the copy, `status` says how certain it is; -1 if there is no memory for it. What is
    missing is in `heap.wanted`, or `window.unknown`; then more is known after that was read."""
    cdef uint32_t place = min(reader.window.kept, reader.plain) if reader.generating == reader.generated else 0
    cdef Slot *slot
    cdef Leaf leaf
    cdef bint followed
    reader.status, reader.generated = 0, reader.generating
    reader.heap.wanted_count, reader.window.unknown = 0, 0
    reader.heap.builds += 1
    reader.path.depth = reader.window.slots[place - 1].depth if place else 0
    reader.plain = place
    for place in range(place, <uint32_t>(reader.window.top + 1)):
        slot = &reader.window.slots[place]
        followed = False
        if place and (slot.frame.previous != (slot - 1).address or slot.frame.is_entry):
            followed = _between(reader, layout, codes, place)
        if reader.plain == place and not followed:
            reader.plain = place + 1
        if path_push(&reader.path, slot.code_id, slot.frame.instr) < 0:
            return -1
        slot.depth = reader.path.depth
    reader.window.kept = <uint32_t>(reader.window.top + 1)
    if reader.window.top < 0:
        return 0
    slot = &reader.window.slots[reader.window.top]
    leaf.address, leaf.code, leaf.instr = slot.address, slot.frame.code, slot.frame.instr
    leaf.state, leaf.role, leaf.iterates = slot.state, slot.role, _held(reader, layout, reader.window.top)
    _inline(reader, layout, codes, &leaf)
    _driven(reader, layout, codes, &leaf)
    if leaf.state == WAITS and layout.frame_stack_top_kind == STACK_TOP_INDEX:
        reader.status |= BETWEEN
    return 0

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Frames that lie elsewhere than on the data stack: those of generators and coroutines, in these objects, and the
interpreter's entry frames, on the C stack. Which addresses are read along with the data stack is learned from use.
Used from compiled code only.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memcpy, memset

from tachyscope._core.frames cimport Frame, word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory, iovec, memory_read, memory_readv


cdef enum:
    PAGE = 4096
    HEADER = 96               # bytes of the largest frame up to its locals
    GAP = 1024                # bytes between two frames that are read along with them rather than as another range
    OBJECTS_GAP = 4096        # the same of objects, of which many are expected: a range takes as long as 10 KiB more
    RANGES = 16               # of generators that are read along; more take longer than they are worth
    LOOK_EVERY = 8            # reads after which it is found out anew which frames are expected
    FIRST_SCORE = 32          # of a frame that was just found: it is expected for the next 32 reads
    USE = 8                   # what a use adds; the score is 256 for a frame that is in every stack
    LEAVES_FIRST = 16         # what having been the leaf counts more than having been in the stack
    LEAST = 12                # score of those that are expected: one of some 20 stacks has them
    FIRST_CAPACITY = 64
    CAPACITY_MAX = 1 << 16
    EMPTY = 0xFFFFFFFF
    USER_SPACE = 0x800000000000
    FIRST_ADDRESS = 1 << 16


cdef void heap_init(Heap *heap, Layout *layout) noexcept nogil:
    memset(heap, 0, sizeof(Heap))
    heap.objects = layout.frame_owner < 0
    heap.bytes = HEAP_BEFORE + layout.frame_size if heap.objects else HEAP_BYTES


cdef void heap_clear(Heap *heap) noexcept nogil:
    free(heap.frames)
    free(heap.slots)
    free(heap.expected)
    free(heap.ranges)
    heap.frames, heap.slots, heap.expected, heap.ranges = NULL, NULL, NULL, NULL
    heap.count = heap.capacity = heap.expected_count = heap.range_count = heap.wanted_count = 0


# ---- which frames are known ---------------------------------------------------------------------------------------

cdef inline uint32_t _slot(Heap *heap, uintptr_t address) noexcept nogil:
    return <uint32_t>(((address >> 3) * <uint64_t>0x9E3779B97F4A7C15) >> 32) & (2 * heap.capacity - 1)


cdef inline uint32_t _probe(Heap *heap, uintptr_t address) noexcept nogil:
    """Where in `slots` an address is, or has to go: that slot is EMPTY then."""
    cdef uint32_t slot = _slot(heap, address)
    while heap.slots[slot] != EMPTY and heap.frames[heap.slots[slot]].address != address:
        slot = (slot + 1) & (2 * heap.capacity - 1)
    return slot


cdef HeapFrame *_find(Heap *heap, uintptr_t address) noexcept nogil:
    cdef uint32_t slot
    if heap.count == 0:
        return NULL
    slot = _probe(heap, address)
    return &heap.frames[heap.slots[slot]] if heap.slots[slot] != EMPTY else NULL


cdef void _index(Heap *heap) noexcept nogil:
    """Fill `slots` anew."""
    cdef uint32_t i
    memset(heap.slots, 0xFF, 2 * heap.capacity * sizeof(uint32_t))
    for i in range(heap.count):
        heap.slots[_probe(heap, heap.frames[i].address)] = i


cdef int _grow(Heap *heap) noexcept nogil:
    cdef uint32_t capacity = 2 * heap.capacity if heap.capacity else FIRST_CAPACITY
    cdef void *grown = realloc(heap.frames, capacity * sizeof(HeapFrame)) if capacity <= CAPACITY_MAX else NULL
    if grown == NULL:
        return -1
    heap.frames = <HeapFrame *>grown
    grown = realloc(heap.slots, 2 * capacity * sizeof(uint32_t))
    if grown == NULL:
        return -1
    heap.slots = <uint32_t *>grown
    grown = realloc(heap.expected, capacity * sizeof(Expected))
    if grown == NULL:
        return -1
    heap.expected = <Expected *>grown
    grown = realloc(heap.ranges, capacity * sizeof(Range))
    if grown == NULL:
        return -1
    heap.ranges, heap.capacity = <Range *>grown, capacity
    _index(heap)
    return 0


cdef HeapFrame *_add(Heap *heap, uintptr_t address) noexcept nogil:
    """Remember a frame; NULL if there is no memory for it."""
    cdef HeapFrame *frame
    if heap.count == heap.capacity and _grow(heap) < 0:
        return NULL
    frame = &heap.frames[heap.count]
    memset(frame, 0, sizeof(HeapFrame))
    frame.address, frame.score = address, FIRST_SCORE
    heap.slots[_probe(heap, address)] = heap.count
    heap.count += 1
    heap.stale = True
    return frame


cdef inline bint _may_be_one(uintptr_t address) noexcept nogil:
    """Whether a frame can be at an address."""
    return address & 7 == 0 and FIRST_ADDRESS <= address < USER_SPACE


cdef inline uintptr_t _end_of(Heap *heap, uintptr_t address) noexcept nogil:
    """Where the copy of a frame ends: with its page, if that can be, as the next one need not be mapped."""
    cdef uintptr_t end = address - HEAP_BEFORE + heap.bytes
    cdef uintptr_t page_end = (address + HEADER + PAGE - 1) & ~<uintptr_t>(PAGE - 1)
    return end if end < page_end or heap.objects else page_end


# ---- which are read along -----------------------------------------------------------------------------------------

cdef int _by_address(const void *one, const void *other) noexcept nogil:
    cdef uintptr_t first = (<Expected *>one).address, second = (<Expected *>other).address
    return -1 if first < second else first > second


cdef int _by_urgency(const void *one, const void *other) noexcept nogil:
    cdef int64_t first = (<Range *>one).urgency, second = (<Range *>other).urgency
    return -1 if first > second else first < second


cdef void _score(Heap *heap) noexcept nogil:
    """See which frames were used since the last look, and forget those that were not for long."""
    cdef uint32_t i, kept = 0
    cdef HeapFrame *frame
    for i in range(heap.count):
        frame = &heap.frames[i]
        frame.score += USE * min(frame.uses, <uint32_t>LOOK_EVERY) - frame.score / 4
        frame.near += USE * min(frame.ends, <uint32_t>LOOK_EVERY) - frame.near / 4
        if frame.score < LEAST / 2:
            continue
        frame.uses = frame.ends = 0
        if kept != i:
            heap.frames[kept] = frame[0]
        kept += 1
    if kept != heap.count:
        heap.count = kept
        _index(heap)


cdef void _choose(Heap *heap) noexcept nogil:
    """Find out which frames are expected."""
    cdef uint32_t i
    _score(heap)
    heap.expected_count = 0
    for i in range(heap.count):
        if heap.frames[i].score >= LEAST and not heap.frames[i].address & LATER:
            heap.expected[heap.expected_count].address = heap.frames[i].address
            heap.expected[heap.expected_count].place = i
            heap.expected_count += 1
    qsort(heap.expected, heap.expected_count, sizeof(Expected), _by_address)


cdef inline int64_t _urgency(HeapFrame *frame) noexcept nogil:
    """Objects are read in the order of how soon they may be over: leaves first, and last what is in every stack."""
    return <int64_t>LEAVES_FIRST * frame.near - frame.score


cdef void _arrange(Heap *heap) noexcept nogil:
    """Put frames that lie close together into one range."""
    cdef uintptr_t lo, hi, gap = OBJECTS_GAP if heap.objects else GAP
    cdef uint32_t i
    cdef Range *last = NULL
    heap.range_count = 0
    for i in range(heap.expected_count):
        lo = heap.expected[i].address - HEAP_BEFORE
        hi = _end_of(heap, heap.expected[i].address)
        if last == NULL or lo > last.hi + gap or hi - last.lo > 4 * gap:
            if heap.range_count == RANGES and not heap.objects:
                break
            last = &heap.ranges[heap.range_count]
            last.lo, last.first, last.urgency = lo, i, -<int64_t>EMPTY
            heap.range_count += 1
        last.hi, last.end = hi, i + 1
        last.urgency = max(last.urgency, _urgency(&heap.frames[heap.expected[i].place]))
    if heap.objects:
        qsort(heap.ranges, heap.range_count, sizeof(Range), _by_urgency)


cdef void heap_expect(Heap *heap) noexcept nogil:
    """Begin another read: what is to be read with it is in `ranges`."""
    heap.read += 1
    if heap.stale or (heap.count and heap.read % LOOK_EVERY == 0):
        heap.stale = False
        _choose(heap)
        _arrange(heap)


cdef void heap_take(Heap *heap, char *buffer, size_t got) noexcept nogil:
    """Take the copies of what was expected out of the buffer, of which `got` bytes were read."""
    cdef uint32_t i, k
    cdef bint came
    cdef Range *its
    cdef HeapFrame *frame
    for i in range(heap.range_count):
        its = &heap.ranges[i]
        came = its.offset + (its.hi - its.lo) <= got
        for k in range(its.first, its.end):
            frame = &heap.frames[heap.expected[k].place]
            if came:
                frame.size = <uint32_t>(_end_of(heap, frame.address) - frame.address + HEAP_BEFORE)
                memcpy(frame.copy, buffer + its.offset + (frame.address - HEAP_BEFORE - its.lo), frame.size)
                frame.fresh = heap.read
            else:
                frame.score = 0
        if not came:
            heap.stale = True  # this range is not mapped any more; of those behind it nothing came either
            return


cdef bint heap_fetch(Heap *heap, Memory *memory) noexcept nogil:
    """Read what is wanted, in one call; one by one if not all of it is there. False if nothing is."""
    cdef iovec remote[WANTED_MAX]
    cdef char buffer[WANTED_MAX * HEAP_BYTES]
    cdef uintptr_t address
    cdef uint32_t i
    cdef size_t total = 0, size
    cdef HeapFrame *frame
    cdef ssize_t got
    cdef bint any = False
    for i in range(heap.wanted_count):
        address = heap.wanted[i] & ~<uintptr_t>LATER
        remote[i].iov_base = <void *>(address - HEAP_BEFORE)
        remote[i].iov_len = _end_of(heap, address) - address + HEAP_BEFORE
    got = memory_readv(memory, buffer, remote, heap.wanted_count)
    for i in range(heap.wanted_count):
        size = remote[i].iov_len
        frame = _find(heap, heap.wanted[i])
        frame = frame if frame != NULL else _add(heap, heap.wanted[i])
        if frame == NULL:
            break
        total += size
        if <ssize_t>total <= got:
            memcpy(frame.copy, buffer + total - size, size)
        elif memory_read(memory, <uintptr_t>remote[i].iov_base, frame.copy, size) != <ssize_t>size:
            continue
        frame.size, frame.fresh = <uint32_t>size, heap.read
        any = True
    heap.wanted_count = 0
    return any


cdef bint heap_chase(Heap *heap, Memory *memory, Layout *layout, uint32_t most) noexcept nogil:
    """Read the first object that is wanted, and go on along the links, over `most` objects at most: those that were
    read with this sample already are not read again. False if the first one cannot be read."""
    cdef uintptr_t address = heap.wanted[0]
    cdef uint32_t steps
    cdef HeapFrame *frame
    for steps in range(most):
        frame = heap_known(heap, address)
        if frame == NULL:
            heap.wanted[0], heap.wanted_count = address, 1
            if not heap_fetch(heap, memory):
                return steps > 0
            frame = _find(heap, address)
        address = word_at(frame.copy + HEAP_BEFORE + layout.frame_previous)
        if not _may_be_one(address):
            break
    return True


# ---- what is asked of them ----------------------------------------------------------------------------------------

cdef HeapFrame *heap_get(Heap *heap, uintptr_t address) noexcept nogil:
    """The copy of the frame at an address, from this read; NULL if there is none: then it is wanted."""
    cdef HeapFrame *frame
    cdef uint32_t i
    if not _may_be_one(address & ~<uintptr_t>LATER):
        return NULL
    frame = heap_known(heap, address)
    if frame != NULL:
        frame.uses += 1
        return frame
    for i in range(heap.wanted_count):
        if heap.wanted[i] == address:
            return NULL
    if heap.wanted_count < WANTED_MAX:
        heap.wanted[heap.wanted_count] = address
        heap.wanted_count += 1
    return NULL


cdef HeapFrame *heap_known(Heap *heap, uintptr_t address) noexcept nogil:
    """As `heap_get`, but what was not read with this sample is not wanted."""
    cdef HeapFrame *frame = _find(heap, address)
    return frame if frame != NULL and frame.fresh == heap.read else NULL


cdef HeapFrame *heap_later(Heap *heap, uintptr_t address) noexcept nogil:
    """As `heap_get`, but the copy is another one, which came after all others."""
    return heap_get(heap, address | LATER)


cdef uintptr_t *heap_place(Heap *heap, uintptr_t code, uint64_t instr) noexcept nogil:
    """Where it is kept which generator's code a place in a function ran last. Two places may share one: who ran
    something last has it."""
    cdef uint64_t key = (code ^ instr << 20) * <uint64_t>0x9E3779B97F4A7C15
    cdef uint32_t slot = <uint32_t>(key >> 54)
    if heap.places[slot] != key:
        heap.places[slot], heap.ran[slot] = key, 0
    return &heap.ran[slot]


cdef uintptr_t heap_value(HeapFrame *at, Layout *layout, Frame *frame) noexcept nogil:
    """What a frame on the heap that is at FOR_ITER or SEND iterates over; 0 if that was not read."""
    cdef int64_t offset = HEAP_BEFORE + layout.frame_locals + 8 * (frame.saved - layout.frame_iterator)
    if not layout.frame_iterator <= frame.saved < HEAP_BYTES or offset + 8 > at.size:
        return 0
    return word_at(at.copy + offset) & ~<uintptr_t>layout.frame_code_tag

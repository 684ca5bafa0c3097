# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What leaves the core: spans of time in which nothing changed, and when their ticks were.

`Tally` adds them up again: a profile needs no more than how much each track was in which state.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset


cdef enum:
    FIRST_CAPACITY = 1024
    FIRST_STATES = 1024


# ---- written while sampling ---------------------------------------------------------------------------------------

cdef void stream_clear(Stream *stream) noexcept nogil:
    free(stream.spans)
    free(stream.corrections)
    free(stream.anchors)
    memset(stream, 0, sizeof(Stream))


cdef void *_room(Stream *stream, void *items, size_t count, size_t *capacity, size_t size) noexcept nogil:
    """The array with room for another item; NULL if there is no memory for it."""
    cdef void *grown
    if count < capacity[0]:
        return items
    grown = realloc(items, (2 * count + FIRST_CAPACITY) * size)
    if grown == NULL:
        stream.lost = True
    else:
        capacity[0] = 2 * count + FIRST_CAPACITY
    return grown


cdef void stream_add(Stream *stream, Span *span) noexcept nogil:
    cdef void *room = _room(stream, stream.spans, stream.span_count, &stream.span_capacity, sizeof(Span))
    if room != NULL:
        stream.spans = <Span *>room
        stream.spans[stream.span_count] = span[0]
        stream.span_count += 1


cdef void stream_correct(Stream *stream, uint64_t tick, uint64_t late_ns) noexcept nogil:
    cdef void *room = _room(stream, stream.corrections, stream.correction_count, &stream.correction_capacity,
                            sizeof(Correction))
    if room != NULL:
        stream.corrections = <Correction *>room
        stream.corrections[stream.correction_count].tick = tick
        stream.corrections[stream.correction_count].late_ns = late_ns
        stream.correction_count += 1


cdef void stream_anchor(Stream *stream, Anchor *anchor) noexcept nogil:
    cdef void *room = _room(stream, stream.anchors, stream.anchor_count, &stream.anchor_capacity, sizeof(Anchor))
    if room != NULL:
        stream.anchors = <Anchor *>room
        stream.anchors[stream.anchor_count] = anchor[0]
        stream.anchor_count += 1


# ---- drained ------------------------------------------------------------------------------------------------------

cdef bytes _column(char *first, size_t stride, size_t count, size_t size):
    """One field of `count` structures as a column: 8, 4 or 2 bytes each."""
    cdef bytes column = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(count * size))
    cdef char *at = column
    cdef size_t i
    if size == 8:
        for i in range(count):
            (<uint64_t *>at)[i] = (<uint64_t *>(first + i * stride))[0]
    elif size == 4:
        for i in range(count):
            (<uint32_t *>at)[i] = (<uint32_t *>(first + i * stride))[0]
    else:
        for i in range(count):
            (<uint16_t *>at)[i] = (<uint16_t *>(first + i * stride))[0]
    return column


cdef tuple stream_take(Stream *stream):
    """The columns of the spans, those of the corrections, and the anchors; the stream is empty then."""
    cdef Span *span = stream.spans
    cdef Correction *correction = stream.corrections
    cdef size_t count = stream.span_count, stride = sizeof(Span), i
    cdef tuple spans, corrections
    cdef list anchors = []
    if stream.lost:
        stream.lost = False
        raise MemoryError("spans of samples were lost")
    spans = (
        _column(<char *>&span.track, stride, count, 4), _column(<char *>&span.node, stride, count, 4),
        _column(<char *>&span.tick, stride, count, 8), _column(<char *>&span.ticks, stride, count, 8),
        _column(<char *>&span.weight, stride, count, 8), _column(<char *>&span.status, stride, count, 2),
        _column(<char *>&span.known, stride, count, 2),
    )
    count, stride = stream.correction_count, sizeof(Correction)
    corrections = (
        _column(<char *>&correction.tick, stride, count, 8), _column(<char *>&correction.late_ns, stride, count, 8))
    for i in range(stream.anchor_count):
        anchors.append((stream.anchors[i].tick, stream.anchors[i].due_ns, stream.anchors[i].next_ns,
                        stream.anchors[i].seed, stream.anchors[i].wander_ns))
    stream.span_count = stream.correction_count = stream.anchor_count = 0
    return spans, corrections, anchors


# ---- added up -----------------------------------------------------------------------------------------------------

cdef struct State:
    uint64_t weight         # 0: the slot is free
    uint32_t track, node
    uint16_t status, known


cdef inline size_t _slot_of(State *states, size_t slots, State *wanted) noexcept nogil:
    """The slot where a state is, or would be."""
    cdef uint64_t mixed = (<uint64_t>wanted.track << 32 | wanted.node) * <uint64_t>0x9E3779B97F4A7C15
    cdef size_t slot
    mixed = (mixed ^ (mixed >> 29) ^ (<uint64_t>wanted.status << 16 | wanted.known)) * <uint64_t>0xBF58476D1CE4E5B9
    slot = <size_t>(mixed >> 32) & (slots - 1)
    while states[slot].weight and not (
            states[slot].track == wanted.track and states[slot].node == wanted.node
            and states[slot].status == wanted.status and states[slot].known == wanted.known):
        slot = (slot + 1) & (slots - 1)
    return slot


cdef class Tally:
    """How many ticks each track was at which node, with which status."""

    cdef State *_states
    cdef size_t _used, _slots

    def __dealloc__(self):
        free(self._states)

    cdef int _grow(self) noexcept nogil:
        cdef size_t slots = 2 * self._slots if self._slots else FIRST_STATES, i
        cdef State *grown = <State *>calloc(slots, sizeof(State))
        if grown == NULL:
            return -1
        for i in range(self._slots):
            if self._states[i].weight:
                grown[_slot_of(grown, slots, &self._states[i])] = self._states[i]
        free(self._states)
        self._states, self._slots = grown, slots
        return 0

    def add(self, bytes track, bytes node, bytes weight, bytes status, bytes known):
        """Count spans: columns of uint32, uint32, uint64, uint16 and uint16, as a batch has them."""
        cdef size_t count = len(track) // 4, i
        cdef char *tracks = track
        cdef char *nodes = node
        cdef char *weights = weight
        cdef char *statuses = status
        cdef char *knowns = known
        cdef State state
        cdef size_t slot
        if not len(node) == 4 * count or not len(weight) == 8 * count or not len(status) == len(known) == 2 * count:
            raise ValueError("columns of different lengths")
        for i in range(count):
            state.track, state.node = (<uint32_t *>tracks)[i], (<uint32_t *>nodes)[i]
            state.weight = (<uint64_t *>weights)[i]
            state.status, state.known = (<uint16_t *>statuses)[i], (<uint16_t *>knowns)[i]
            if state.weight == 0:
                continue
            if 2 * self._used >= self._slots and self._grow() < 0:
                raise MemoryError
            slot = _slot_of(self._states, self._slots, &state)
            if self._states[slot].weight == 0:
                self._used += 1
                self._states[slot] = state
            else:
                self._states[slot].weight += state.weight

    def states(self):
        """(track, node, status, known, ticks) of every state that was counted, in no particular order."""
        cdef list result = []
        cdef State *state
        cdef size_t i
        for i in range(self._slots):
            state = &self._states[i]
            if state.weight:
                result.append((state.track, state.node, state.status, state.known, state.weight))
        return result

    def clear(self):
        """Forget what was counted."""
        free(self._states)
        self._states, self._slots, self._used = NULL, 0, 0

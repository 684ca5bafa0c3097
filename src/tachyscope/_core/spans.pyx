# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What leaves the core: spans of time in which nothing changed, and when their ticks were.

`Tally` adds them up again: a profile needs no more than how much each track was in which state.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset


cdef enum:
    FIRST_CAPACITY = 1024
    FIRST_STATES = 1024


# ---- written while sampling ---------------------------------------------------------------------------------------

cdef void stream_clear(Stream *stream) noexcept nogil:
    free(stream.spans.first)
    free(stream.corrections.first)
    free(stream.anchors.first)
    memset(stream, 0, sizeof(Stream))


cdef void _add(Stream *stream, Items *items, void *item, size_t size) noexcept nogil:
    cdef size_t capacity = 2 * items.count + FIRST_CAPACITY
    cdef void *grown
    if items.count == items.capacity:
        grown = realloc(items.first, capacity * size)
        if grown == NULL:
            stream.lost = True
            return
        items.first, items.capacity = grown, capacity
    memcpy(<char *>items.first + items.count * size, item, size)
    items.count += 1


cdef void stream_add(Stream *stream, Span *span) noexcept nogil:
    _add(stream, &stream.spans, span, sizeof(Span))


cdef void stream_correct(Stream *stream, uint64_t tick, uint64_t late_ns) noexcept nogil:
    cdef Correction correction
    correction.tick, correction.late_ns = tick, late_ns
    _add(stream, &stream.corrections, &correction, sizeof(Correction))


cdef void stream_anchor(Stream *stream, Anchor *anchor) noexcept nogil:
    _add(stream, &stream.anchors, anchor, sizeof(Anchor))


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
    cdef Span *span = <Span *>stream.spans.first
    cdef Correction *correction = <Correction *>stream.corrections.first
    cdef Anchor *anchor = <Anchor *>stream.anchors.first
    cdef size_t count = stream.spans.count, stride = sizeof(Span), i
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
    count, stride = stream.corrections.count, sizeof(Correction)
    corrections = (
        _column(<char *>&correction.tick, stride, count, 8), _column(<char *>&correction.late_ns, stride, count, 8))
    for i in range(stream.anchors.count):
        anchors.append((anchor[i].tick, anchor[i].due_ns, anchor[i].next_ns, anchor[i].seed, anchor[i].wander_ns))
    stream.spans.count = stream.corrections.count = stream.anchors.count = 0
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

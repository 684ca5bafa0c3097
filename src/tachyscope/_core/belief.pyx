# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Which calls are believed: what was read in one go need not be of one moment. Used from compiled code only.

A stack is counted only where each of its calls was shown beyond doubt before, under the very same callers. Calls
repeat, so this costs some samples at the beginning and nothing in the long run.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from tachyscope._core.codes cimport CODE_FIRST, CodeTable
from tachyscope._core.memory cimport memory_read
from tachyscope._core.stacks cimport Node, Tree, offset_at, opcode_at, tree_child, tree_clear, tree_find, tree_init


cdef enum:
    YOUNG_NS = 20000000        # a code object that was seen first less than this ago may be gone soon
    STRICTLY = 0               # instead of an offset, in `calls`
    LOOSELY = 1
    ASKED = 2
    PROVED = 3
    CERTAIN = 3                # times that are enough for any call
    CALL_BYTES = 8             # of a call and its cache: instruction, counter, version of the function
    CALL_VERSION = 4           # where that is
    USUAL = 8                  # times that a call which no strict read shows has to be seen
    USUAL_PART = 4             # and it has to be one of so many of its caller or callee
    RECURSION = 16             # functions in a circle that are recognised as such


cdef int belief_init(Belief *belief, Tree *tree, CodeTable *codes, bint heap) noexcept nogil:
    belief.tree, belief.codes, belief.heap = tree, codes, heap
    return tree_init(&belief.calls)


cdef void belief_clear(Belief *belief) noexcept nogil:
    tree_clear(&belief.calls)


cdef inline bint _is_recursive(Belief *belief, uint32_t node) noexcept nogil:
    return node != 0 and belief.codes.codes[belief.tree.nodes[node].code].recursive


cdef bint _is_usual(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """No strict read shows a call that is shorter than the read. It is believed after some times if it is
    usual for the callee, or for the caller (to 3.10, where all calls may be short): torn stacks mix two that both are
    elsewhere most of the time."""
    cdef uint32_t call = tree_child(&belief.calls, parent, code, LOOSELY)
    cdef uint64_t times
    belief.calls.counts[call] += 1
    times = belief.calls.counts[call]
    if call == 0 or times < USUAL:
        return False
    if belief.heap and USUAL_PART * times >= belief.tree.nodes[parent].calls:
        return True
    return USUAL_PART * times >= belief.codes.codes[code].calls


cdef bint _read_call(Belief *belief, uint32_t parent, char *call) noexcept nogil:
    """Read the instruction that a caller is at, with its cache; false if it is no call that is specialised for a
    function written in Python."""
    cdef Node *caller = &belief.tree.nodes[parent]
    cdef CodeTable *codes = belief.codes
    cdef uintptr_t at = codes.codes[caller.code].bytecode + offset_at(caller.place)
    if parent == 0 or caller.code < CODE_FIRST or belief.heap:
        return False
    at -= codes.call_back if opcode_at(caller.place) == 0 else 0
    return memory_read(belief.memory, at, call, CALL_BYTES) == CALL_BYTES and codes.calls[<uint8_t>call[0]]


cdef bint _is_proved(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """Whether the caller's instruction is specialised for this very function: its cache has the function's version,
    which is that of its code object (3.12+)."""
    cdef uint32_t version, cached
    cdef char call[CALL_BYTES]
    memcpy(&version, belief.codes.codes[code].identity + belief.layout.code_version - belief.codes.identity_start, 4)
    if version == 0 or not _read_call(belief, parent, call):
        return False
    memcpy(&cached, call + CALL_VERSION, sizeof(cached))
    return cached == version


cdef bint belief_is_proved(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """The same, remembered."""
    cdef uint32_t call = tree_find(&belief.calls, parent, code, PROVED)
    if call and belief.calls.counts[call]:
        return True
    if belief.layout.code_version < 0 or not _is_proved(belief, parent, code):
        return False
    call = tree_child(&belief.calls, parent, code, PROVED)
    belief.calls.counts[call] = 1
    return call != 0


cdef bint _is_shown(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """Whether a call that no strict read shows is believed all the same. The proof costs a read: it is asked for the
    first time, the second, the fourth, and so on."""
    cdef uint32_t call
    if calls_may_be_short(belief) and _is_usual(belief, parent, code):
        return True
    if belief.layout.code_version < 0:
        return False
    call = tree_child(&belief.calls, parent, code, ASKED)
    belief.calls.counts[call] += 1
    if belief.calls.counts[call] & (belief.calls.counts[call] - 1) or not _is_proved(belief, parent, code):
        return False
    call = tree_child(&belief.calls, parent, code, STRICTLY)  # may move the counts
    belief.calls.counts[call] = CERTAIN
    return True


cdef bint _believe(Belief *belief, uint32_t parent, uint32_t code, uint64_t now, bint *sure) noexcept nogil:
    """Whether `code` may be called from `parent`: strict reads have to show it, twice, or once if it is new, as it may
    be gone the next time. False if it was not shown before and this read was not strict either; `sure` is cleared if
    this was the first time of two. Up to 3.10 frames of functions that call themselves change places with every
    round, so two copies that agree are no proof unless nothing was called or left meanwhile."""
    cdef uint32_t call = tree_find(&belief.calls, parent, code, STRICTLY)
    cdef bint recursive = belief.heap and _is_recursive(belief, parent)
    cdef uint64_t needed = 1 if now < belief.codes.codes[code].first_ns + YOUNG_NS else 2
    if recursive or (belief.heap and parent == 0):
        needed = 3
    if call and belief.calls.counts[call] >= needed:
        return True
    if not belief.reader.agreed or (recursive and not belief.reader.stayed):
        return parent != 0 and not recursive and _is_shown(belief, parent, code)
    call = tree_child(&belief.calls, parent, code, STRICTLY)
    belief.calls.counts[call] += 1
    if belief.calls.counts[call] < needed:
        sure[0] = False
    return call != 0


cdef bint _calls_itself(Tree *tree, uint32_t node) noexcept nogil:
    cdef uint32_t code = tree.nodes[node].code
    cdef int level
    for level in range(RECURSION):
        node = tree.nodes[node].parent
        if node == 0:
            return False
        if tree.nodes[node].code == code:
            return True
    return False


cdef void _mark_recursion(Belief *belief, uint32_t node) noexcept nogil:
    """Note if a function was called by itself, and doubt what was believed of its calls before that was known."""
    cdef uint32_t code = belief.tree.nodes[node].code, i
    if belief.codes.codes[code].recursive or not _calls_itself(belief.tree, node):
        return
    belief.codes.codes[code].recursive = True
    for i in range(1, belief.tree.count):
        if _is_recursive(belief, belief.tree.nodes[i].parent):
            belief.tree.nodes[i].believed = False
    for i in range(1, belief.calls.count):
        if _is_recursive(belief, belief.calls.nodes[i].parent):
            belief.calls.counts[i] = 0


cdef uint32_t belief_child(Belief *belief, uint32_t parent, uint32_t code, int64_t place, uint64_t now,
                           bint *sure) noexcept nogil:
    """The node of a frame under its caller's; 0 if that call is not to be believed."""
    cdef uint32_t node = tree_find(belief.tree, parent, code, place)
    belief.tree.nodes[parent].calls += 1
    belief.codes.codes[code].calls += 1
    if node and belief.tree.nodes[node].believed:
        return node
    if not _believe(belief, parent, code, now, sure):
        return 0
    node = tree_child(belief.tree, parent, code, place)
    if node:
        belief.tree.nodes[node].depth = belief.tree.nodes[parent].depth + 1
        belief.tree.nodes[node].believed = sure[0]
        if belief.heap:
            _mark_recursion(belief, node)
    return node


cdef void belief_count(Belief *belief, uint32_t *nodes, uint32_t count) noexcept nogil:
    """Count the calls of a part of a stack, root first, that was believed already."""
    cdef uint32_t i
    for i in range(count if calls_may_be_short(belief) else 0):
        belief.tree.nodes[belief.tree.nodes[nodes[i]].parent].calls += 1
        belief.codes.codes[belief.tree.nodes[nodes[i]].code].calls += 1

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What call instructions say of the functions that they call. Used from compiled code only.

From 3.12 on a call that is specialised for a function written in Python has that function's version in its cache. So
it proves a call, but only where the instruction calls nothing else: one that calls several functions in turn, under
other callers perhaps, has been specialised for whichever came last.
"""

from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from libc.string cimport memcpy

from tachyscope._core.belief cimport PROVED, SITE, SITE_TIMES, Belief
from tachyscope._core.codes cimport CODE_FIRST, CodeTable
from tachyscope._core.memory cimport memory_read
from tachyscope._core.stacks cimport Node, offset_at, opcode_at, tree_child, tree_find


cdef enum:
    CALL_BYTES = 8             # of a call and its cache: instruction, counter, version of the function
    CALL_VERSION = 4           # where that is
    SITE_CERTAIN = 4           # times that an instruction has to be found to call a function
    SEVERAL = 0x7FFFFFFF       # instead of a function: there are more than one


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


cdef bint site_proves(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """Whether the caller's instruction is specialised for this very function: its cache has the function's version,
    which is that of its code object (3.12+)."""
    cdef uint32_t version, cached
    cdef char call[CALL_BYTES]
    memcpy(&version, belief.codes.codes[code].identity + belief.layout.code_version - belief.codes.identity_start, 4)
    if version == 0 or not _read_call(belief, parent, call):
        return False
    memcpy(&cached, call + CALL_VERSION, sizeof(cached))
    return cached == version and site_calls_only(belief, parent, code)


cdef void forget_callers(Belief *belief) noexcept nogil:
    """Some stacks are doubted: no function is to be put on the one that it had the last time."""
    cdef uint32_t i
    for i in range(CODE_FIRST, belief.codes.count):
        belief.codes.codes[i].last_parent = belief.codes.codes[i].parent = belief.codes.codes[i].parent_times = 0


cdef void _doubt(Belief *belief, uint32_t caller, uint32_t offset) noexcept nogil:
    """Take back what was believed of the calls of one instruction: it calls several functions."""
    cdef Node *node
    cdef uint32_t i
    forget_callers(belief)
    for i in range(1, belief.tree.count):
        node = &belief.tree.nodes[belief.tree.nodes[i].parent]
        if node.code == caller and <uint32_t>offset_at(node.place) == offset:
            belief.tree.nodes[i].believed = False
    for i in range(1, belief.calls.count):
        node = &belief.tree.nodes[belief.calls.nodes[i].parent]
        if not belief.heap and belief.calls.nodes[i].place <= PROVED and (
                node.code == caller and <uint32_t>offset_at(node.place) == offset):
            belief.calls.counts[i] = 0


cdef bint site_calls_only(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """Whether the caller's instruction was found to call this function some times and never another one, under any
    callers: if it does, that it calls this one now says little of a single stack."""
    cdef uint32_t caller = belief.tree.nodes[parent].code
    cdef uint32_t offset = <uint32_t>offset_at(belief.tree.nodes[parent].place)
    cdef uint32_t site = tree_child(&belief.calls, caller, offset, SITE)
    cdef uint32_t times = tree_child(&belief.calls, caller, offset, SITE_TIMES)
    if site == 0 or times == 0:
        return False
    belief.calls.counts[times] += 1
    if belief.calls.counts[site] == 0:
        belief.calls.counts[site] = code + 1
    elif belief.calls.counts[site] != code + 1 and belief.calls.counts[site] != SEVERAL:
        belief.calls.counts[site] = SEVERAL
        _doubt(belief, caller, offset)
    return belief.calls.counts[site] == code + 1 and belief.calls.counts[times] >= SITE_CERTAIN


cdef bint site_has_proved(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """The same, remembered."""
    cdef uint32_t call = tree_find(&belief.calls, parent, code, PROVED)
    if call and belief.calls.counts[call]:
        return True
    if belief.layout.code_version < 0 or not site_proves(belief, parent, code):
        return False
    call = tree_child(&belief.calls, parent, code, PROVED)
    belief.calls.counts[call] = 1
    return call != 0


cdef uint32_t site_callee(Belief *belief, uint32_t parent) noexcept nogil:
    """The function that the caller's instruction calls, plus one; 0 if that is not known. No function's if it calls
    several."""
    cdef uint32_t offset = <uint32_t>offset_at(belief.tree.nodes[parent].place)
    cdef uint32_t site = tree_find(&belief.calls, belief.tree.nodes[parent].code, offset, SITE)
    return <uint32_t>belief.calls.counts[site] if site else 0

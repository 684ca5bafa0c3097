# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Which calls are believed: what was read in one go need not be of one moment. Used from compiled code only.

A stack is counted only where each of its calls was shown beyond doubt before, under the very same callers. Calls
repeat, so this costs some samples at the beginning and nothing in the long run.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tachyscope._core.codes cimport CodeTable
from tachyscope._core.recursion cimport is_certain, is_recursive, recursion_believe
from tachyscope._core.regions cimport UNCOUNTED
from tachyscope._core.sites cimport site_calls_only, site_proves
from tachyscope._core.stacks cimport Tree, offset_at, tree_child, tree_clear, tree_find, tree_init


cdef enum:
    YOUNG_NS = 20000000        # a code object that was seen first less than this ago may be gone soon
    USUAL = 8                  # times that a call which no strict read shows has to be seen
    USUAL_PART = 4             # and it has to be one of so many of its caller or callee
    STEADY_LEAST = 4           # times that a call was seen while nothing moved
    STEADY_NOW = 4             # ... or one of so few, this one among them
    STEADY_PART = 8            # ... one of so many that it was seen at all
    OFTEN = 16                 # times that a call was not believed: it never was one, most likely


cdef int belief_init(Belief *belief, Tree *tree, CodeTable *codes, bint heap) noexcept nogil:
    belief.tree, belief.codes, belief.heap = tree, codes, heap
    return tree_init(&belief.calls)


cdef void belief_clear(Belief *belief) noexcept nogil:
    tree_clear(&belief.calls)


cdef void belief_distrust(Belief *belief) noexcept nogil:
    """What follows was not walked in the last read: that proves nothing."""
    belief.confirmed_ns, belief.confirmed = belief.reader.read_ns, False
    belief.reader.agreed, belief.reader.unseen = False, UNCOUNTED


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
    if belief.calls.counts[call] & (belief.calls.counts[call] - 1) or not site_proves(belief, parent, code):
        return False
    call = tree_child(&belief.calls, parent, code, STRICTLY)  # may move the counts
    belief.calls.counts[call] = CERTAIN
    return True


cdef inline int64_t _link_place(Belief *belief, uint32_t parent) noexcept nogil:
    return LINK + (<int64_t><uint32_t>offset_at(belief.tree.nodes[parent].place) << 8)


cdef void _learn_link(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """A call is believed: its instruction calls this function, under whatever callers; perhaps not it alone."""
    cdef uint32_t link = tree_child(&belief.calls, belief.tree.nodes[parent].code, code, _link_place(belief, parent))
    if parent and belief.calls.counts[link] == 0 and belief.layout.code_version >= 0:
        site_calls_only(belief, parent, code)
    belief.calls.counts[link] = 1


cdef bint _is_linked(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    return parent != 0 and tree_find(
        &belief.calls, belief.tree.nodes[parent].code, code, _link_place(belief, parent)) != 0


cdef int _believe_steady(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """A recursion may have more ways than can be shown one by one. What is there is one of them if each of its calls is
    known from another one, and the thread did not call or leave anything while its stack was copied: or came back
    meanwhile, on another way. So that has to be more than an exception for this call, and is asked again each time."""
    cdef bint now = belief.reader.stayed and belief.reader.readings >= 2
    cdef uint64_t steady, seen
    cdef uint32_t call
    if belief.heap or not _is_linked(belief, parent, code):
        return DOUBTED
    call = tree_child(&belief.calls, parent, code, UNSHOWN)
    belief.calls.counts[call] += 1
    seen = belief.calls.counts[call]
    call = tree_child(&belief.calls, parent, code, STEADY)
    belief.calls.counts[call] += now
    steady = belief.calls.counts[call]
    if now and STEADY_NOW * steady >= seen:
        return ONCE
    return ONCE if steady >= STEADY_LEAST and STEADY_PART * steady >= seen else DOUBTED


cdef int _believe(Belief *belief, uint32_t parent, uint32_t code, uint64_t now, bint *sure) noexcept nogil:
    """Whether `code` may be called from `parent`: strict reads have to show it, twice, or once if it is new, as it may
    be gone the next time. DOUBTED if it was not shown before and this read was not strict either; `sure` is cleared if
    this was the first time of two. ONCE: in this very sample it may. Up to 3.10 copies take long enough to agree by
    coincidence: there such a stack is looked at once more."""
    cdef uint32_t call = tree_find(&belief.calls, parent, code, STRICTLY)
    cdef uint64_t needed = 1 if now < belief.codes.codes[code].first_ns + YOUNG_NS else 2
    if belief.heap and is_recursive(belief, parent):
        return recursion_believe(belief, parent, code, sure)
    if belief.heap and parent == 0:
        needed = 3
    if call and belief.calls.counts[call] >= needed:
        return BELIEVED
    if not is_certain(belief):
        return BELIEVED if parent and _is_shown(belief, parent, code) else _believe_steady(belief, parent, code)
    call = tree_child(&belief.calls, parent, code, STRICTLY)
    belief.calls.counts[call] += 1
    if belief.calls.counts[call] >= needed:
        return BELIEVED
    sure[0] = sure[0] and _is_linked(belief, parent, code)
    return ONCE


cdef uint32_t belief_node(Belief *belief, uint32_t parent, uint32_t code, int64_t place) noexcept nogil:
    """The node of a frame under its caller's, whether that call is believed or not; 0 if there is no memory for it."""
    cdef uint32_t node = tree_child(belief.tree, parent, code, place)
    if node:
        belief.tree.nodes[node].depth = belief.tree.nodes[parent].depth + 1
    return node


cdef uint32_t belief_child(Belief *belief, uint32_t parent, uint32_t code, int64_t place, uint64_t now,
                           bint *sure) noexcept nogil:
    """The node of a frame under its caller's; 0 if that call is not to be believed."""
    cdef uint32_t node = tree_find(belief.tree, parent, code, place)
    cdef int belief_now
    belief.tree.nodes[parent].calls += 1
    belief.codes.codes[code].calls += 1
    if node and belief.tree.nodes[node].believed:
        return node
    belief_now = _believe(belief, parent, code, now, sure)
    if belief_now == DOUBTED:
        return 0
    if belief_now == BELIEVED:
        _learn_link(belief, parent, code)
    node = belief_node(belief, parent, code, place)
    if node:
        belief.tree.nodes[node].believed = sure[0] and belief_now == BELIEVED
    return node


cdef bint belief_is_worth(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """Whether strict reads are to be tried for a call that was just not believed. At high rates they take the target's
    time: what was refused often is mostly the same few torn stacks again. Where nothing else than a strict read can show
    a call they are always tried."""
    cdef uint32_t call
    if belief.layout.code_version < 0:
        return True
    call = tree_child(&belief.calls, parent, code, REFUSED)
    belief.calls.counts[call] += 1
    return belief.calls.counts[call] < OFTEN or belief.calls.counts[call] % OFTEN == 0


cdef void belief_count(Belief *belief, uint32_t *nodes, uint32_t count) noexcept nogil:
    """Count the calls of a part of a stack, root first, that was believed already."""
    cdef uint32_t i
    for i in range(count if calls_may_be_short(belief) else 0):
        belief.tree.nodes[belief.tree.nodes[nodes[i]].parent].calls += 1
        belief.codes.codes[belief.tree.nodes[nodes[i]].code].calls += 1

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Up to 3.10: which calls inside a recursion are believed. Used from compiled code only.

Frames are objects there, and those of functions that call themselves change places with every round: a stack that is
mixed of two moments looks as whole as any. Two things tell it from one that was: it is not there in a short second
read (see `confirm`), and it seldom has as many frames as the thread has calls under way, which its state says.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from tachyscope._core.belief cimport (
    BELIEVED, CERTAIN, DOUBTED, LEAST_UNSEEN, ONCE, PROVED, RIGHT, STACKS, STRICTLY, UNSEEN, WRONG, Belief,
)
from tachyscope._core.codes cimport CODE_FIRST, Code
from tachyscope._core.confirm cimport reader_confirm
from tachyscope._core.sites cimport forget_callers, site_callee, site_calls_only
from tachyscope._core.stacks cimport tree_child, tree_find


cdef enum:
    TIMES_RIGHT = 12           # that the number of frames has to be right for a call, ...
    RIGHT_PART = 8             # ... which is so in one of so many stacks that end in a call that is, ...
    CALLS_PART = 4             # ... and such a call has to be one of so many of its caller or callee
    STACKS_FIRST = 3           # so many stacks have to be certain before that number is relied on
    MISTAKEN = 8               # one that is so many times as frequent takes its place
    UNSEEN_SPAN = 1024         # calls of C code that are told apart
    PATIENCE = 64              # refusals in a row after which ...
    SELDOM = 4                 # ... only one of so many stacks is looked at once more


cdef bint is_recursive(Belief *belief, uint32_t node) noexcept nogil:
    return node != 0 and belief.codes.codes[belief.tree.nodes[node].code].recursive


cdef bint is_certain(Belief *belief) noexcept nogil:
    """Whether the stack was read strictly; up to 3.10 whether it is there in another read, which is asked once, and not
    every time where the answer was no for long: torn stacks never are."""
    if not belief.heap:
        return belief.reader.agreed
    if belief.confirmed_ns != belief.reader.read_ns:
        belief.confirmed_ns, belief.confirmed = belief.reader.read_ns, False
        if belief.refused < PATIENCE or belief.refused % SELDOM == 0:
            belief.confirmed = reader_confirm(belief.reader, belief.memory, belief.layout)
            belief.moved = belief.moved or not belief.confirmed
        belief.refused = 0 if belief.confirmed else belief.refused + 1
    return belief.confirmed


cdef uint32_t _base_of(Belief *belief, uint32_t node) noexcept nogil:
    """The node that the outermost function of a stack that calls itself was called from."""
    cdef uint32_t base = node
    while node:
        if is_recursive(belief, node):
            base = belief.tree.nodes[node].parent
        node = belief.tree.nodes[node].parent
    return base


cdef bint _has_all_frames(Belief *belief, uint32_t base) noexcept nogil:
    """Whether as many frames were walked as the thread had calls under way (to 3.10), but for those of C code: as many
    of these as there are at least in stacks of the same base that are certain. A stack that is mixed of two moments
    seldom has the right number."""
    cdef uint32_t least = tree_find(&belief.calls, base, 0, LEAST_UNSEEN)
    cdef uint32_t stacks = tree_find(&belief.calls, base, 0, STACKS)
    return (stacks != 0 and belief.calls.counts[stacks] >= STACKS_FIRST
            and belief.reader.unseen == <int32_t>belief.calls.counts[least] - UNSEEN_SPAN)


cdef void _doubt_recursion(Belief *belief) noexcept nogil:
    """No call inside a recursion is believed any more without being asked for again."""
    cdef uint32_t i
    forget_callers(belief)
    for i in range(1, belief.tree.count):
        if is_recursive(belief, belief.tree.nodes[i].parent):
            belief.tree.nodes[i].believed = False


cdef void _begin_anew(Belief *belief) noexcept nogil:
    """What was believed as the number of frames was right need not be: the right number is another one."""
    cdef uint32_t i
    _doubt_recursion(belief)
    for i in range(1, belief.calls.count):
        if belief.calls.nodes[i].place == RIGHT or belief.calls.nodes[i].place == WRONG:
            belief.calls.counts[i] = 0


cdef void _count_unseen(Belief *belief, uint32_t base) noexcept nogil:
    """Note how many calls of a stack that is certain were not walked: the lowest number of several such stacks is that
    of C code below the recursion, higher ones are of C code that the innermost function calls."""
    cdef uint32_t seen, least, stacks, number = <uint32_t>(belief.reader.unseen + UNSEEN_SPAN)
    cdef uint64_t times, known
    if belief.counted_ns == belief.confirmed_ns or not -UNSEEN_SPAN < belief.reader.unseen < UNSEEN_SPAN:
        return
    belief.counted_ns = belief.confirmed_ns
    seen = tree_child(&belief.calls, base, number, UNSEEN)
    least = tree_child(&belief.calls, base, 0, LEAST_UNSEEN)
    stacks = tree_child(&belief.calls, base, 0, STACKS)
    if seen == 0 or least == 0 or stacks == 0:
        return
    belief.calls.counts[seen] += 1
    belief.calls.counts[stacks] += 1
    times = belief.calls.counts[seen]
    known = belief.calls.counts[tree_find(&belief.calls, base, <uint32_t>belief.calls.counts[least], UNSEEN)]
    if belief.calls.counts[stacks] == 1 or number < belief.calls.counts[least] or times > MISTAKEN * known:
        if belief.calls.counts[stacks] > STACKS_FIRST:
            _begin_anew(belief)
        belief.calls.counts[least] = number


cdef bint _is_right(Belief *belief, uint32_t parent, uint32_t code) noexcept nogil:
    """Whether a call is believed as the number of frames was right often enough: it is the only one of its instruction,
    as far as is certain, or usual for the caller or callee, as stacks can be mixed at the same level; and stacks that
    end in it do not have it wrong nearly always."""
    cdef uint32_t wrong = tree_find(&belief.calls, parent, code, WRONG)
    cdef uint32_t call = tree_child(&belief.calls, parent, code, RIGHT)
    cdef uint32_t callee = site_callee(belief, parent)
    cdef uint64_t times
    belief.calls.counts[call] += 1
    times = belief.calls.counts[call]
    if call == 0 or times < TIMES_RIGHT or (wrong and belief.calls.counts[wrong] > RIGHT_PART * times):
        return False
    if callee:
        return callee == code + 1
    return (CALLS_PART * times >= belief.tree.nodes[parent].calls
            or CALLS_PART * times >= belief.codes.codes[code].calls)


cdef int recursion_believe(Belief *belief, uint32_t parent, uint32_t code, bint *sure) noexcept nogil:
    """Whether a call inside a recursion is to be believed. `sure` is cleared if it has to be seen again."""
    cdef uint32_t call = tree_find(&belief.calls, parent, code, STRICTLY), base
    cdef bint complete
    if call and belief.calls.counts[call] >= CERTAIN:
        return BELIEVED
    base = _base_of(belief, parent)
    complete = _has_all_frames(belief, base)
    if complete and _is_right(belief, parent, code):
        return BELIEVED
    if is_certain(belief):
        _count_unseen(belief, base)
        site_calls_only(belief, parent, code)
        call = tree_child(&belief.calls, parent, code, STRICTLY)
        belief.calls.counts[call] += 1
        return BELIEVED if belief.calls.counts[call] >= CERTAIN else ONCE
    if complete:
        sure[0] = False
        return ONCE
    if belief.innermost:  # those further out may be right all the same
        call = tree_child(&belief.calls, parent, code, WRONG)
        belief.calls.counts[call] += 1
    return DOUBTED


cdef void _mark_recursive(Belief *belief, uint32_t code) noexcept nogil:
    """A function calls itself: up to 3.10 doubt what was believed of its calls before that was known."""
    cdef uint32_t i
    belief.codes.codes[code].recursive = True
    if not belief.heap:
        return
    _doubt_recursion(belief)
    for i in range(1, belief.calls.count):
        if belief.calls.nodes[i].place <= PROVED and is_recursive(belief, belief.calls.nodes[i].parent):
            belief.calls.counts[i] = 0


cdef void recursion_find(Belief *belief, uint32_t *ids, uint32_t count) noexcept nogil:
    """Note which functions of a stack are twice in it. A torn one does no harm here: what it says wrongly only makes
    more of a doubt."""
    cdef uint32_t i
    cdef Code *code
    belief.stack += 1
    for i in range(count):
        code = &belief.codes.codes[ids[i]]
        if code.stack == belief.stack and not code.recursive and ids[i] >= CODE_FIRST:
            _mark_recursive(belief, ids[i])
        code.stack = belief.stack

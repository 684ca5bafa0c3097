# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Interned stacks: a sample is the number of its node, and memory grows with distinct stacks, not with samples."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset


cdef enum:
    EMPTY = 0           # no node can be the child 0
    NO_MEMORY = 0       # so 0 also says that there was no memory for a child
    FIRST_NODES = 1 << 10


cdef inline uint32_t _hash(uint32_t parent, uint32_t code, int64_t place) noexcept nogil:
    cdef uint64_t mixed = (<uint64_t>parent << 32 | code) * <uint64_t>0x9E3779B97F4A7C15
    mixed = (mixed ^ (mixed >> 29) ^ <uint64_t>place) * <uint64_t>0xBF58476D1CE4E5B9
    return <uint32_t>(mixed >> 32)


cdef int tree_init(Tree *tree) noexcept nogil:
    memset(tree, 0, sizeof(Tree))
    tree.capacity = FIRST_NODES
    tree.slot_count = 2 * FIRST_NODES
    tree.nodes = <Node *>malloc(tree.capacity * sizeof(Node))
    tree.slots = <uint32_t *>calloc(tree.slot_count, sizeof(uint32_t))
    if tree.nodes == NULL or tree.slots == NULL:
        return -1
    memset(&tree.nodes[0], 0, sizeof(Node))
    tree.count = 1
    return 0


cdef void tree_clear(Tree *tree) noexcept nogil:
    free(tree.nodes)
    free(tree.slots)
    memset(tree, 0, sizeof(Tree))


cdef int _grow_slots(Tree *tree) noexcept nogil:
    cdef uint32_t size = 2 * tree.slot_count, slot, i
    cdef uint32_t *slots = <uint32_t *>calloc(size, sizeof(uint32_t))
    if slots == NULL:
        return -1
    for i in range(1, tree.count):
        slot = _hash(tree.nodes[i].parent, tree.nodes[i].code, tree.nodes[i].place) & (size - 1)
        while slots[slot] != EMPTY:
            slot = (slot + 1) & (size - 1)
        slots[slot] = i
    free(tree.slots)
    tree.slots, tree.slot_count = slots, size
    return 0


cdef int _grow(Tree *tree) noexcept nogil:
    cdef uint32_t capacity = 2 * tree.capacity
    cdef Node *nodes = <Node *>realloc(tree.nodes, capacity * sizeof(Node))
    if nodes == NULL:
        return -1
    tree.nodes, tree.capacity = nodes, capacity
    return _grow_slots(tree)


cdef inline uint32_t _slot_of(Tree *tree, uint32_t parent, uint32_t code, int64_t place) noexcept nogil:
    """The slot where this child is, or would be."""
    cdef uint32_t slot = _hash(parent, code, place) & (tree.slot_count - 1)
    cdef Node *at
    while tree.slots[slot] != EMPTY:
        at = &tree.nodes[tree.slots[slot]]
        if at.parent == parent and at.code == code and at.place == place:
            return slot
        slot = (slot + 1) & (tree.slot_count - 1)
    return slot


cdef uint32_t tree_child(Tree *tree, uint32_t parent, uint32_t code, int64_t place) noexcept nogil:
    """The node of (code, place) called from `parent`, added if it is new; 0 if there is no memory for it."""
    cdef uint32_t slot = _slot_of(tree, parent, code, place), node = tree.slots[slot]
    if node != EMPTY:
        return node
    if tree.count == tree.capacity:
        if _grow(tree) < 0:
            return NO_MEMORY
        slot = _slot_of(tree, parent, code, place)
    node = tree.count
    tree.nodes[node].parent, tree.nodes[node].code, tree.nodes[node].place = parent, code, place
    tree.slots[slot] = node
    tree.count += 1
    return node

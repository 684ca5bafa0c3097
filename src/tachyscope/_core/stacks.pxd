from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


# Distinct stacks as a tree: a node is a frame (code id, place in the code) under its caller's node. A place is the
# byte offset of the instruction and, if that is recorded, the instruction itself: its number (a byte) above.
# Node 0 is the empty stack; parents come before children.
cdef struct Node:
    uint32_t parent
    uint32_t code
    int64_t place
    uint32_t depth      # for the user of the tree: frames from the outermost one to this one
    uint64_t calls      # ... how often it was seen, innermost or calling something
    uint8_t believed    # ... whether samples may be counted here

cdef struct Tree:
    Node *nodes
    uint64_t *counts    # samples that had exactly this stack
    uint32_t count, capacity
    uint32_t *slots
    uint32_t slot_count


cdef int tree_init(Tree *tree) noexcept nogil
cdef void tree_clear(Tree *tree) noexcept nogil
cdef uint32_t tree_child(Tree *tree, uint32_t parent, uint32_t code, int64_t place) noexcept nogil
cdef uint32_t tree_find(Tree *tree, uint32_t parent, uint32_t code, int64_t place) noexcept nogil


cdef inline int64_t place_of(int32_t offset, uint8_t opcode) noexcept nogil:
    return <int64_t>opcode << 32 | <uint32_t>offset


cdef inline int32_t offset_at(int64_t place) noexcept nogil:
    return <int32_t>place


cdef inline uint8_t opcode_at(int64_t place) noexcept nogil:
    return <uint8_t>(place >> 32)

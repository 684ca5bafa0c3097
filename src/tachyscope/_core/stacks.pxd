from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


# Distinct stacks as a tree: a node is a frame (code id, place in the code) under its caller's node. A place is the
# byte offset of the instruction and, if that is recorded, the instruction itself: its number (a byte) above.
# Node 0 is the empty stack; parents come before children.
cdef struct Node:
    uint32_t parent
    uint32_t code
    int64_t place

cdef struct Tree:
    Node *nodes
    uint32_t count, capacity
    uint32_t *slots
    uint32_t slot_count


cdef int tree_init(Tree *tree) noexcept nogil
cdef void tree_clear(Tree *tree) noexcept nogil
cdef uint32_t tree_child(Tree *tree, uint32_t parent, uint32_t code, int64_t place) noexcept nogil


cdef inline int64_t place_of(int32_t offset, uint8_t opcode) noexcept nogil:
    return <int64_t>opcode << 32 | <uint32_t>offset


cdef inline int32_t offset_at(int64_t place) noexcept nogil:
    return <int32_t>place


cdef inline uint8_t opcode_at(int64_t place) noexcept nogil:
    return <uint8_t>(place >> 32)

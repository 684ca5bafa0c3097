from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from libc.string cimport memcpy

from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory, iovec


cdef enum Outcome:
    SAMPLED = 0      # `frames` holds the stack
    TORN = 1         # the target changed under the read
    MISSED = 2       # a frame lies where nothing was read; its address is in `missing`
    FAULT = 3        # a predicted address is not mapped any more
    GONE = 4         # the process has no memory any more
    DENIED = 5       # the kernel refuses to read it
    UNLINKED = 6     # the thread is not in the list of threads where it was


# A range of the target's memory that is read with every sample because frames lie in it.
cdef struct Region:
    uintptr_t start, end
    uintptr_t used_start, used_end  # what samples needed of it since the last trim
    size_t offset                   # of its (first) copy in the buffer
    size_t second                   # of its second copy, regions of scattered frames only
    uint8_t used                    # since the last look
    uint8_t used_looks, idle_looks  # looks that found it used; looks in a row that did not


cdef struct RegionList:
    Region *items
    uint32_t count, capacity


cdef struct Walked:
    uintptr_t address
    uintptr_t code
    int64_t instr    # as the frame has it: an address (3.11+) or an index


cdef enum:
    LINKS = 256      # power of two
    CFRAMES = 4
    READINGS = 3
    INNER = 5
    UNCOUNTED = -(1 << 30)


# Who called whom when it was last beyond doubt: by the callee's frame (and code), and by the caller's frame.
cdef struct Link:
    uintptr_t frame, code, caller
    uint32_t times                  # in a row


# One thread of the target: what to read for it, and its stack as of the last successful read (leaf first).
cdef struct ThreadReader:
    uintptr_t address               # of its PyThreadState
    uintptr_t link                  # where the list of threads points to it, 0: that does not matter
    size_t link_offset
    uintptr_t cframes[CFRAMES]          # where its current frame was found lately (3.11, 3.12)
    RegionList stack                # data stack chunks, by address: read once, close to one instant
    RegionList scattered            # all other frames, those used last and innermost at the end: read twice
    iovec *remote
    uint32_t remote_count, remote_capacity
    char *buffer                    # what was read: `own`, or a part of what was read for several threads
    char *own
    size_t buffer_size, own_size
    size_t state_offset             # of the thread state's words, in the first reading
    size_t words_offset[READINGS]   # the readings of the current frame
    size_t cframes_offset[READINGS] # ... of the cframes with it
    uint8_t readings
    uint8_t stale                   # regions changed: lay out again before the next read
    Walked *frames
    uint32_t depth, max_depth, frame_capacity
    int32_t unseen                  # calls under way less frames walked: C code (to 3.10), or UNCOUNTED
    uintptr_t landmark              # a frame of the walk that must not come again (to 3.10)
    Walked inner[INNER]             # what is certain of the last read's stack even if it was torn: its innermost frames
    uint8_t inner_count
    uint8_t native                  # C code between two frames is wanted
    uint8_t generators              # there were generators in a stack
    uint8_t truncated
    uint8_t strict                  # samples for which the data stack is still copied twice
    uint8_t agreed                  # everything walked was there twice and the same
    uint8_t stayed                  # the current frame was the same in all readings
    uint8_t still                   # strict reads in a row that showed the very same stack, instructions and all
    uint64_t seen                   # hash of that stack
    uint8_t unlinked                # the walk ended at a frame that is not the outermost one
    uint8_t running                 # a frame of the innermost segment said that it runs
    uint8_t left                    # the frame that was current before the copy does not run in it, but was walked from
    uintptr_t missing               # the frame that MISSED is about, and the one that it called
    uintptr_t missing_callee
    uintptr_t base_entry            # the entry frame below everything, and the frame that it called: read once,
    uintptr_t base_frame            # not with every sample
    uint32_t reads                  # so far, for what is done now and then
    uint8_t disordered              # the last stack's scattered frames are not in the order of the regions
    Link links[LINKS]
    Link callees[LINKS]
    uintptr_t code_type             # address of PyCode_Type once it is known: what has another type is no frame
    uintptr_t frame_type            # address of PyFrame_Type once it is known (to 3.10)
    uint64_t read_ns                # when the last read was complete


cdef int reader_init(ThreadReader *reader, uintptr_t address, uint32_t max_depth) noexcept nogil
cdef void reader_clear(ThreadReader *reader) noexcept nogil
cdef void reader_forget(ThreadReader *reader) noexcept nogil
cdef int reader_prepare(ThreadReader *reader, Layout *layout) noexcept nogil
cdef int reader_read(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil
cdef void reader_relink(ThreadReader *reader, uintptr_t link) noexcept nogil
cdef uintptr_t reader_state(ThreadReader *reader, Layout *layout, int field) noexcept nogil
cdef int reader_learn(ThreadReader *reader, Memory *memory, Layout *layout) noexcept nogil
cdef void reader_be_strict(ThreadReader *reader) noexcept nogil
cdef void reader_accept(ThreadReader *reader, Layout *layout) noexcept nogil
cdef bint reader_push_inner(ThreadReader *reader, Layout *layout, uintptr_t address, char *frame) noexcept nogil
cdef void reader_keep_inner(ThreadReader *reader, Layout *layout, uintptr_t address) noexcept nogil
cdef int reader_grow_frames(ThreadReader *reader) noexcept nogil
cdef char *reader_cframe(ThreadReader *reader, Layout *layout, int reading, uintptr_t cframe) noexcept nogil
cdef Region *region_search(RegionList *list, uintptr_t address, size_t size) noexcept nogil


cdef inline bint reader_is_linked(ThreadReader *reader) noexcept nogil:
    cdef uintptr_t linked
    if reader.link == 0:
        return True
    memcpy(&linked, reader.buffer + reader.link_offset, sizeof(linked))
    return linked == reader.address


cdef inline bint region_holds(Region *region, uintptr_t address, size_t size) noexcept nogil:
    return region.start <= address <= region.end - size  # garbage may lie so high that address + size wraps around


cdef inline Region *region_find(ThreadReader *reader, uintptr_t address, size_t size, Region *hint) noexcept nogil:
    """The region that holds `size` bytes at `address`, or NULL. A caller's frame is often in the callee's region,
    `hint`, or in the one before it."""
    if hint != NULL:
        if region_holds(hint, address, size):
            return hint
        if hint != reader.stack.items and hint != reader.scattered.items and region_holds(hint - 1, address, size):
            return hint - 1
    hint = region_search(&reader.stack, address, size)
    return hint if hint != NULL else region_search(&reader.scattered, address, size)


cdef inline char *first_copy(ThreadReader *reader, Region *region, uintptr_t address) noexcept nogil:
    return reader.buffer + region.offset + (address - region.start)


cdef inline char *second_copy(ThreadReader *reader, Region *region, uintptr_t address) noexcept nogil:
    return reader.buffer + region.second + (address - region.start)


cdef inline bint region_on_stack(ThreadReader *reader, Region *region) noexcept nogil:
    return reader.stack.items <= region < reader.stack.items + reader.stack.count


cdef inline void region_mark_used(Region *region, uintptr_t start, uintptr_t end) noexcept nogil:
    if start < region.used_start:
        region.used_start = start
    if end > region.used_end:
        region.used_end = end
    region.used = True

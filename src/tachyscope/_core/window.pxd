from libc.stdint cimport int32_t, uint8_t, uint32_t, uintptr_t

from tachyscope._core.codes cimport Code, CodeTable
from tachyscope._core.frames cimport Frame
from tachyscope._core.layout cimport Layout


cdef enum:
    CHUNKS_MAX = 1 << 12


cdef enum State:        # of a frame, as it lies in the copy
    RUNS = 1            # it executes bytecode (3.11 to 3.13)
    WAITS = 2           # it called something (3.11 to 3.13); 3.14+: it lives
    LEFT = 3            # it has returned, or raised
    NEW = 4             # it has not begun

cdef enum Scan:
    SCANNED = 0
    NEEDS_CODE = 101    # `unknown` has to be copied first
    BEYOND = 102        # the copy ends before the leaf
    STALE = 103         # what was not read, because it stays, has changed
    BROKEN = 104        # too deep, or no memory


# A chunk of the data stack, and what of it is read.
cdef struct Chunk:
    uintptr_t start, end        # where its first frame lies, where its memory ends
    uintptr_t lo, hi            # what is read
    size_t offset               # of the copy in the buffer


# A place of the data stack, and what was found there last.
cdef struct Slot:
    uintptr_t address
    Frame frame
    uint32_t code_id, chunk, size
    uint8_t state, role
    uint8_t emptied             # it holds no values but its locals (3.11 to 3.13)
    uint32_t depth              # of the path up to it, see `links`
    uintptr_t on_c_stack        # the entry frame on the C stack that is nearest below it (3.12+)


cdef struct Window:
    Chunk *chunks               # outermost first
    uint32_t chunk_count, chunk_capacity
    Slot *slots                 # outermost first
    uint32_t known, capacity    # slots that hold what was found last
    uint32_t base               # the first slot that is read
    uint32_t anchor             # ... mostly: see `window_settle`
    uint32_t kept               # slots, from the outermost, that are as they were when a stack was last built of them
    int32_t top                 # the innermost frame of the copy; -1: there is none
    uint32_t doubted            # the code for which a frame was found to be none, or no more than remains; or NO_CODE
    uintptr_t current           # the frame that the thread state calls current, right after the copy; 0: not known (3.12)
    uintptr_t unknown, refused  # code that is to be copied; code that turned out to be none
    uintptr_t peak              # the highest end of a leaf since `scans` began to count
    uint32_t scans, steady      # the least `kept` in these scans


cdef void window_clear(Window *window) noexcept nogil
cdef void window_forget(Window *window) noexcept nogil
cdef int window_add_chunk(Window *window, uintptr_t start, uintptr_t end, uintptr_t used) noexcept nogil
cdef bint window_holds(Window *window, uintptr_t address) noexcept nogil
cdef bint window_wants_code(Window *window, Layout *layout, Frame *frame) noexcept nogil
cdef int window_scan(Window *window, Layout *layout, CodeTable *codes, char *buffer) noexcept nogil
cdef void window_underive(Window *window) noexcept nogil
cdef bint window_widen(Window *window) noexcept nogil
cdef void window_settle(Window *window) noexcept nogil
cdef uintptr_t window_word(Window *window, char *buffer, uint32_t slot, uintptr_t at) noexcept nogil
cdef uintptr_t window_value(Window *window, Layout *layout, char *buffer, uint32_t slot) noexcept nogil
cdef bint slot_near_c_stack(Slot *slot, uintptr_t address) noexcept nogil
cdef uint8_t state_of(Layout *layout, Code *code, Frame *frame, uint8_t *role) noexcept nogil

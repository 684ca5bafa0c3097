from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.codes cimport Driver
from tachyscope._core.frames cimport Frame
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory


cdef enum:
    HEAP_BYTES = 320        # that are read of a frame at most: its state, the frame, and the values of short functions
    HEAP_BEFORE = 8         # of these before the frame: a generator's state is there
    WANTED_MAX = 64
    PLACES = 1024           # power of two
    LATER = 1               # added to an address: a look at it after all others


# A frame that lies elsewhere than on the data stack, and its last copy.
cdef struct HeapFrame:
    uintptr_t address               # and LATER
    uint32_t uses                   # since the last look
    uint32_t score                  # how often it was used lately
    uint32_t ends, near             # the same of stacks that it was the leaf of (frames as objects)
    uint32_t size                   # bytes of the copy
    uint64_t fresh                  # of which read that is
    uint64_t taken                  # in which stack it is already, see `builds`
    uintptr_t code                  # of the frame while it lived
    Driver driver                   # who ran it then
    uintptr_t outermost             # code of the frame that executed without a caller (frames as objects)
    uint8_t shared                  # frames of several functions have been there (frames as objects)
    char copy[HEAP_BYTES]


cdef struct Range:
    uintptr_t lo, hi
    size_t offset
    uint32_t first, end             # the frames in it, in `expected`
    int64_t urgency                 # the highest one of theirs: how soon they have to be read


cdef struct Expected:
    uintptr_t address
    uint32_t place                  # in `frames`


cdef struct Heap:
    HeapFrame *frames
    uint32_t *slots                 # open addressing: address -> frame, EMPTY
    Expected *expected              # by address
    Range *ranges                   # in the order in which they are read
    uint32_t count, capacity
    uint32_t expected_count, range_count, wanted_count
    uint32_t bytes                  # that are read of a frame
    uint8_t objects                 # frames are objects (to 3.10): all are here
    uint8_t stale                   # what is expected has to be found out anew
    uint64_t read, builds           # number of this read, and of this attempt to build a stack from it
    uintptr_t wanted[WANTED_MAX]
    # What a place in a function ran last: (code, instruction) -> code of the generator
    uint64_t places[PLACES]
    uintptr_t ran[PLACES]


cdef void heap_init(Heap *heap, Layout *layout) noexcept nogil
cdef void heap_clear(Heap *heap) noexcept nogil
cdef void heap_expect(Heap *heap) noexcept nogil
cdef void heap_take(Heap *heap, char *buffer, size_t got) noexcept nogil
cdef bint heap_fetch(Heap *heap, Memory *memory) noexcept nogil
cdef bint heap_chase(Heap *heap, Memory *memory, Layout *layout, uint32_t most) noexcept nogil
cdef HeapFrame *heap_get(Heap *heap, uintptr_t address) noexcept nogil
cdef HeapFrame *heap_known(Heap *heap, uintptr_t address) noexcept nogil
cdef HeapFrame *heap_later(Heap *heap, uintptr_t address) noexcept nogil
cdef uintptr_t *heap_place(Heap *heap, uintptr_t code, uint64_t instr) noexcept nogil
cdef uintptr_t heap_value(HeapFrame *at, Layout *layout, Frame *frame) noexcept nogil

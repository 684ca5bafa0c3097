from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.frames cimport Frame, word_at
from tachyscope._core.heap cimport Heap, HeapFrame
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Reading
from tachyscope._core.naming cimport Path
from tachyscope._core.window cimport Window


cdef enum Outcome:
    SAMPLED = 0      # the sample has a node
    NONSENSE = 1     # what was read is no stack
    FAULT = 2        # what should be there is not mapped
    GONE = 3         # the process has no memory any more
    DENIED = 4       # the kernel refuses to read it
    UNLINKED = 5     # the thread is not in the list of threads where it was
    INTERRUPTED = 6  # reading took so long that something came between

cdef enum Status:           # of a sample
    UNCERTAIN = 1           # its leaf is known, its callers are not
    RECONSTRUCTED = 2       # something of it is what was there the last time
    TRUNCATED = 4           # it was too deep
    BETWEEN = 8             # no frame said that it ran: the leaf is about to, or just did

cdef enum:
    NOT_READ = -1000        # instead of the bytes that were read
    CHAIN_MAX = 256         # generators that run each other, between two frames on the data stack


# A generator's frame in a chain of them.
cdef struct Driven:
    HeapFrame *at
    Frame frame
    uintptr_t address
    uint32_t code_id
    uint8_t by_c            # C code runs it


# A frame object in the walk from the leaf (to 3.10).
cdef struct Walked:
    int64_t instr
    uint32_t code_id


# One thread of the target: what to read for it, and what the last read showed.
cdef struct ThreadReader:
    uintptr_t address               # of its PyThreadState
    uintptr_t link                  # where the list of threads points to it, 0: that does not matter
    uint64_t unique_id              # matters where it has a `link`
    Window window
    Heap heap
    Path path
    Reading reading
    char *buffer                    # what was read: that of `reading`, or a part of what was read for several threads
    size_t state_offset, link_offset
    uint64_t read_ns                # when the last read was complete
    uint64_t deadline_ns            # if the first read of a sample took longer it was interrupted; 0: it may
    uint32_t max_depth
    uint8_t native                  # C code between two frames is wanted
    uint8_t status                  # of the last sample
    # what `links` works with
    uint8_t generating, generated   # a generator executes, by the thread state; did the last time
    uintptr_t current               # the frame that the thread state calls current, or else `executes`; 0: no generator's
    uintptr_t executes              # the innermost generator that does, by the thread's exception stack; 0: none
    uint32_t plain                  # slots, from the outermost, whose path depends on the copy alone
    Driven chain[CHAIN_MAX]
    uint32_t chain_count
    uint8_t chain_by_c              # C code runs the first frame of the chain
    Walked *walked
    uint32_t walked_capacity


cdef inline uintptr_t reader_state(ThreadReader *reader, Layout *layout, int field) noexcept nogil:
    """A word of the thread state as it was read last; `field` is its offset there."""
    return word_at(reader.buffer + reader.state_offset + (field - layout.state_start))

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A sample of one thread: what is read for it, in which order, and what is made of it. Used from compiled code only.

In one call and in this order:

    data stack          the innermost chunk first: one copy, close to one instant, which the sample is about
    thread state        the current frame, what generators execute, ids, exceptions
    expected frames     of generators and coroutines, and entry frames on the C stack
    list of threads     where it points to this thread

What is read leaves the cache of the target's CPU, so the target waits when it writes there the next time. What is read
first finds a target that nothing has disturbed. Nothing is read again for what it says, but if the copy began or ended
within the part of the stack that changes, or a chunk of the data stack is gone.
"""

from libc.errno cimport EPERM, ESRCH
from libc.stdint cimport uint32_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset

from tachyscope._core.codes cimport CODE_UNCERTAIN, NO_CODE, codes_add
from tachyscope._core.frames cimport word_at
from tachyscope._core.heap cimport Range, heap_chase, heap_clear, heap_expect, heap_fetch, heap_init, heap_take
from tachyscope._core.layout cimport Layout
from tachyscope._core.links cimport links_build
from tachyscope._core.memory cimport (
    Reading, memory_read, memory_readv, now_ns, reading_add, reading_begin, reading_clear, reading_reserve,
)
from tachyscope._core.naming cimport NAMED, REUSED, Engine, Step, path_clear, path_name, path_push
from tachyscope._core.objects cimport objects_build
from tachyscope._core.thread_reader cimport (
    DENIED, FAULT, GONE, INTERRUPTED, NONSENSE, NOT_READ, SAMPLED, TRUNCATED, ThreadReader, UNCERTAIN, UNLINKED,
    reader_state,
)
from tachyscope._core.window cimport (
    BEYOND, BROKEN, CHUNKS_MAX, NEEDS_CODE, SCANNED, STALE, Chunk, Slot, slot_near_c_stack, window_add_chunk,
    window_clear, window_forget, window_holds, window_scan, window_settle, window_underive, window_widen,
)


cdef enum:
    ROUNDS = 8                 # more reads for frames that were not expected: each one may lead to the next
    CODES_MAX = 4096           # new code objects in one stack
    ATTEMPTS = 8               # reads of a data stack that ends beyond the copy, or moved
    CHUNK_BYTES_MAX = 1 << 30
    HEADER = 32                # bytes of a chunk's fields
    CHUNK_TOP = 16             # where it says how many words its frames take, once it is not the innermost one


# ---- beginning and end --------------------------------------------------------------------------------------------

cdef int reader_init(ThreadReader *reader, Layout *layout, uintptr_t address, uint32_t max_depth) noexcept nogil:
    memset(reader, 0, sizeof(ThreadReader))
    heap_init(&reader.heap, layout)
    reader.address, reader.max_depth = address, max_depth
    return 0


cdef void reader_clear(ThreadReader *reader) noexcept nogil:
    window_clear(&reader.window)
    heap_clear(&reader.heap)
    path_clear(&reader.path)
    free(reader.walked)
    reading_clear(&reader.reading)
    memset(reader, 0, sizeof(ThreadReader))


cdef void reader_forget(ThreadReader *reader) noexcept nogil:
    """Give up what was learned of a thread's memory."""
    window_forget(&reader.window)
    heap_clear(&reader.heap)
    reader.path.named = reader.plain = 0


# ---- what to read -------------------------------------------------------------------------------------------------

cdef void _expect_window(ThreadReader *reader) noexcept nogil:
    cdef Chunk *chunk
    cdef uint32_t i
    window_settle(&reader.window)
    for i in range(reader.window.chunk_count):
        chunk = &reader.window.chunks[reader.window.chunk_count - 1 - i]
        if chunk.lo < chunk.hi:
            chunk.offset = reading_add(&reader.reading, chunk.lo, chunk.hi - chunk.lo)


cdef void _expect_heap(ThreadReader *reader) noexcept nogil:
    cdef Range *its
    cdef uint32_t i
    for i in range(reader.heap.range_count):
        its = &reader.heap.ranges[i]
        its.offset = reading_add(&reader.reading, its.lo, its.hi - its.lo)


cdef int reader_prepare(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Write down what the next read reads, in `reading`; -1 if there is no memory for it."""
    cdef Layout *layout = &engine.layout
    cdef Reading *reading = &reader.reading
    if layout.frame_owner >= 0 and reader.window.chunk_count == 0:
        _learn_chunks(reader, engine)
    heap_expect(&reader.heap)
    if reading_reserve(reading, reader.window.chunk_count + reader.heap.range_count + 2, 0) < 0:
        return -1
    reading_begin(reading)
    _expect_window(reader)
    reader.state_offset = reading_add(
        reading, reader.address + layout.state_start, layout.state_end - layout.state_start)
    reader.link_offset = reading_add(reading, reader.link, 8) if reader.link else reading.size
    _expect_heap(reader)
    return reading_reserve(reading, 0, reading.size)


cdef ssize_t reader_read(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Read what is expected; returns how many bytes of it came, or -errno."""
    cdef ssize_t got
    if reader_prepare(reader, engine) < 0:
        return 0
    reader.buffer = reader.reading.buffer
    got = memory_readv(&engine.memory, reader.buffer, reader.reading.ranges, reader.reading.count)
    reader.read_ns = now_ns()
    return got


# ---- the chunks of the data stack ---------------------------------------------------------------------------------

cdef int _learn_chunks(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Follow the list of chunks from the innermost one; -1 if it cannot be read. A thread that ran nothing has none."""
    cdef Layout *layout = &engine.layout
    cdef uintptr_t chunks[CHUNKS_MAX]
    cdef char header[HEADER]
    cdef uintptr_t chunk = 0, start, size, used
    cdef uint32_t count = 0, mark = 0
    window_forget(&reader.window)
    reader.plain = 0
    if memory_read(&engine.memory, reader.address + layout.thread_chunk, &chunk, 8) != 8:
        return -1
    while chunk and count < CHUNKS_MAX:
        chunks[count] = chunk
        if count > mark and chunk == chunks[mark]:
            return -1  # they go round in a circle
        if count == 2 * mark + 1:
            mark = count
        count += 1
        if memory_read(&engine.memory, chunk + layout.chunk_previous, &chunk, 8) != 8:
            return -1
    while count:
        count -= 1
        if memory_read(&engine.memory, chunks[count], header, HEADER) != HEADER:
            return -1
        size = word_at(header + layout.chunk_size)
        start = chunks[count] + layout.chunk_data + (0 if reader.window.chunk_count else 8)  # the first keeps a word
        used = word_at(header + CHUNK_TOP) if count else 0
        if not HEADER < size < CHUNK_BYTES_MAX or used > size / 8:
            return -1
        used = chunks[count] + layout.chunk_data + 8 * used if count else 0
        if window_add_chunk(&reader.window, start, chunks[count] + size, used) < 0:
            return -1
    return 0


cdef bint _is_whole(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Whether the innermost chunk that was read is still the innermost one."""
    cdef uintptr_t chunk = reader_state(reader, &engine.layout, engine.layout.thread_chunk)
    cdef Chunk *innermost
    if reader.window.chunk_count == 0:
        return chunk == 0
    innermost = &reader.window.chunks[reader.window.chunk_count - 1]
    return chunk < innermost.start <= chunk + HEADER


# ---- one sample ---------------------------------------------------------------------------------------------------

cdef void _add_code(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Copy the code object that was found to be needed, or note that it is none."""
    if codes_add(&engine.codes, &engine.memory, &engine.layout, reader.window.unknown) == NO_CODE:
        reader.window.refused = reader.window.unknown
    reader.window.unknown = 0


cdef int _scan(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Find the frames in the copy, with all code objects that this needs."""
    cdef uint32_t i
    cdef int outcome
    for i in range(<uint32_t>CODES_MAX):
        outcome = window_scan(&reader.window, &engine.layout, &engine.codes, reader.buffer)
        if outcome != NEEDS_CODE:
            return outcome
        _add_code(reader, engine)
    return BROKEN


cdef void _see_thread(ThreadReader *reader, Layout *layout) noexcept nogil:
    """What the thread state says of generators: which one is current. While that calls a function that the copy does
    not show yet, or comes from C code, it is still the innermost one that executes."""
    cdef uintptr_t item = reader_state(reader, layout, layout.thread_exc_info), frame = reader.window.current
    cdef Slot *top = &reader.window.slots[reader.window.top] if reader.window.top >= 0 else NULL
    reader.executes = 0
    if item != 0 and item != reader.address + layout.thread_exc_state:
        reader.executes = item - layout.generator_exc_state + layout.generator_frame
    if layout.thread_frame < 0 or top == NULL:
        reader.current = reader.executes
    elif window_holds(&reader.window, frame):
        reader.current = reader.executes if frame > top.address else 0
    else:
        reader.current = reader.executes if slot_near_c_stack(top, frame) else frame
    reader.generating = reader.executes != 0 or reader.current != 0


cdef int _link(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Build the path; read what turns out to be missing."""
    cdef uint32_t rounds = 0, i
    cdef bint come
    cdef int outcome
    for i in range(<uint32_t>CODES_MAX):
        if engine.layout.frame_owner >= 0:
            outcome = links_build(reader, &engine.layout, &engine.codes)
        else:
            outcome = objects_build(reader, &engine.layout, &engine.codes)
        if outcome < 0:
            return NONSENSE
        if reader.window.unknown:
            _add_code(reader, engine)
            continue
        if reader.heap.wanted_count == 0 or rounds == ROUNDS:
            return SAMPLED
        if engine.layout.frame_owner >= 0:
            come = heap_fetch(&reader.heap, &engine.memory)
        else:
            come = heap_chase(&reader.heap, &engine.memory, &engine.layout, min(reader.max_depth, <uint32_t>CODES_MAX))
        if not come:
            return SAMPLED
        engine.counters.late += 1
        rounds += 1
    return NONSENSE


cdef void _mark_uncertain(ThreadReader *reader) noexcept nogil:
    """Nobody's total is to have this sample: above its leaf stands one frame that says so."""
    cdef Step leaf = reader.path.steps[reader.path.depth - 1]
    reader.path.depth = reader.plain = 0
    path_push(&reader.path, CODE_UNCERTAIN, 0)
    path_push(&reader.path, leaf.code_id, leaf.instr)


cdef int _name(ThreadReader *reader, Engine *engine, uint32_t *node) noexcept nogil:
    """From the path to a node; -1 if an address turned out to hold another code object: then derive all anew."""
    cdef int outcome
    node[0] = 0
    reader.path.doubted = reader.window.doubted if engine.layout.frame_owner >= 0 else <uint32_t>NO_CODE
    if reader.path.depth == 0 and reader.path.doubted == NO_CODE:
        return SAMPLED
    if reader.status & UNCERTAIN and reader.path.depth:
        _mark_uncertain(reader)
    if reader.path.depth > reader.max_depth:
        reader.status |= TRUNCATED
    outcome = path_name(engine, &reader.path, reader.max_depth, reader.read_ns, node)
    if outcome == REUSED:
        window_underive(&reader.window)
        reader.plain = 0
        return -1
    return SAMPLED if outcome == NAMED else NONSENSE


cdef int _derive(ThreadReader *reader, Engine *engine, uint32_t *node) noexcept nogil:
    """From what was read to a node."""
    cdef int outcome = -1
    cdef uint32_t attempt
    for attempt in range(<uint32_t>ATTEMPTS):
        if engine.layout.frame_owner >= 0:
            if engine.layout.thread_frame >= 0:
                reader.window.current = reader_state(reader, &engine.layout, engine.layout.thread_frame)
            outcome = _scan(reader, engine)
            if outcome != SCANNED:
                return outcome if outcome == BEYOND or outcome == STALE else <int>NONSENSE
            _see_thread(reader, &engine.layout)
        outcome = _link(reader, engine)
        if outcome == SAMPLED:
            outcome = _name(reader, engine, node)
        if outcome >= 0:
            return outcome
    return NONSENSE


cdef bint _is_linked(ThreadReader *reader, Engine *engine) noexcept nogil:
    """Whether the list of threads still points to this one, and it is the same."""
    return reader.link == 0 or (
        word_at(reader.buffer + reader.link_offset) == reader.address
        and reader_state(reader, &engine.layout, engine.layout.thread_unique_id) == reader.unique_id)


cdef int reader_sample(ThreadReader *reader, Engine *engine, ssize_t got, uint32_t *node) noexcept nogil:
    """Take a sample: SAMPLED and the node of its stack, or why there is none. `got` is how many bytes of what was
    prepared are in `buffer` already, or NOT_READ."""
    cdef uint32_t attempt
    cdef int outcome
    for attempt in range(<uint32_t>ATTEMPTS):
        if attempt or got == NOT_READ:
            got = reader_read(reader, engine)
        if got == -ESRCH or got == -EPERM:
            return GONE if got == -ESRCH else DENIED
        if attempt == 0 and reader.deadline_ns and reader.read_ns > reader.deadline_ns:
            return INTERRUPTED
        if got < <ssize_t>(reader.link_offset + (8 if reader.link else 0)):
            engine.counters.faults += 1
            window_forget(&reader.window)  # a chunk is gone, most likely
            continue
        if not _is_linked(reader, engine):
            return UNLINKED
        if engine.layout.frame_owner >= 0 and not _is_whole(reader, engine):
            _learn_chunks(reader, engine)
            continue
        reader.window.refused = 0  # a code object may lie there by now
        heap_take(&reader.heap, reader.buffer, got)
        outcome = _derive(reader, engine, node)
        if outcome == BEYOND and not window_widen(&reader.window):
            return NONSENSE
        if outcome != BEYOND and outcome != STALE:
            return outcome
    return FAULT

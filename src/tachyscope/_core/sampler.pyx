# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The clock and the loop: samples at random moments, at the rate asked for, interned and counted without the GIL."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EINTR
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from tachyscope._core.belief cimport (
    Belief, belief_child, belief_clear, belief_count, belief_init, calls_may_be_short,
)
from tachyscope._core.codes cimport (
    CHANGED, COPIED, NO_CODE, UNREADABLE, Code, CodeTable,
    codes_add, codes_clear, codes_export, codes_find, codes_init, codes_validate,
)
from tachyscope._core.layout cimport Layout, layout_fill
from tachyscope._core.memory cimport Memory, now_ns
from tachyscope._core.stacks cimport Tree, tree_clear, tree_init
from tachyscope._core.regions cimport (
    DENIED, FAULT, GONE, INNER, MISSED, SAMPLED, TORN, ThreadReader, Walked,
    reader_accept, reader_be_strict, reader_clear, reader_forget, reader_init, reader_learn, reader_read,
)
from tachyscope._core.unwinder cimport reader_walk


cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int TIMER_ABSTIME
    int clock_nanosleep(int clock, int flags, const timespec *request, timespec *remain)

cdef extern from "<sys/prctl.h>" nogil:
    int PR_SET_TIMERSLACK
    int PR_GET_TIMERSLACK
    int prctl(int option, unsigned long value)


cdef enum:
    ATTEMPTS = 64                  # reads for one sample; after that it counts as failed
    SPIN_NS = 8000                 # a wait shorter than this is not worth a sleep
    VALIDATE_MAX = 256
    ALWAYS_VALIDATE_NS = 50000     # at this interval and above every new arrival on the stack is validated
    ARRIVAL_FRESH_NS = 1000000     # how long a validation is good for: at most this, at most 1/16 of the age
    RESIDENT_FRESH_NS = 10000000   # ... for frames that were there in the last sample, too
    RESIDENT_CHECK_NS = 1000000
    CHURN_NS = 1000000000          # after an address was found reused, everything is validated for this long
    FAULTS_IN_A_ROW = 3
    WANDER = 8                     # intervals
    ALWAYS = 16                    # times in a row that a function has to have been called from the same place to be ...
    HOLD = 3                       # attempts after which the last stack of a function is taken for its stack now
    HOLD_ALWAYS = 16               # ... or any stack
    MUCH_BEHIND = 1000             # ticks; more are not counted one by one

# What `Sampler.run` returns.
SLICE_OVER = 0    # `until_ns` has come
INTERRUPTED = 1   # a signal arrived
TARGET_GONE = 2   # the process has no memory any more
TARGET_DENIED = 3 # the kernel does not let us read it any more
TARGET_FAULTS = 4 # several samples in a row met unmapped memory: perhaps another program by now


# The stack of the last sample, root first, to which the next one is compared.
cdef struct Path:
    uintptr_t *codes
    int64_t *instrs
    uint32_t *ids
    uint32_t *nodes
    uint32_t depth, capacity
    uint64_t checked_ns     # when all its code objects were last looked at


# Frames that were certain in a read, innermost first.
cdef struct Held:
    Walked frames[INNER]
    int count
    uint64_t read_ns


cdef struct Counters:
    uint64_t hits           # ticks at which a sample was tried
    uint64_t missed         # ticks that passed while something else was going on
    uint64_t samples, failed, retried, truncated, empty
    uint64_t torn, mispredicted, faults, reused, recalled


cdef inline uint64_t _random(uint64_t *state) noexcept nogil:
    cdef uint64_t x = state[0]  # xorshift64*
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    state[0] = x
    return x * <uint64_t>0x2545F4914F6CDD1D


cdef bint _sleep_until(uint64_t due_ns) noexcept nogil:
    """False if a signal cut the sleep short."""
    cdef timespec time
    time.tv_sec = <long>(due_ns / 1000000000)
    time.tv_nsec = <long>(due_ns % 1000000000)
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != EINTR


cdef int _path_reserve(Path *path, uint32_t depth) noexcept nogil:
    cdef uint32_t capacity = 2 * depth + 64
    cdef void *codes
    cdef void *instrs
    cdef void *ids
    cdef void *nodes
    if depth <= path.capacity:
        return 0
    codes = realloc(path.codes, capacity * sizeof(uintptr_t))
    path.codes = <uintptr_t *>codes if codes else path.codes
    instrs = realloc(path.instrs, capacity * sizeof(int64_t))
    path.instrs = <int64_t *>instrs if instrs else path.instrs
    ids = realloc(path.ids, capacity * sizeof(uint32_t))
    path.ids = <uint32_t *>ids if ids else path.ids
    nodes = realloc(path.nodes, capacity * sizeof(uint32_t))
    path.nodes = <uint32_t *>nodes if nodes else path.nodes
    if codes == NULL or instrs == NULL or ids == NULL or nodes == NULL:
        return -1
    path.capacity = capacity
    return 0


cdef void _path_clear(Path *path) noexcept nogil:
    free(path.codes)
    free(path.instrs)
    free(path.ids)
    free(path.nodes)
    memset(path, 0, sizeof(Path))


cdef class Sampler:
    """Samples one thread of process `pid`, whose memory is laid out as `layout` says.

    `thread` is the address of the thread's PyThreadState, `interval_ns` the time between two samples, `max_depth` how
    many frames of a stack are kept (the innermost ones). `memory_fd` is a descriptor of /proc/PID/mem where the
    system call cannot be used, else -1. With `record` the order and the times of the samples are kept, too. With
    `bare` the clock runs but nothing is read: what the machine can do at best, for comparison.
    """

    cdef Memory _memory
    cdef Layout _layout
    cdef CodeTable _codes
    cdef Tree _tree
    cdef Belief _belief     # in calls
    cdef ThreadReader _reader
    cdef Path _path
    cdef Counters _counters
    cdef uint64_t _interval_ns, _start_ns, _due_ns, _next_ns, _seed, _last_ns
    cdef int64_t _wander_ns     # how far the ticks are from a regular grid
    cdef uint32_t _faults_in_a_row
    cdef bint _bare, _record
    cdef uint32_t *_sample_nodes
    cdef uint64_t *_sample_times
    cdef size_t _sample_count, _sample_capacity

    def __cinit__(self, int pid, object layout, uintptr_t thread, *, uint64_t interval_ns, uint32_t max_depth=20000,
                  uint64_t seed=0, int memory_fd=-1, bint record=False, bint bare=False):
        self._memory.pid, self._memory.fd = pid, memory_fd
        self._interval_ns = interval_ns if interval_ns > 0 else 1
        self._seed = seed or now_ns() | 1
        self._bare, self._record = bare, record
        if bare:
            return
        layout_fill(&self._layout, layout)
        if (codes_init(&self._codes, &self._layout) < 0 or tree_init(&self._tree) < 0
                or reader_init(&self._reader, thread, max_depth) < 0
                or belief_init(&self._belief, &self._tree, &self._codes, &self._reader, self._layout.frame_owner < 0) < 0):
            raise MemoryError

    def __dealloc__(self):
        if not self._bare:
            codes_clear(&self._codes)
            tree_clear(&self._tree)
            belief_clear(&self._belief)
            reader_clear(&self._reader)
        _path_clear(&self._path)
        free(self._sample_nodes)
        free(self._sample_times)

    # ---- one sample ----

    cdef int _resolve(self, uint32_t common) noexcept nogil:
        """Give every frame beyond the common beginning its code id; TORN if what is there is no code object, or one
        that was copied only now: the frame may have been of the one before it at that address, so it has to be there
        in another read, after the copy."""
        cdef uint32_t depth = self._reader.depth, i, code_id
        cdef int outcome = SAMPLED
        cdef Walked *walked
        if _path_reserve(&self._path, depth) < 0:
            return TORN
        self._path.depth = common
        for i in range(common, depth):
            walked = &self._reader.frames[depth - 1 - i]
            code_id = codes_find(&self._codes, walked.code)
            if code_id == NO_CODE:
                code_id = codes_add(&self._codes, &self._memory, &self._layout, walked.code)
                if code_id == NO_CODE:
                    return TORN
                reader_be_strict(&self._reader)
                outcome = TORN
            self._path.codes[i], self._path.instrs[i] = walked.code, walked.instr
            self._path.ids[i] = code_id
        return outcome

    cdef inline bint _due(self, uint32_t code_id, uint64_t now, bint arrival) noexcept nogil:
        """Whether a code object has to be looked at again before this sample may be named after it."""
        cdef Code *code = &self._codes.codes[code_id]
        cdef uint64_t fresh_ns = ARRIVAL_FRESH_NS if arrival else RESIDENT_FRESH_NS
        if code.validated_ns >= now:
            return False
        if self._codes.reused_ns and now < self._codes.reused_ns + CHURN_NS:
            return True
        if arrival and self._interval_ns >= ALWAYS_VALIDATE_NS:
            return True
        if (code.validated_ns - code.first_ns) / 16 < fresh_ns:
            fresh_ns = (code.validated_ns - code.first_ns) / 16
        return now - code.validated_ns > fresh_ns

    cdef int _validate(self, uint32_t common, uint64_t now) noexcept nogil:
        """Look again at the code objects of this stack for which that is due, in one call."""
        cdef uint32_t ids[VALIDATE_MAX]
        cdef uint32_t depth = self._reader.depth, first = common, i
        cdef size_t count = 0
        cdef bint churn = self._codes.reused_ns and now < self._codes.reused_ns + CHURN_NS
        if churn or now > self._path.checked_ns + RESIDENT_CHECK_NS:
            first = 0
            self._path.checked_ns = now
        for i in range(first, depth):
            if self._due(self._path.ids[depth - 1 - (i - first)], now, depth - 1 - (i - first) >= common):
                ids[count] = self._path.ids[depth - 1 - (i - first)]
                count += 1
                if count == VALIDATE_MAX:
                    break
        if count == 0:
            return COPIED
        i = codes_validate(&self._codes, &self._memory, &self._layout, ids, count)
        return self._bury(ids, count) if i == UNREADABLE else <int>i

    cdef int _bury(self, uint32_t *ids, size_t count) noexcept nogil:
        """One of several code objects is not readable any more: find out which, and forget those."""
        cdef size_t i
        for i in range(count):
            if codes_validate(&self._codes, &self._memory, &self._layout, &ids[i], 1) == UNREADABLE:
                self._codes.codes[ids[i]].alive = False
        return CHANGED

    cdef int64_t _offset(self, uint32_t code_id, int64_t offset) noexcept nogil:
        """Byte offset of the instruction that a frame is at; below -2 if it is not in its code."""
        cdef Code *code = &self._codes.codes[code_id]
        if self._layout.frame_instr_kind == 2:
            offset -= <int64_t>(code.address + self._layout.code_instructions)
        elif self._layout.frame_instr_kind == 1:
            offset *= 2
        return offset if -2 <= offset < code.length else -3

    cdef uint32_t _common(self) noexcept nogil:
        """How many frames, from the outermost, are where they were in the last sample."""
        cdef uint32_t depth = self._reader.depth, common = 0
        cdef Walked *walked
        while common < depth and common < self._path.depth:
            walked = &self._reader.frames[depth - 1 - common]
            if walked.code != self._path.codes[common] or walked.instr != self._path.instrs[common]:
                break
            common += 1
        return common

    cdef int _intern(self, uint64_t now, uint32_t *node) noexcept nogil:
        """From the reader's frames to a node of the tree."""
        cdef uint32_t depth = self._reader.depth, common = self._common(), i
        cdef int64_t offset
        cdef bint sure = True
        cdef int outcome = self._resolve(common)
        if outcome != SAMPLED:
            return outcome
        if self._validate(common, now) != COPIED:  # another code object lies there by now, or none
            self._counters.reused += 1
            self._path.depth = 0
            return TORN
        belief_count(&self._belief, self._path.nodes, common)
        node[0] = self._path.nodes[common - 1] if common else 0
        for i in range(common, depth):
            offset = self._offset(self._path.ids[i], self._path.instrs[i])
            if offset < -2:
                return TORN
            if not self._codes.codes[self._path.ids[i]].hidden:
                node[0] = belief_child(&self._belief, node[0], self._path.ids[i], <int32_t>offset, now, &sure)
                if node[0] == 0:
                    reader_be_strict(&self._reader)
                    return TORN
            self._path.nodes[i] = node[0]
            if sure:
                self._path.depth = i + 1
        self._tree.nodes[node[0]].calls += 1  # it was there, as a caller or not: see `belief`
        if not sure:
            reader_be_strict(&self._reader)
        return SAMPLED if sure else TORN

    cdef uint32_t _parent_of(self, Held *held, int place, uint64_t now, uint32_t *code_id) noexcept nogil:
        """The node that a frame's function had below it the last time, if that can be told; 0 if not."""
        cdef Code *code
        code_id[0] = codes_find(&self._codes, held.frames[place].code)
        if code_id[0] == NO_CODE:
            codes_add(&self._codes, &self._memory, &self._layout, held.frames[place].code)
            return 0
        if self._codes.codes[code_id[0]].first_ns >= held.read_ns:  # that frame was perhaps of another one
            code_id[0] = NO_CODE
            return 0
        if self._due(code_id[0], now, True) and codes_validate(
                &self._codes, &self._memory, &self._layout, code_id, 1) != COPIED:
            code_id[0] = NO_CODE
            return 0
        code = &self._codes.codes[code_id[0]]
        if place == 0 and code.last_parent:
            return code.last_parent
        return code.parent if code.parent_times >= ALWAYS and not code.recursive else 0

    cdef int _recall(self, Held *held, uint64_t now, uint32_t *node) noexcept nogil:
        """The innermost frames that were certain, on the stack that the outermost of them had below it the last time."""
        cdef uint32_t ids[INNER]
        cdef int64_t offset
        cdef int i, base
        cdef bint sure = True
        node[0] = 0
        for base in range(held.count):
            node[0] = self._parent_of(held, base, now, &ids[base])
            if node[0] or ids[base] == NO_CODE:
                break
        if node[0] == 0 or self._tree.nodes[node[0]].depth + base + 1 > self._reader.max_depth:
            return TORN
        for i in range(base, -1, -1):
            if self._codes.codes[ids[i]].hidden:
                continue
            offset = self._offset(ids[i], held.frames[i].instr)
            node[0] = 0 if offset < -2 else belief_child(&self._belief, node[0], ids[i], <int32_t>offset, now, &sure)
            if node[0] == 0 or not sure:
                return TORN
        self._counters.recalled += 1
        return SAMPLED

    cdef void _remember(self, uint32_t node) noexcept nogil:
        """Keep what `_recall` will want to know of a stack that was seen whole."""
        cdef Code *code = &self._codes.codes[self._tree.nodes[node].code]
        cdef int level
        code.last_parent = self._tree.nodes[node].parent
        for level in range(INNER):
            if node == 0:
                break
            code = &self._codes.codes[self._tree.nodes[node].code]
            node = self._tree.nodes[node].parent
            code.parent_times = code.parent_times + 1 if code.parent == node else 0
            code.parent = node

    cdef int _attempt(self, uint32_t *node) noexcept nogil:
        cdef int outcome = reader_read(&self._reader, &self._memory, &self._layout)
        if outcome == SAMPLED:
            outcome = reader_walk(&self._reader, &self._layout)
        if outcome == SAMPLED:
            outcome = self._intern(self._reader.read_ns, node)
        if outcome == TORN:
            self._counters.torn += 1
        elif outcome == MISSED:
            self._counters.mispredicted += 1
            self._reader.code_type = self._codes.code_type
            reader_learn(&self._reader, &self._memory, &self._layout)
        elif outcome == FAULT:
            self._counters.faults += 1
            reader_forget(&self._reader)
        return outcome

    cdef int _persist(self, uint32_t *node) noexcept nogil:
        """What the first attempt found current is what this sample is about, even if its callers could not be read:
        short chains of calls (to 3.10) and of generators seldom can, and to take the next stack that can would favour
        long ones. So wait for a stack of the same function, for some attempts; then take the one that it had the last
        time. If nothing was called meanwhile there is no such excuse."""
        cdef uint32_t attempt
        cdef int outcome = FAULT
        cdef bint moved = False
        cdef uint32_t hold = HOLD_ALWAYS if calls_may_be_short(&self._belief) else HOLD
        cdef Held held
        held.count = 0
        for attempt in range(ATTEMPTS):
            outcome = self._attempt(node)
            if held.count == 0:
                held.count, held.read_ns = self._reader.inner_count, self._reader.read_ns
                memcpy(held.frames, self._reader.inner, sizeof(held.frames))
            if outcome == GONE or outcome == DENIED:
                break
            if outcome == SAMPLED and (held.count == 0 or self._is_of(node[0], &held) or attempt >= hold):
                if node[0] and (self._reader.scattered.count or self._layout.frame_stack_top_kind < 0):
                    self._remember(node[0])
                break
            self._reader.agreed = False
            moved = moved or not self._reader.stayed or self._reader.inner[0].address != held.frames[0].address
            if moved and attempt >= HOLD and self._recall(&held, self._reader.read_ns, node) == SAMPLED:
                return SAMPLED
        return outcome

    cdef inline bint _is_of(self, uint32_t node, Held *held) noexcept nogil:
        return node and self._codes.codes[self._tree.nodes[node].code].address == held.frames[0].code

    cdef int _sample(self) noexcept nogil:
        """Take one sample; count it."""
        cdef uint32_t node = 0
        cdef int outcome
        cdef uint64_t torn = self._counters.torn
        outcome = self._persist(&node)
        if outcome == GONE or outcome == DENIED:
            return outcome
        if self._counters.torn != torn:
            self._counters.retried += 1
        self._faults_in_a_row = self._faults_in_a_row + 1 if outcome == FAULT else 0
        if outcome != SAMPLED:
            self._counters.failed += 1
            return outcome
        reader_accept(&self._reader, &self._layout)
        self._count(node)
        return SAMPLED

    cdef void _count(self, uint32_t node) noexcept nogil:
        self._tree.counts[node] += 1
        self._counters.samples += 1
        self._counters.truncated += self._reader.truncated
        self._counters.empty += self._reader.depth == 0
        if self._record:
            self._keep(node)

    cdef void _keep(self, uint32_t node) noexcept nogil:
        cdef void *nodes
        cdef void *times
        cdef size_t capacity = 2 * self._sample_capacity + 4096
        if self._sample_count == self._sample_capacity:
            nodes = realloc(self._sample_nodes, capacity * sizeof(uint32_t))
            self._sample_nodes = <uint32_t *>nodes if nodes else self._sample_nodes
            times = realloc(self._sample_times, capacity * sizeof(uint64_t))
            self._sample_times = <uint64_t *>times if times else self._sample_times
            if nodes == NULL or times == NULL:
                return
            self._sample_capacity = capacity
        self._sample_nodes[self._sample_count] = node
        self._sample_times[self._sample_count] = self._reader.read_ns
        self._sample_count += 1

    # ---- the clock ----

    cdef inline uint64_t _gap(self) noexcept nogil:
        """Time to the next tick: from a half to one and a half intervals, so that ticks keep no phase. On a grid,
        a tick that comes late always falls at the same place of a program that has the grid's rhythm. Ticks stay
        within a few intervals of that grid, so their number is that of the intervals."""
        cdef int64_t step = <int64_t>(_random(&self._seed) % self._interval_ns) - <int64_t>self._interval_ns / 2
        if not -WANDER * <int64_t>self._interval_ns < self._wander_ns + step < WANDER * <int64_t>self._interval_ns:
            step = -step
        self._wander_ns += step
        return self._interval_ns + step

    cdef void _advance(self) noexcept nogil:
        """On to the next tick. Of several that have passed meanwhile the last one is due now, the others are missed."""
        cdef uint64_t now = now_ns(), behind
        self._due_ns = self._next_ns
        self._next_ns += self._gap()
        if now > self._next_ns + MUCH_BEHIND * self._interval_ns:
            behind = (now - self._next_ns) / self._interval_ns
            self._counters.missed += behind
            self._due_ns += behind * self._interval_ns
            self._next_ns += behind * self._interval_ns
        while self._next_ns <= now:
            self._counters.missed += 1
            self._due_ns = self._next_ns
            self._next_ns += self._gap()

    cdef int _loop(self, uint64_t until_ns) noexcept nogil:
        cdef uint64_t now
        cdef int outcome = SAMPLED
        while True:
            now = now_ns()
            if now >= until_ns:
                return 0
            if now < self._due_ns:
                if self._due_ns >= until_ns:
                    return 0 if _sleep_until(until_ns) else 1
                if self._due_ns - now > SPIN_NS:
                    if not _sleep_until(self._due_ns):
                        return 1
                else:
                    while now_ns() < self._due_ns:
                        pass
            if not self._bare:
                outcome = self._sample()
            if outcome == GONE or outcome == DENIED:
                return 2 if outcome == GONE else 3
            self._counters.hits += 1
            self._last_ns = self._reader.read_ns
            self._advance()
            if self._faults_in_a_row >= FAULTS_IN_A_ROW:
                return 4

    def run(self, uint64_t until_ns):
        """Sample until `until_ns` (CLOCK_MONOTONIC, as `time.monotonic_ns`) and say why it ended: one of SLICE_OVER,
        INTERRUPTED, TARGET_GONE, TARGET_DENIED, TARGET_FAULTS. The ticks go on where the last call left them."""
        cdef int result
        cdef int slack
        with nogil:
            if self._start_ns == 0:
                self._start_ns = now_ns()
                self._due_ns = self._start_ns + _random(&self._seed) % self._interval_ns
                self._next_ns = self._due_ns + self._gap()
            slack = prctl(PR_GET_TIMERSLACK, 0)
            prctl(PR_SET_TIMERSLACK, 1)
            result = self._loop(until_ns)
            prctl(PR_SET_TIMERSLACK, <unsigned long>slack)
        return result

    def retarget(self, uintptr_t thread):
        """Sample the thread state at address `thread` from now on."""
        if thread != self._reader.address:
            reader_forget(&self._reader)
            self._reader.address = thread

    def forgive_faults(self):
        """Take back the failed samples of the last faults in a row: the program that was sampled had ended."""
        self._counters.failed -= self._faults_in_a_row
        self._counters.hits -= self._faults_in_a_row
        self._faults_in_a_row = 0

    # ---- what came of it ----

    @property
    def thread(self):
        """Address of the PyThreadState that is sampled."""
        return self._reader.address

    @property
    def counters(self):
        """Counts since the start, a dict; see `Counters` in the source, and `start_ns`, `last_ns` (monotonic)."""
        cdef Counters *c = &self._counters
        return {
            "hits": c.hits, "missed": c.missed, "samples": c.samples, "failed": c.failed, "retried": c.retried,
            "truncated": c.truncated, "empty": c.empty, "torn": c.torn, "mispredicted": c.mispredicted,
            "faults": c.faults, "reused": c.reused, "recalled": c.recalled,
            "start_ns": self._start_ns, "last_ns": self._last_ns,
        }

    def codes(self, uint32_t start=0):
        """(name, qualname, filename, first line, location table) of every code object from id `start` on."""
        return codes_export(&self._codes, start)

    def nodes(self):
        """(parent, code id, byte offset) of every node; node 0 is the empty stack, parents come first."""
        cdef list result = []
        cdef uint32_t i
        for i in range(self._tree.count):
            result.append((self._tree.nodes[i].parent, self._tree.nodes[i].code, self._tree.nodes[i].offset))
        return result

    def counts(self):
        """Samples per node, in the order of `nodes`."""
        cdef list result = []
        cdef uint32_t i
        for i in range(self._tree.count):
            result.append(self._tree.counts[i])
        return result

    def samples(self):
        """The recorded samples so far as two byte strings: nodes (uint32) and times (uint64 ns), native order."""
        return (PyBytes_FromStringAndSize(<char *>self._sample_nodes, self._sample_count * sizeof(uint32_t)),
                PyBytes_FromStringAndSize(<char *>self._sample_times, self._sample_count * sizeof(uint64_t)))

    def ranges(self):
        """The (address, size in bytes) ranges that one sample reads now."""
        cdef list result = []
        cdef uint32_t i
        for i in range(self._reader.remote_count):
            result.append((<uintptr_t>self._reader.remote[i].iov_base, self._reader.remote[i].iov_len))
        return result

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The clock and the loop: samples at random moments, at the rate asked for, without the GIL."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EINTR
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from tachyscope._core.codes cimport codes_export
from tachyscope._core.layout cimport layout_fill
from tachyscope._core.members cimport (
    Group, Member, group_add, group_clear, group_flush, group_forget_ended, group_init, group_retarget,
    group_set_interps, group_tidy,
)
from tachyscope._core.memory cimport memory_forget, memory_record, now_ns
from tachyscope._core.naming cimport Counters, Engine, engine_clear, engine_init
from tachyscope._core.thread_reader cimport (
    DENIED, FAULT, GONE, INTERRUPTED as READ_INTERRUPTED, SAMPLED, ThreadReader,
)
from tachyscope._core.spans cimport FAILED, Anchor, stream_anchor, stream_correct, stream_take
from tachyscope._core.stacks cimport Tree, offset_at, opcode_at
from tachyscope._core.stopper cimport Stopper, stopper_clear, stopper_go, stopper_quantile
from tachyscope._core.threads cimport group_sample, group_stop, group_warm

from tachyscope._core.batch import Anchor as AnchorRow, Batch, Corrections, Nodes, Spans, Track


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


cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    struct ts_sched {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    };
    /* Ask for another time slice for this thread, and return the one before; 0, the default, where that cannot be. */
    static uint64_t ts_slice(uint64_t slice_ns) {
        struct ts_sched attributes = {0};
        uint64_t before;
        if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0 || attributes.policy != 0)
            return 0;
        before = attributes.runtime;
        attributes.size = sizeof(attributes);
        attributes.runtime = slice_ns;
        syscall(SYS_sched_setattr, 0, &attributes, 0);
        return before;
    }
    """
    uint64_t ts_slice(uint64_t slice_ns) nogil


cdef enum:
    SLICE_NS = 100000              # the shortest time slice that the kernel grants
    SPIN_NS = 8000                 # a wait shorter than this is not worth a sleep
    FAULTS_IN_A_ROW = 3
    WANDER = 8                     # intervals
    LATE = 6                       # what a tick may be late, without a word, as a part of the interval
    MUCH_BEHIND = 1000             # ticks; more are not counted one by one
    INTERPRETERS_MAX = 1 << 16
    PATIENCE = 4                   # times the usual time of a sample: one that takes longer was interrupted
    SIZES = 32                     # of what a sample reads, as powers of two
    TICK = -1                      # it is time for a sample

# What `Sampler.run` returns.
SLICE_OVER = 0    # `until_ns` has come
INTERRUPTED = 1   # a signal arrived
TARGET_GONE = 2   # the process has no memory any more
TARGET_DENIED = 3 # the kernel does not let us read it any more
TARGET_FAULTS = 4 # several samples in a row met unmapped memory: perhaps another program by now
TARGET_UNSTOPPABLE = 6  # the kernel does not let us stop a thread of it: `stop_refused` says why
THREADS_NEW = 5   # there are threads that `new_threads` has not told of yet, or an interpreter is gone


cdef inline uint64_t _random(uint64_t *state) noexcept nogil:
    cdef uint64_t x = state[0]  # xorshift64*
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    state[0] = x
    return x * <uint64_t>0x2545F4914F6CDD1D


cdef inline uint64_t _gap(uint64_t *seed, int64_t *wander_ns, uint64_t interval_ns) noexcept nogil:
    """Time to the next tick: from a half to one and a half intervals, so that ticks keep no phase. On a grid, a tick
    that comes late always falls at the same place of a program that has the grid's rhythm. Ticks stay within a few
    intervals of that grid, so their number is that of the intervals."""
    cdef int64_t interval = <int64_t>interval_ns
    cdef int64_t step = <int64_t>(_random(seed) % interval_ns) - interval / 2
    if not -WANDER * interval < wander_ns[0] + step < WANDER * interval:
        step = -step
    wander_ns[0] += step
    return interval_ns + step


def tick_times(anchor, uint64_t interval_ns, uint32_t count):
    """When the `count` ticks from that of an `Anchor` on were due: a column of uint64, monotonic ns."""
    cdef uint64_t due_ns = anchor[1], next_ns = anchor[2], seed = anchor[3]
    cdef int64_t wander_ns = anchor[4]
    cdef bytes column = PyBytes_FromStringAndSize(NULL, 8 * <Py_ssize_t>count)
    cdef char *first = column
    cdef uint32_t i
    for i in range(count):
        (<uint64_t *>first)[i] = due_ns
        due_ns, next_ns = next_ns, next_ns + _gap(&seed, &wander_ns, interval_ns)
    return column


cdef bint _sleep_until(uint64_t due_ns) noexcept nogil:
    """False if a signal cut the sleep short."""
    cdef timespec time
    time.tv_sec = <long>(due_ns / 1000000000)
    time.tv_nsec = <long>(due_ns % 1000000000)
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != EINTR


def ask_for_slice(uint64_t slice_ns=SLICE_NS):
    """Ask the kernel for time slices of this length for this thread, by default the shortest there are; returns the
    length before. Who asks for little at a time is let in sooner when all CPUs are busy (Linux 6.12 and later)."""
    return ts_slice(slice_ns)


cdef class Sampler:
    """Samples one thread of process `pid`, whose memory is laid out as `layout` says.

    `thread` is the address of the thread's PyThreadState, `interval_ns` the time between two samples, `max_depth` how
    many frames of a stack are kept (the innermost ones). `memory_fd` is a descriptor of /proc/PID/mem where the
    system call cannot be used, else -1.
    `caches` says for each of 256 instructions how many 2-byte units of inline cache follow: then the instruction that
    every frame is at is recorded, too. With
    `bare` the clock runs but nothing is read: what the machine can do at best, for comparison.
    """

    cdef Engine _engine
    cdef Group _group
    cdef uint64_t _interval_ns, _sampled_ns, _start_ns, _due_ns, _next_ns, _seed, _last_ns
    cdef int64_t _wander_ns     # how far the ticks are from a regular grid
    cdef uint32_t _faults_in_a_row
    cdef uint64_t _usual_ns[SIZES]  # how long a sample that reads so many bytes takes
    cdef uint64_t _tick_ns      # when the current tick is due, if nothing puts it off
    cdef uint32_t _codes_told, _nodes_told
    cdef uint64_t _check_every_ns, _next_check_ns, _check_seed
    cdef bint _bare
    cdef Stopper _stopper
    cdef uint64_t _spared       # ticks that were left out so that the target runs at least as long as it is stopped

    def __cinit__(self, int pid, object layout, uintptr_t thread, *, uint64_t interval_ns, uint32_t max_depth=20000,
                  uint64_t seed=0, int memory_fd=-1, bint bare=False, interpreters=(), bint asks=False,
                  bint gc=True, bint native=False, bint opcodes=False, bytes caches=b"", bytes roles=b"",
                  bytes natives=b"", bint blocking=False, uint64_t check_every_ns=0, dict recorded=None):
        self._engine.memory.pid, self._engine.memory.fd = pid, memory_fd
        if recorded is not None:
            memory_record(&self._engine.memory, recorded)
        self._stopper.pid = pid
        self._interval_ns = self._engine.interval_ns = interval_ns if interval_ns > 0 else 1
        self._seed = seed or now_ns() | 1
        self._check_every_ns, self._check_seed = check_every_ns, self._seed ^ <uint64_t>0x9E3779B97F4A7C15 | 1
        self._bare = bare
        if bare:
            return
        layout_fill(&self._engine.layout, layout)
        if engine_init(&self._engine) < 0 or group_init(&self._group, max_depth) < 0:
            raise MemoryError
        self._group.asks, self._group.all = asks, thread == 0
        self._group.gc, self._group.native, self._group.blocking = gc, native, blocking
        if len(caches) == sizeof(self._engine.codes.caches):
            memcpy(self._engine.codes.caches, <char *>caches, sizeof(self._engine.codes.caches))
            self._engine.codes.with_opcodes = opcodes or (native and len(natives) > 0)
        if len(natives) == sizeof(self._engine.codes.native) and native:
            memcpy(self._engine.codes.native, <char *>natives, sizeof(self._engine.codes.native))
        if len(roles) == sizeof(self._engine.codes.roles):
            memcpy(self._engine.codes.roles, <char *>roles, sizeof(self._engine.codes.roles))
        if thread and group_add(&self._group, &self._engine, thread) == NULL:
            raise MemoryError
        self.set_interpreters(interpreters)

    def __dealloc__(self):
        if not self._bare:
            stopper_clear(&self._stopper)
            group_clear(&self._group)
            engine_clear(&self._engine)
        memory_forget(&self._engine.memory)

    cdef int _sample(self, uint64_t now) noexcept nogil:
        """Take one sample; count it."""
        cdef uint64_t *usual_ns = self._usual()
        cdef int outcome
        self._group.patience_ns = PATIENCE * usual_ns[0]
        outcome = group_sample(&self._group, &self._engine, now)
        if outcome == GONE or outcome == DENIED:
            return outcome
        self._engine.counters.reads += 1
        if outcome == READ_INTERRUPTED:
            return outcome
        self._faults_in_a_row = self._faults_in_a_row + 1 if outcome == FAULT else 0
        return outcome

    # ---- the clock ----

    cdef inline uint64_t *_usual(self) noexcept nogil:
        """How long a sample usually takes that reads as much as the next one will."""
        cdef size_t size = self._group.members[0].thread.reading.size if self._group.count and not self._group.all and (
            self._group.members[0].thread != NULL) else self._group.reading.size
        cdef int power = 0
        while size > 1 and power < SIZES - 1:
            size >>= 1
            power += 1
        return &self._usual_ns[power]

    cdef uint64_t _weigh(self, uint64_t took_ns, uint64_t passed) noexcept nogil:
        """Of the ticks that have passed since a sample began, those that it stands for, too: until the next one begins.
        But what it took longer than it usually does, some times over, was not its own: the profiler was not let run."""
        cdef uint64_t *usual_ns = self._usual()
        cdef uint64_t patience_ns = PATIENCE * usual_ns[0]
        if usual_ns[0] == 0:
            usual_ns[0] = took_ns
            return 0
        usual_ns[0] += <int64_t>(min(took_ns, patience_ns) - usual_ns[0]) / 32
        return min(passed, patience_ns / self._interval_ns)

    cdef inline uint64_t _step(self) noexcept nogil:
        return _gap(&self._seed, &self._wander_ns, self._interval_ns)

    cdef void _drop_anchor(self, uint64_t tick) noexcept nogil:
        cdef Anchor anchor
        anchor.tick, anchor.due_ns, anchor.next_ns = tick, self._due_ns, self._next_ns
        anchor.seed, anchor.wander_ns = self._seed, self._wander_ns
        stream_anchor(&self._group.stream, &anchor)

    cdef uint64_t _advance(self, uint64_t now) noexcept nogil:
        """On to the next tick, and how many more have passed meanwhile: of several the last one is due now."""
        cdef uint64_t passed = 0
        self._due_ns = self._next_ns
        self._next_ns += self._step()
        if now > self._next_ns + MUCH_BEHIND * self._interval_ns:
            passed = (now - self._next_ns) / self._interval_ns
            self._due_ns += passed * self._interval_ns
            self._next_ns += passed * self._interval_ns
            self._drop_anchor(self._group.tick + 1 + passed)
        while self._next_ns <= now:
            passed += 1
            self._due_ns = self._next_ns
            self._next_ns += self._step()
        self._tick_ns = self._due_ns
        return passed

    cdef int _wait(self, uint64_t until_ns, uint64_t *now) noexcept nogil:
        """Wait for the next tick; SLICE_OVER or INTERRUPTED if that is not to be."""
        if self._due_ns >= until_ns:
            return 0 if _sleep_until(until_ns) else 1
        if self._due_ns - now[0] > SPIN_NS:
            if not _sleep_until(self._due_ns):
                return 1
            group_warm(&self._group, &self._engine)
            now[0] = now_ns()
        while now[0] < self._due_ns:
            now[0] = now_ns()
        return TICK

    cdef bint _is_to_check(self, uint64_t now) noexcept nogil:
        """Whether it is time to stop the target for a sample that checks the others."""
        if self._check_every_ns == 0 or now < self._next_check_ns:
            return False
        self._next_check_ns = now + self._check_every_ns / 2 + _random(&self._check_seed) % self._check_every_ns
        return True

    cdef int _loop(self, uint64_t until_ns) noexcept nogil:
        cdef uint64_t now = now_ns()
        cdef uint64_t pause_ns, begin, passed, stands_for
        cdef bint stops
        cdef int outcome = SAMPLED
        while now < until_ns:
            if now < self._due_ns:
                outcome = self._wait(until_ns, &now)
                if outcome != TICK:
                    return outcome
            stops = self._group.blocking or self._is_to_check(now)
            if stops:
                group_stop(&self._group, &self._engine, &self._stopper)
                self._group.checks = NULL if self._group.blocking else &self._stopper
                now = now_ns()
            begin = now
            if begin - self._tick_ns > self._interval_ns / LATE and not self._bare:
                stream_correct(&self._group.stream, self._group.tick, begin - self._tick_ns)
            outcome = SAMPLED if self._bare else self._sample(now)
            pause_ns = stopper_go(&self._stopper) if stops else 0
            self._group.checks = NULL
            if outcome == GONE or outcome == DENIED:
                return 2 if outcome == GONE else 3
            if self._stopper.refused:
                return 6
            now = now_ns()
            self._last_ns = now
            passed = self._advance(now)
            stands_for = 0 if self._bare or stops else self._weigh(now - begin, passed)
            if outcome == READ_INTERRUPTED:
                self._engine.counters.interrupted += 1
                self._engine.counters.missed += 1 + passed
            else:
                self._engine.counters.hits += 1 + stands_for
                self._engine.counters.squares += (1 + stands_for) * (1 + stands_for)
                self._engine.counters.missed += passed - stands_for
                self._group.weight += 1 + stands_for
            self._group.tick += 1 + passed
            if pause_ns and self._group.blocking and self._due_ns < now + pause_ns:  # the target has at least half of the time for itself
                self._spared += 1
                self._due_ns = now + pause_ns
            if self._faults_in_a_row >= FAULTS_IN_A_ROW:
                return 4
            if self._group.untold:
                return 5
        return 0

    def run(self, uint64_t until_ns):
        """Sample until `until_ns` (CLOCK_MONOTONIC, as `time.monotonic_ns`) and say why it ended: one of SLICE_OVER,
        INTERRUPTED, TARGET_GONE, TARGET_DENIED, TARGET_FAULTS, THREADS_NEW, TARGET_UNSTOPPABLE. The ticks go on where
        the last call left them."""
        cdef int result
        cdef int slack
        with nogil:
            if self._start_ns == 0:
                self._start_ns = now_ns()
                self._due_ns = self._tick_ns = self._start_ns + _random(&self._seed) % self._interval_ns
                self._next_ns = self._due_ns + self._step()
                self._drop_anchor(self._group.tick)
            slack = prctl(PR_GET_TIMERSLACK, 0)
            prctl(PR_SET_TIMERSLACK, 1)
            group_tidy(&self._group)
            result = self._loop(until_ns)
            prctl(PR_SET_TIMERSLACK, <unsigned long>slack)
        return result

    def pause(self):
        """Nothing is missed from here on until the next `run`."""
        if self._start_ns and self._last_ns > self._start_ns:
            self._sampled_ns += self._last_ns - self._start_ns
        self._start_ns = self._last_ns = 0

    def retarget(self, uintptr_t thread):
        """Sample the thread state at address `thread` from now on."""
        group_retarget(&self._group, &self._engine, thread)

    def set_interpreters(self, interpreters):
        """The address of each interpreter's state, that of its GIL (0 where there is none), and that of the word which
        says that its garbage collector runs."""
        cdef list triples = list(interpreters)[:INTERPRETERS_MAX]
        cdef uintptr_t *flat = <uintptr_t *>malloc((3 * len(triples) + 1) * sizeof(uintptr_t))
        cdef int result = -1
        cdef size_t i
        if flat != NULL:
            for i in range(<size_t>len(triples)):
                flat[3 * i], flat[3 * i + 1], flat[3 * i + 2] = triples[i]
            result = group_set_interps(&self._group, &self._engine, flat, <uint32_t>len(triples))
        free(flat)
        if result < 0:
            raise MemoryError

    def new_threads(self):
        """(address, unique id, pthread id, kernel thread id or 0) of every thread that this has not told of yet."""
        cdef list result = []
        cdef Member *member
        cdef uint32_t i
        for i in range(self._group.count):
            member = self._group.members[i]
            if not member.told and member.thread != NULL:
                result.append((member.address, member.unique_id, member.ident, member.native_id))
            member.told = True
        self._group.untold = 0
        return result

    @property
    def stop_refused(self):
        """The errno with which the kernel refused to stop a thread; 0 if it did not."""
        return self._stopper.refused

    @property
    def pauses(self):
        """How often the target was stopped, for how many ns in all, the 50 % and 99 % quantiles of that in ns, and how
        often a sample was put off so that it runs at least as long as it is stopped."""
        return (self._stopper.pauses, self._stopper.total_ns, stopper_quantile(&self._stopper, 0.5),
                stopper_quantile(&self._stopper, 0.99), self._spared)

    def watch_thread(self, uintptr_t address, int stat_fd, int tid=0):
        """Kernel thread `tid` is that of a thread state. Ask the kernel about it now and then through `stat_fd`, an
        open /proc/PID/task/TID/stat or -1, which belongs to the sampler from now on. False, and nothing is taken, if there
        is no such thread any more."""
        cdef Member *member
        cdef uint32_t i
        for i in range(self._group.count):
            member = self._group.members[i]
            if member.address == address and member.thread != NULL:
                if member.stat >= 0:
                    close(member.stat)
                member.stat, member.tid = stat_fd, tid
                return True
        return False

    def forgive_faults(self):
        """Take back the failed samples of the last faults in a row: the program that was sampled had ended."""
        cdef uint32_t i
        for i in range(self._group.count):
            if self._group.members[i].status & FAILED:
                self._group.members[i].lasting = False
        self._engine.counters.hits -= self._faults_in_a_row
        self._faults_in_a_row = 0

    # ---- what came of it ----

    @property
    def thread(self):
        """Address of the PyThreadState that is sampled; with all threads that of the first one, 0 if there is none."""
        return self._group.members[0].address if self._group.count else 0

    @property
    def counters(self):
        """Counts since the start, a dict; see `Counters` in the source. Monotonic times: `start_ns` (of this run, 0: there
        is none), `last_ns`; and for how long it sampled in all, `sampled_ns`."""
        cdef Counters c = self._engine.counters
        cdef Member *member
        cdef uint64_t weight
        cdef uint32_t i
        for i in range(self._group.count):
            member = self._group.members[i]
            weight = self._group.weight - member.since_weight if member.lasting else 0
            if member.status & FAILED:
                c.failed += weight
            else:
                c.samples += weight
        return {
            "hits": c.hits, "squares": c.squares, "missed": c.missed, "samples": c.samples, "failed": c.failed,
            "reads": c.reads, "interrupted": c.interrupted, "late": c.late, "faults": c.faults, "reused": c.reused,
            "start_ns": self._start_ns, "last_ns": self._last_ns,
            "sampled_ns": self._sampled_ns + max(<int64_t>(self._last_ns - self._start_ns), <int64_t>0),
        }

    def drain(self, bint whole=False):
        """Take what has come since the last time, a `Batch`. Spans that still last are in it only if it is to be
        `whole`; a thread that sleeps has none. Raises `MemoryError` if there was none to keep spans."""
        cdef tuple taken
        if whole:
            group_flush(&self._group, &self._engine)
        taken = stream_take(&self._group.stream)
        return Batch(self._new_tracks(), self._new_codes(), self._new_nodes(), Spans(*taken[0]),
                     [AnchorRow(*each) for each in taken[2]], Corrections(*taken[1]))

    cdef list _new_tracks(self):
        cdef list result = []
        cdef uint32_t i
        for i in range(self._group.ended_count):
            self._list(self._group.ended[i], result)
        group_forget_ended(&self._group)
        for i in range(self._group.count):
            self._list(self._group.members[i], result)
        return result

    cdef void _list(self, Member *member, list rows):
        cdef uintptr_t interp = 0
        if member.listed:
            return
        if member.interp < self._group.interp_count:
            interp = self._group.interps[member.interp].address
        rows.append(Track(member.track, interp, member.address, member.unique_id, member.ident, member.native_id,
                          member.begin, member.end))
        member.listed = True

    cdef list _new_codes(self):
        cdef list codes = codes_export(&self._engine.codes, self._codes_told)
        self._codes_told += <uint32_t>len(codes)
        return codes

    cdef object _new_nodes(self):
        cdef Tree *tree = &self._engine.tree
        cdef uint32_t first = self._nodes_told, count = tree.count - first, i
        cdef bytes parents = PyBytes_FromStringAndSize(NULL, 4 * <Py_ssize_t>count)
        cdef bytes codes = PyBytes_FromStringAndSize(NULL, 4 * <Py_ssize_t>count)
        cdef bytes offsets = PyBytes_FromStringAndSize(NULL, 4 * <Py_ssize_t>count)
        cdef bytes opcodes = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count)
        cdef char *parent = parents
        cdef char *code = codes
        cdef char *offset = offsets
        cdef char *opcode = opcodes
        for i in range(count):
            (<uint32_t *>parent)[i] = tree.nodes[first + i].parent
            (<uint32_t *>code)[i] = tree.nodes[first + i].code
            (<int32_t *>offset)[i] = offset_at(tree.nodes[first + i].place)
            opcode[i] = <char>opcode_at(tree.nodes[first + i].place)
        self._nodes_told = tree.count
        return Nodes(parents, codes, offsets, opcodes)

    def ranges(self):
        """The (address, size in bytes) ranges that one sample of the first thread reads now."""
        cdef list result = []
        cdef ThreadReader *reader
        cdef uint32_t i
        if self._group.count and self._group.members[0].thread != NULL:
            reader = self._group.members[0].thread
            for i in range(reader.reading.count):
                result.append((<uintptr_t>reader.reading.ranges[i].iov_base, reader.reading.ranges[i].iov_len))
        return result

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Stopping single threads of the target while a sample is read, by ptrace. Used from compiled code only.

A thread is seized, interrupted, and let go with every sample, so between two samples nothing of this is left: signals,
new threads and `exec` are the program's own business. (But a thread that does not stop in time stays seized until it
does, and is let go then.) When a tracer dies, however it does, the kernel lets go of all that it has seized, and they run
on. A signal that arrives just as a thread stops is passed on when it is let go.
"""

from libc.errno cimport ESRCH, errno
from libc.stdint cimport uint32_t, uint64_t

from tachyscope._core.memory cimport now_ns


cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int nanosleep(const timespec *request, timespec *remain)

cdef extern from *:
    """
    #include <sys/ptrace.h>
    #include <sys/types.h>
    #include <signal.h>
    #include <sys/wait.h>
    /* The C library's ptrace takes an enum on some systems, an int on others. */
    static long ts_seize(int tid) { return ptrace(PTRACE_SEIZE, tid, 0L, 0L); }
    static long ts_interrupt(int tid) { return ptrace(PTRACE_INTERRUPT, tid, 0L, 0L); }
    static long ts_detach(int tid, int number) { return ptrace(PTRACE_DETACH, tid, 0L, (long)number); }
    static int ts_wait(int tid, int *status) { return waitpid(tid, status, __WALL | WNOHANG); }
    /* 1: it is stopped, 0: not yet, -1: it has ended, -2: there is nothing to wait for. Takes nothing away. */
    static int ts_look(int tid) {
        siginfo_t info;
        info.si_pid = 0;
        if (waitid(P_PID, tid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) != 0)
            return -2;
        if (info.si_pid == 0)
            return 0;
        return info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED ? 1 : -1;
    }
    /* The signal that a thread stopped for; 0 if it stopped because we asked it to, or with its whole process. */
    static int ts_signal(int status) { return status >> 16 ? 0 : WSTOPSIG(status); }
    """
    long ts_seize(int tid) nogil
    long ts_interrupt(int tid) nogil
    long ts_detach(int tid, int number) nogil
    int ts_wait(int tid, int *status) nogil
    int ts_look(int tid) nogil
    int ts_signal(int status) nogil


cdef enum:
    SPIN_NS = 50000            # a thread mostly stops within some microseconds
    NAP_NS = 20000
    PATIENCE_NS = 50000000     # after this the sample is read without it: it may wait for a CPU, or for a device
    LAST_PATIENCE_NS = 1000000000
    LAST_RITES_NS = 100000000
    REFUSALS = 4


cdef bint _is_among(int *tids, uint32_t count, int tid) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        if tids[i] == tid:
            return True
    return False


cdef bint stopper_has(Stopper *stopper, int tid) noexcept nogil:
    return _is_among(stopper.tids, stopper.count, tid)


cdef void _bury(Stopper *stopper, int tid) noexcept nogil:
    """A thread that ended while it was ours has to be taken note of, or its process never ends. The process itself is
    its parent's."""
    cdef uint64_t begin = now_ns()
    cdef int status = 0
    while tid != stopper.pid and ts_wait(tid, &status) == 0 and now_ns() - begin < LAST_RITES_NS:
        pass


cdef bint _await(Stopper *stopper, int tid, uint64_t patience_ns, int *number, bint *late) noexcept nogil:
    """Wait until a thread that was interrupted stops; false if it ended, or (`late`) does not stop in time."""
    cdef uint64_t begin = now_ns(), waited
    cdef timespec nap
    cdef int status = 0, seen
    nap.tv_sec, nap.tv_nsec = 0, NAP_NS
    late[0] = False
    while True:
        seen = ts_look(tid)
        if seen == 1 and ts_wait(tid, &status) == tid:
            number[0] = ts_signal(status)
            return True
        if seen == -1:
            _bury(stopper, tid)
        waited = now_ns() - begin
        if seen < 0 or waited > patience_ns:
            late[0] = seen >= 0
            return False
        if waited > SPIN_NS:
            nanosleep(&nap, NULL)


cdef bint stopper_stop(Stopper *stopper, int tid) noexcept nogil:
    """Stop a thread until `stopper_go`; false if it cannot be: `refused` says so if that is not because it is gone."""
    cdef bint late = False
    cdef int number = 0
    if stopper.count == STOPPED_MAX or stopper.late_count == STOPPED_MAX:
        return False
    if _is_among(stopper.late, stopper.late_count, tid):
        return False
    if stopper.begin_ns == 0:
        stopper.begin_ns = now_ns()
    if ts_seize(tid) < 0:
        stopper.refusals += errno != ESRCH
        stopper.refused = errno if stopper.refusals == REFUSALS else stopper.refused
        return False
    stopper.refusals = 0
    ts_interrupt(tid)
    if not _await(stopper, tid, PATIENCE_NS, &number, &late):
        if late:
            stopper.late[stopper.late_count] = tid
            stopper.late_count += 1
        return False
    stopper.tids[stopper.count], stopper.signals[stopper.count] = tid, number
    stopper.count += 1
    return True


cdef inline void _let_go(Stopper *stopper, int tid, int number) noexcept nogil:
    if ts_detach(tid, number) < 0:  # it was killed meanwhile
        _bury(stopper, tid)


cdef void _let_late_go(Stopper *stopper, uint64_t patience_ns) noexcept nogil:
    cdef uint32_t i, kept = 0
    cdef bint late = False
    cdef int number = 0
    for i in range(stopper.late_count):
        if _await(stopper, stopper.late[i], patience_ns, &number, &late):
            _let_go(stopper, stopper.late[i], number)
        elif late:
            stopper.late[kept] = stopper.late[i]
            kept += 1
    stopper.late_count = kept


cdef inline uint32_t _slot(uint64_t pause_ns) noexcept nogil:
    """Sixteen slots for each power of two: within 6 % of the truth."""
    cdef uint32_t power = 0
    while pause_ns >> power > 31:
        power += 1
    return (power << 4) + <uint32_t>(pause_ns >> power)


cdef uint64_t stopper_go(Stopper *stopper) noexcept nogil:
    """Let all go; returns how long they were stopped, 0 if none was."""
    cdef uint64_t pause_ns = 0
    cdef uint32_t i
    for i in range(stopper.count):
        _let_go(stopper, stopper.tids[i], stopper.signals[i])
    if stopper.count:
        pause_ns = now_ns() - stopper.begin_ns
        stopper.pauses += 1
        stopper.total_ns += pause_ns
        stopper.slots[_slot(pause_ns)] += 1
    stopper.count, stopper.begin_ns = 0, 0
    if stopper.late_count:
        _let_late_go(stopper, 0)
    return pause_ns


cdef void stopper_clear(Stopper *stopper) noexcept nogil:
    stopper_go(stopper)
    _let_late_go(stopper, LAST_PATIENCE_NS)


cdef uint64_t stopper_quantile(Stopper *stopper, double part) noexcept nogil:
    """The pause in nanoseconds that this part of all pauses does not exceed; 0 without any."""
    cdef uint64_t seen = 0
    cdef uint32_t slot, power
    for slot in range(PAUSE_SLOTS):
        seen += stopper.slots[slot]
        if stopper.slots[slot] and seen >= part * stopper.pauses:
            power = (slot >> 4) - 1 if slot > 31 else 0
            return <uint64_t>(slot - (power << 4)) << power
    return 0

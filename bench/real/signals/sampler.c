/* Samples the main thread of the process that it is loaded into: a timer signal interrupts it anywhere, and the handler
   walks the frames from the thread state. Nobody stops the process and nobody reads it from outside, so nothing here
   shares a mistake with a profiler that does.

   Compiled for one CPython version with that version's own headers. Everything below `install` runs in signal handlers
   and is async-signal-safe: it reads memory, writes to a mapped file and makes system calls.

   A stack is what a reader that stops the process would see (src/tachyscope/_core/reference.py has the rules): of the
   innermost segment the frame that executes is the leaf, or the current one where none says so. A frame that is still
   being made is neither: its time is its caller's.

   The file: a header of 64-bit words, then records of 32-bit words, each a tag and
     TURN                                    the samples that follow are of the next turn
     CODE    first line, name, file          the next code object, numbered from 0; a text is its length in characters,
                                             the bytes per character, and the characters, padded to a whole word
     SAMPLE  kept, fresh, fresh numbers      a stack: the `kept` outermost frames are those of the sample before (none at
                                             the start of a turn), the others follow, leaf first
     FAILED                                  a sample that was no whole stack: the frames were being linked just then */

#define _GNU_SOURCE
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#endif
#include <Python.h>
#if PY_VERSION_HEX != EXPECTED_VERSION
#error "the headers are of another version than the interpreter"
#endif
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_interpframe.h>
#elif PY_VERSION_HEX >= 0x030B0000
#include <internal/pycore_frame.h>
#else
#include <frameobject.h>
#endif

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define START (SIGRTMIN + 3)
#define STOP (SIGRTMIN + 4)
#define TICK (SIGRTMIN + 5)
#define MAGIC 0x3173676e67697374u
#define MAX_DEPTH 20000
#define MAX_TEXT_BYTES 4096u
#define SLOTS (1u << 16)
#define MAX_CODES (SLOTS / 4 * 3)

enum { TURN = 1, CODE, SAMPLE, FAILED };

/* What differs between versions */

#if PY_VERSION_HEX >= 0x030B0000
typedef struct _PyInterpreterFrame Frame;
#define PREVIOUS(frame) ((frame)->previous)
#else
typedef PyFrameObject Frame;
#define PREVIOUS(frame) ((frame)->f_back)
#endif

#if PY_VERSION_HEX >= 0x030D0000
#define CURRENT_FRAME(thread) ((thread)->current_frame)
#elif PY_VERSION_HEX >= 0x030B0000
#define HAS_CFRAME 1  /* of each run of the interpreter's loop, on the C stack; it is current before it is filled in */
#else
#define CURRENT_FRAME(thread) ((thread)->frame)
#endif

#if PY_VERSION_HEX >= 0x030E0000  /* a reference with a tag in its lowest bits */
#define CODE_OF(frame) ((PyCodeObject *)((frame)->f_executable.bits & ~(uintptr_t)3))
#elif PY_VERSION_HEX >= 0x030D0000
#define CODE_OF(frame) ((PyCodeObject *)(frame)->f_executable)
#else
#define CODE_OF(frame) ((PyCodeObject *)(frame)->f_code)
#endif

#if PY_VERSION_HEX >= 0x030E0000  /* frames of the interpreter itself, not of a function */
#define IS_ENTRY_FRAME(frame) ((frame)->owner >= FRAME_OWNED_BY_INTERPRETER)
#elif PY_VERSION_HEX >= 0x030C0000
#define IS_ENTRY_FRAME(frame) ((frame)->owner == FRAME_OWNED_BY_CSTACK)
#else
#define IS_ENTRY_FRAME(frame) 0
#endif

#if PY_VERSION_HEX >= 0x030C0000
#define IS_OUTERMOST_OF_SEGMENT(frame) 0
#define CAN_BE_OUTERMOST(frame) 0  /* only an entry frame can */
#elif PY_VERSION_HEX >= 0x030B0000
#define IS_OUTERMOST_OF_SEGMENT(frame) ((frame)->is_entry)
#define CAN_BE_OUTERMOST(frame) ((frame)->owner == FRAME_OWNED_BY_THREAD)
#else
#define IS_OUTERMOST_OF_SEGMENT(frame) 0
#define CAN_BE_OUTERMOST(frame) 1
#endif

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030E0000
#define EXECUTES(frame) ((frame)->stacktop == -1)
#else
#define EXECUTES(frame) 0  /* these versions do not say */
#endif

#if PY_VERSION_HEX >= 0x030B0000
#define NAME_OF(code) ((code)->co_qualname)
#else
#define NAME_OF(code) ((code)->co_name)
#endif

/* State: written by `install`, then only by handlers on the main thread, which block one another */

struct header {
    uint64_t magic;           /* written last: the handlers are there */
    uint64_t used_words;      /* of the records */
    uint64_t capacity_words;  /* room for records */
    uint64_t full;            /* sampling has ended for want of room */
    uint64_t version;         /* PY_VERSION_HEX */
    uint64_t interval_ns;
    uint64_t ticks;           /* signals of the timer so far */
    uint64_t spare;
};

struct slot {
    PyCodeObject *code;
    uint64_t stamp;   /* of what it was called when it got its number */
    uint64_t walk;    /* the walk that last looked at the stamp */
    uint32_t number;
};

static struct header *header;
static uint32_t *records;
static int answers;  /* descriptor of the pipe that says that a command was done */
static PyThreadState *main_thread;
static pid_t main_thread_id;
static timer_t timer;
static uint64_t interval_ns;
static uint64_t random_state;
static volatile sig_atomic_t sampling;

static struct slot slots[SLOTS];
static uint32_t codes;  /* how many have a number */
static uint64_t walk_number;
static uint32_t stack[MAX_DEPTH], stack_before[MAX_DEPTH];  /* leaf first */
static uint32_t depth_before;

static sigjmp_buf fault_escape;
static volatile sig_atomic_t walking;
static const int fault_signals[] = {SIGSEGV, SIGBUS};  /* an address that no CPU knows is either, as its register says */
static struct sigaction fault_actions_before[2];

/* Records */

static uint32_t *room_for(uint64_t words)
{
    if (words > header->capacity_words - header->used_words) {
        header->full = 1;
        sampling = 0;
        return NULL;
    }
    return records + header->used_words;
}

static void put_tag(uint32_t tag)
{
    uint32_t *to = room_for(1);
    if (to != NULL) {
        to[0] = tag;
        header->used_words += 1;
    }
}

static uint32_t *put_text(uint32_t *to, PyObject *text)
{
    uint32_t kind = PyUnicode_KIND(text);
    uint64_t length = PyUnicode_GET_LENGTH(text);
    if (length > MAX_TEXT_BYTES / kind)
        length = MAX_TEXT_BYTES / kind;
    to[0] = length;
    to[1] = kind;
    memcpy(to + 2, PyUnicode_DATA(text), length * kind);
    return to + 2 + (length * kind + 3) / 4;
}

static int put_code(PyCodeObject *code)
{
    uint32_t *start = room_for(2 + 2 * (2 + MAX_TEXT_BYTES / 4));
    if (start == NULL)
        return 0;
    start[0] = CODE;
    start[1] = code->co_firstlineno;
    uint32_t *end = put_text(put_text(start + 2, NAME_OF(code)), code->co_filename);
    header->used_words += end - start;
    return 1;
}

static void put_sample(uint32_t depth)
{
    uint32_t kept = 0;
    while (kept < depth && kept < depth_before && stack[depth - 1 - kept] == stack_before[depth_before - 1 - kept])
        kept++;
    uint32_t fresh = depth - kept;
    uint32_t *to = room_for(3 + fresh);
    if (to == NULL)
        return;
    to[0] = SAMPLE;
    to[1] = kept;
    to[2] = fresh;
    memcpy(to + 3, stack, fresh * sizeof *stack);
    header->used_words += 3 + fresh;
    memcpy(stack_before, stack, depth * sizeof *stack);
    depth_before = depth;
}

/* Code objects: one can be freed and another get its address, so its names are looked at in each walk */

static uint64_t mixed(uint64_t a, uint64_t b)
{
    return ((a << 7 | a >> 57) ^ b) * 0x9E3779B97F4A7C15u;
}

static uint64_t stamp_of_text(PyObject *text)
{
    uint64_t tail;  /* of a short text: and of what lies before it in the object */
    const char *data = PyUnicode_DATA(text);
    memcpy(&tail, data + PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text) - sizeof tail, sizeof tail);
    return mixed(mixed((uintptr_t)text, ((PyASCIIObject *)text)->hash), tail);
}

static uint64_t stamp_of(PyCodeObject *code)
{
    return mixed(mixed(stamp_of_text(NAME_OF(code)), stamp_of_text(code->co_filename)), code->co_firstlineno);
}

static struct slot *slot_of(PyCodeObject *code)
{
    uint32_t at = mixed(0, (uintptr_t)code) >> 48;
    while (slots[at % SLOTS].code != NULL && slots[at % SLOTS].code != code)
        at++;
    return &slots[at % SLOTS];
}

static int give_number(struct slot *slot, PyCodeObject *code, uint64_t stamp)
{
    if (Py_TYPE(code) != &PyCode_Type || codes == MAX_CODES || !put_code(code))
        return 0;
    slot->code = code;
    slot->stamp = stamp;
    slot->number = codes++;
    return 1;
}

static int number_of(PyCodeObject *code, uint32_t *number)
{
    struct slot *slot = slot_of(code);
    if (slot->code != code || slot->walk != walk_number) {
        uint64_t stamp = stamp_of(code);
        if ((slot->code != code || slot->stamp != stamp) && !give_number(slot, code, stamp))
            return 0;
        slot->walk = walk_number;
    }
    *number = slot->number;
    return 1;
}

/* The walk: fills `stack` from a frame on and returns how many frames, or -1 where they are no whole stack. Where the
   caller of the innermost segment is known, that has to lead there. */

static int walk(Frame *frame, int caller_known, Frame *caller)
{
    int depth = 0, complete = 1, innermost = 1;
    walk_number++;
    for (int steps = 0; frame != NULL; frame = PREVIOUS(frame)) {
        int entry = IS_ENTRY_FRAME(frame);
        if (steps++ == 2 * MAX_DEPTH)
            return -1;
        if (innermost && !entry && EXECUTES(frame))
            depth = 0;
        if (!entry && (depth == MAX_DEPTH || !number_of(CODE_OF(frame), &stack[depth++])))
            return -1;
        complete = entry || CAN_BE_OUTERMOST(frame);
        if (innermost && (entry || IS_OUTERMOST_OF_SEGMENT(frame))) {
            innermost = 0;
            if (caller_known && PREVIOUS(frame) != caller)
                return -1;
        }
    }
    return complete && !(innermost && caller_known) ? depth : -1;
}

#ifdef HAS_CFRAME
static int walk_from(_PyCFrame *cframe)
{
    if (cframe == &main_thread->root_cframe)
        return walk(cframe->current_frame, 0, NULL);
    return walk(cframe->current_frame, 1, cframe->previous->current_frame);
}

static int walk_current(void)
{
    return walk_from(main_thread->cframe);
}

/* Where the newest run has not filled in its `cframe`, the run that made it is still the one that counts. */
static int walk_caller(void)
{
    return main_thread->cframe == &main_thread->root_cframe ? -1 : walk_from(main_thread->cframe->previous);
}
#else
static int walk_current(void)
{
    return walk(CURRENT_FRAME(main_thread), 0, NULL);
}
#endif

/* What a `cframe` that is not filled in points to may be anything. */
static void on_fault(int signo)
{
    if (walking)
        siglongjmp(fault_escape, 1);
    sigaction(signo, &fault_actions_before[signo == SIGBUS], NULL);  /* the program's own: again, without us */
}

static int careful(int (*walk_somewhere)(void))
{
    volatile int depth = -1;
    if (sigsetjmp(fault_escape, 0) == 0) {
        walking = 1;
        depth = walk_somewhere();
    }
    walking = 0;
    return depth;
}

static void sample(void)
{
    int depth = careful(walk_current);
#ifdef HAS_CFRAME
    if (depth < 0 && sampling)
        depth = careful(walk_caller);
#endif
    if (depth >= 0)
        put_sample(depth);
    else if (sampling)
        put_tag(FAILED);
}

/* The timer. It is armed for one signal at a time, at the very end of a handler, so that the program gets the same time
   whatever the last sample cost. The delays are exponential, as only then each place has the same chance at any time:
   with a shortest delay, nothing would be sampled right behind a place where signals gather. Such places are system
   calls at which the scheduler takes the CPU away: the signal comes when the program gets it back. */

static uint64_t random_delay_ns(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    double evenly = ((random_state >> 11) + 1) * 0x1p-53;  /* over 0, up to 1 */
    return 1 - log(evenly) * interval_ns;
}

static void arm(uint64_t delay_ns)  /* 0 disarms it */
{
    struct itimerspec when = {{0, 0}, {delay_ns / 1000000000, delay_ns % 1000000000}};
    timer_settime(timer, 0, &when, NULL);
}

static void on_tick(int signo)
{
    int saved_errno = errno;
    (void)signo;
    header->ticks++;
    if (sampling) {
        sample();
        if (sampling)
            arm(random_delay_ns());
    }
    errno = saved_errno;
}

/* Commands. The kernel may hand them to any thread: they go on to the main one. */

static int is_elsewhere(int signo)
{
    if (syscall(SYS_gettid) == main_thread_id)
        return 0;
    syscall(SYS_tgkill, getpid(), main_thread_id, signo);
    return 1;
}

static void answer(char done)
{
    char said = header->full ? 'f' : done;
    ssize_t written = write(answers, &said, 1);
    (void)written;  /* whoever asked will miss it */
}

static void watch_for_faults(void)
{
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fault;
    action.sa_flags = SA_NODEFER;  /* siglongjmp leaves it, and would leave it blocked */
    for (int each = 0; each < 2; each++) {
        sigaction(fault_signals[each], &action, &before);
        if (before.sa_handler != on_fault)
            fault_actions_before[each] = before;
    }
}

static void on_start(int signo)
{
    int saved_errno = errno;
    if (!is_elsewhere(signo)) {
        watch_for_faults();  /* again: the program may have changed it */
        depth_before = 0;
        sampling = 1;
        put_tag(TURN);
        answer('s');
        if (sampling)
            arm(random_delay_ns());
    }
    errno = saved_errno;
}

static void on_stop(int signo)
{
    int saved_errno = errno;
    if (!is_elsewhere(signo)) {
        sampling = 0;
        arm(0);
        answer('e');
    }
    errno = saved_errno;
}

/* Installation, by the main thread, with the GIL. Returns 0 or an errno. */

static void handle(int signo, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    for (int each = START; each <= TICK; each++)
        sigaddset(&action.sa_mask, each);
    sigaction(signo, &action, NULL);
}

static void handle_signals(void)
{
    sigset_t ours;
    watch_for_faults();
    handle(START, on_start);
    handle(STOP, on_stop);
    handle(TICK, on_tick);
    sigemptyset(&ours);
    for (int each = START; each <= TICK; each++)
        sigaddset(&ours, each);
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

static int make_timer(void)
{
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = TICK;
    event.sigev_notify_thread_id = main_thread_id;
    return timer_create(CLOCK_MONOTONIC, &event, &timer);
}

int install(int output, int answers_to, uint64_t every_ns, uint64_t size_bytes)
{
    main_thread_id = syscall(SYS_gettid);
    if (header != NULL || main_thread_id != getpid() || every_ns == 0 || size_bytes < 4096)
        return EINVAL;
    void *mapped = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, output, 0);
    if (mapped == MAP_FAILED || make_timer() != 0)
        return errno;
    memset(mapped, 0, size_bytes);  /* no page is touched for the first time by a handler */
    memset(slots, 0, sizeof slots);
    header = mapped;
    records = (uint32_t *)(header + 1);
    answers = answers_to;
    main_thread = PyThreadState_Get();
    interval_ns = every_ns;
    random_state = (uintptr_t)mapped ^ (uint64_t)main_thread_id << 32 ^ (uint64_t)time(NULL);
    header->capacity_words = (size_bytes - sizeof *header) / sizeof *records;
    header->version = PY_VERSION_HEX;
    header->interval_ns = every_ns;
    handle_signals();
    header->magic = MAGIC;
    return 0;
}

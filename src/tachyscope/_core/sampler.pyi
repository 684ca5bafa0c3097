"""The clock and the loop: a sample at a random moment of each interval, no GIL held."""

from collections.abc import Iterable
from typing import final

from tachyscope._core.batch import Anchor, Batch
from tachyscope.target.layouts import Layout

SLICE_OVER: int
"""`until_ns` has come."""
INTERRUPTED: int
"""A signal arrived."""
TARGET_GONE: int
"""The process has no memory any more."""
TARGET_DENIED: int
"""The kernel does not let us read it any more."""
TARGET_FAULTS: int
"""Several samples in a row met unmapped memory: perhaps another program by now."""
TARGET_UNSTOPPABLE: int
"""The kernel does not let us stop a thread: `stop_refused` says why."""
THREADS_NEW: int
"""There are threads that `new_threads` has not told of yet."""

def ask_for_slice(slice_ns: int = 100_000) -> int:
    """Ask the kernel for time slices of this length for this thread, by default the shortest there are; return the
    length before. Who asks for little at a time is let in sooner when all CPUs are busy (Linux 6.12 and later)."""

def tick_times(anchor: Anchor, interval_ns: int, count: int) -> bytes:
    """When the `count` ticks from that of an `Anchor` on were due: a column of uint64, monotonic ns."""

@final
class Sampler:
    """Samples one thread, or all, of process `pid`, whose memory is laid out as `layout` says.

    `thread` is the address of its PyThreadState, 0 for all threads of all `interpreters`: for each the address of its
    state, of its GIL (0: there is none), and of the word that says whether its garbage collector runs.
    `asks`: the kernel is asked about threads with every sample, not only now and then. `gc`:
    with a frame for the collector; `native`: with one for C code between two frames (3.11+), and where the
    innermost frame is at an instruction that `natives`, 256 bytes, marks. `opcodes`: the instruction that every frame
    is at is recorded. `max_depth` innermost frames of a stack are kept. `memory_fd` is a descriptor of /proc/PID/mem
    where the system call cannot be used, else -1. `caches`, 256 bytes, says how many units of inline cache follow each
    instruction, `roles`, 256 bytes, what it means for a frame to be at it (see `tachyscope.target.opcodes`).
    `blocking`: the thread that has the GIL is stopped while a sample is read; `check_every_ns`: for one sample in about
    so much time, which has the status STOPPED. `recorded`: there is no process, this is
    its memory, bytes by address. `bare` lets only the clock run.
    """

    def __new__(
        cls,
        pid: int,
        layout: Layout | None,
        thread: int,
        *,
        interval_ns: int,
        max_depth: int = 20000,
        seed: int = 0,
        memory_fd: int = -1,
        bare: bool = False,
        interpreters: Iterable[tuple[int, int, int]] = (),
        asks: bool = False,
        gc: bool = True,
        native: bool = False,
        opcodes: bool = False,
        caches: bytes = b"",
        roles: bytes = b"",
        natives: bytes = b"",
        blocking: bool = False,
        check_every_ns: int = 0,
        recorded: dict[int, bytes] | None = None,
    ) -> Sampler: ...
    def run(self, until_ns: int) -> int:
        """Sample until `until_ns` (as `time.monotonic_ns`); return why it ended, SLICE_OVER or another."""

    def pause(self) -> None:
        """Nothing is missed from here on until the next `run`."""

    def retarget(self, thread: int) -> None:
        """Sample the thread state at address `thread` from now on."""

    def set_interpreters(self, interpreters: Iterable[tuple[int, int, int]]) -> None:
        """The interpreters as they are now."""

    def new_threads(self) -> list[tuple[int, int, int, int]]:
        """(address, unique id, pthread id, kernel thread id or 0) of threads that were not told of yet."""

    @property
    def stop_refused(self) -> int:
        """The errno with which the kernel refused to stop a thread; 0 if it did not."""

    @property
    def pauses(self) -> tuple[int, int, int, int, int]:
        """How often the target was stopped, for how many ns in all, the 50 % and 99 % quantiles of that in ns, and how
        often a sample was put off so that it runs at least as long as it is stopped."""

    def watch_thread(self, address: int, stat_fd: int, tid: int = 0) -> bool:
        """Kernel thread `tid` is that of a thread state; ask the kernel about it now and then through `stat_fd`, an
        open /proc/PID/task/TID/stat or -1, which is the sampler's from now on. False, and nothing is taken, if there is
        no such thread."""

    def forgive_faults(self) -> None:
        """Take back the failed samples of the last faults in a row: the sampled program had ended."""

    @property
    def thread(self) -> int:
        """Address of the PyThreadState that is sampled."""

    @property
    def counters(self) -> dict[str, int]:
        """Counts since the start. Monotonic times: `start_ns` (of this run, 0: there is none), `last_ns`; and for how
        long it sampled in all, `sampled_ns`."""

    def drain(self, whole: bool = False) -> Batch:
        """Take what has come since the last time. Spans that still last are in it only if it is to be `whole`; a thread
        that sleeps has none. Raises `MemoryError` if there was none to keep spans."""

    def ranges(self) -> list[tuple[int, int]]:
        """The (address, size in bytes) ranges that one sample reads now."""

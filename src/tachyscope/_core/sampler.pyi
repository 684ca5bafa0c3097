"""The clock and the loop: a sample at a random moment of each interval, interned and counted, no GIL held."""

from typing import final

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

@final
class Sampler:
    """Samples one thread of process `pid`, whose memory is laid out as `layout` says.

    `thread` is the address of its PyThreadState. `max_depth` innermost frames of a stack are kept.
    `memory_fd` is a descriptor of /proc/PID/mem where the system call cannot be used, else -1. `record` keeps
    order and times of the samples. `bare` only lets the clock run.
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
        record: bool = False,
        bare: bool = False,
    ) -> Sampler: ...
    def run(self, until_ns: int) -> int:
        """Sample until `until_ns` (as `time.monotonic_ns`); return why it ended, SLICE_OVER or another."""

    def retarget(self, thread: int) -> None:
        """Sample the thread state at address `thread` from now on."""

    def forgive_faults(self) -> None:
        """Take back the failed samples of the last faults in a row: the sampled program had ended."""

    @property
    def thread(self) -> int:
        """Address of the PyThreadState that is sampled."""

    @property
    def counters(self) -> dict[str, int]:
        """Counts since the start; `start_ns` and `last_ns` are monotonic times in nanoseconds."""

    def codes(self, start: int = 0) -> list[tuple[str, str, str, int, bytes]]:
        """(name, qualname, filename, first line, location table) of every code object from id `start` on."""

    def nodes(self) -> list[tuple[int, int, int]]:
        """(parent, code id, byte offset) of every node; node 0 is the empty stack, parents come first."""

    def counts(self) -> list[int]:
        """Samples per node, in the order of `nodes`."""

    def samples(self) -> tuple[bytes, bytes]:
        """The recorded samples as two byte strings: nodes (uint32) and times (uint64 ns), native order."""

    def ranges(self) -> list[tuple[int, int]]:
        """The (address, size in bytes) ranges that one sample reads now."""

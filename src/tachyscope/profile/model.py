"""The model that every report reads: functions, frames, a tree of stacks, and how well the sampling went.

A `Profile` is built once and not changed afterwards. Stacks are root first. A stack is a node of `StackTree`: its
path from the root is the stack, so common beginnings are stored once. Node 0 is the empty stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Function:
    """A code object as a person knows it.

    `name` is the bare name (`co_name`), `qualname` the qualified one (equal to `name` on targets below 3.11, which
    do not record it), `filename` the path as the target has it, `first_line` the 1-based line of its definition.
    """

    name: str
    qualname: str
    filename: str
    first_line: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """A bytecode instruction: at which byte `offset` of its function's bytecode, its `name` as the interpreter had
    specialised it (3.11+: `BINARY_OP_ADD_INT`), and that of its `base` form (`BINARY_OP`; else the same)."""

    offset: int
    name: str
    base: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A function at one of its lines. Lines are 1-based; 0 means that the target has no line for the instruction.

    Columns are 0-based UTF-8 byte offsets, -1 where the target does not record them (below 3.11, or stripped).
    `instruction` is there if instructions were asked for, unless it could not be told (none had begun yet).
    """

    function: Function
    line: int
    end_line: int = 0
    column: int = -1
    end_column: int = -1
    instruction: Instruction | None = None


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """A sampled thread: `tid` as the target sees it, `name` may be empty, `is_main` as Python says.

    All are ticks. `samples` are those that the mode counts, `seen` all at which its stack was known. Of the latter
    are those at which it held the GIL (`gil_held`), collected garbage or had an exception, being raised or handled.
    The kernel is asked about 500 times a second, about one thread at a time, and what it said holds until it is asked
    again: `cpu_known` ticks in all, of which it ran the thread `on_cpu` or had it wait for the GIL (`gil_waiting`).
    """

    tid: int
    name: str = ""
    is_main: bool = False
    samples: int = 0
    seen: int = 0
    gil_held: int = 0
    collecting: int = 0
    exceptions: int = 0
    cpu_known: int = 0
    on_cpu: int = 0
    gil_waiting: int = 0


@dataclass(slots=True)
class StackTree:
    """Distinct stacks as a tree. `parents[n] < n`; node 0 is the root (the empty stack), `frames[0]` is None."""

    parents: list[int] = field(default_factory=lambda: [0])
    frames: list[Frame | None] = field(default_factory=lambda: [None])
    _index: dict[tuple[int, Frame], int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.parents)

    def child(self, parent: int, frame: Frame) -> int:
        """Return the node for `frame` called from node `parent`, adding it if it is new."""
        key = (parent, frame)
        node = self._index.get(key)
        if node is None:
            node = len(self.parents)
            self.parents.append(parent)
            self.frames.append(frame)
            self._index[key] = node
        return node

    def add(self, stack: Sequence[Frame]) -> int:
        """Return the node of a stack given root first."""
        node = 0
        for frame in stack:
            node = self.child(node, frame)
        return node

    def stack(self, node: int) -> list[Frame]:
        """Return the frames of a node, root first."""
        path: list[Frame] = []
        while node:
            frame = self.frames[node]
            if frame is not None:
                path.append(frame)
            node = self.parents[node]
        path.reverse()
        return path


@dataclass(frozen=True, slots=True)
class Pauses:
    """How often the target was stopped while it was read, and for how long: all together, and the median and the 99 %
    quantile of one. `spared` samples were put off, so that it runs at least as long as it is stopped."""

    count: int = 0
    total_s: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    spared: int = 0

    def __add__(self, other: Pauses) -> Pauses:
        """Return both together; of the quantiles the longer ones, as the single pauses are not known any more."""
        return Pauses(
            self.count + other.count,
            self.total_s + other.total_s,
            max(self.p50_us, other.p50_us),
            max(self.p99_us, other.p99_us),
            self.spared + other.spared,
        )


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well a run sampled. Counts are of thread samples, except `ticks` (moments at which a sample was due).

    `ticks` = moments that were sampled + `missed`; a sampled moment gives one sample per thread or a failed one.
    """

    interval_us: float
    duration_s: float
    ticks: int
    samples: int
    failed: int = 0
    missed: int = 0
    reads: int = 0  # each sample stands for the ticks until the next one began: this is how many were taken
    uncertain: int = 0  # samples whose leaf is known, but not its callers
    reconstructed: int = 0  # ... of which something was over before it was read: it is what was there the last time
    interrupted: int = 0  # reads that were dropped as they took too long: their ticks are missed
    truncated: int = 0
    left_out: int = 0
    squares: int = 0  # the sum over the reads of the square of how many ticks each stands for
    profiler_cpu_s: float = 0.0
    pauses: Pauses = Pauses()

    @property
    def tick_rate_hz(self) -> float:
        """Moments sampled per second, each of all threads; 0 if there was no time to sample."""
        return self.reads / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def looks(self) -> float:
        """How many independent looks the result rests on: a look that stands for several ticks is one, and threads
        that were seen in the same look are no more."""
        hits = self.ticks - self.missed
        return hits * hits / self.squares if self.squares else float(hits)

    @property
    def rate_hz(self) -> float:
        """Samples per second of sampling, however many ticks each stands for; 0 if there was no time to sample."""
        hits = self.ticks - self.missed
        return self.samples / hits * self.tick_rate_hz if hits > 0 else 0.0


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What was profiled: process id, its command line, and the version of its Python (`3.12.1`)."""

    pid: int
    command: tuple[str, ...] = ()
    python_version: str = ""


def wilson_interval(part: float, whole: float, z: float = 1.959964) -> tuple[float, float]:
    """Return the confidence interval of a share, 95 % by default: between 0 and 1, after Wilson (1927).

    Samples fall at random moments, so a share of them is off by chance as in a binomial distribution, or less.
    """
    if not whole:
        return 0.0, 1.0
    share, weight = part / whole, z * z / whole
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / whole + weight / whole / 4) / (1 + weight)
    return max(middle - half, 0.0), min(middle + half, 1.0)


State = tuple[int, int, int]
"""A node, what is known of a thread while its stack is that one (bits of `Status`), and which of these bits were looked
at."""


@dataclass(slots=True)
class Profile:
    """A finished profile.

    `counts[thread][node]` is how many samples of that thread (an index into `threads`) had exactly that stack, of those
    that the mode counts. `states[thread][state]` are all ticks, whatever the mode: for how many it was in which state.
    """

    target: TargetInfo
    accuracy: Accuracy
    threads: list[ThreadInfo]
    tree: StackTree
    counts: list[dict[int, int]]
    states: list[dict[State, int]] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """Number of samples of all threads, those with an empty stack included."""
        return sum(sum(counts.values()) for counts in self.counts)

    @property
    def looks(self) -> float:
        """How many independent looks the samples rest on: see `Accuracy.looks`."""
        hits = self.accuracy.ticks - self.accuracy.missed
        return min(self.samples / hits, 1) * self.accuracy.looks if hits else float(self.samples)

    @property
    def seconds_per_sample(self) -> float:
        """Measured time shared out by samples: those that a mode left out have their share, failed ones have not."""
        said = self.accuracy
        tried, hits = said.samples + said.left_out + said.failed, said.ticks - said.missed
        if not hits or tried == said.failed:
            return 0.0
        return said.duration_s / hits * tried / (tried - said.failed)

    def totals(self) -> Mapping[int, int]:
        """Return node -> samples, summed over the threads."""
        merged: dict[int, int] = {}
        for counts in self.counts:
            for node, count in counts.items():
                merged[node] = merged.get(node, 0) + count
        return merged

    def stacks(self) -> Iterator[tuple[ThreadInfo, list[Frame], int]]:
        """Yield (thread, stack root first, samples) for each distinct stack of each thread."""
        for thread, counts in zip(self.threads, self.counts, strict=True):
            for node, count in counts.items():
                yield thread, self.tree.stack(node), count

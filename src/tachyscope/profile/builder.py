"""From the batches of the core to a `Profile`: code objects become functions, instruction offsets become lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace

from tachyscope._core.batch import RawCode, Status, Track
from tachyscope.profile.collector import Collector, RawNode
from tachyscope.profile.locations import CodeLines, TableKind
from tachyscope.profile.model import (
    Accuracy,
    Frame,
    Function,
    Instruction,
    Profile,
    StackTree,
    State,
    TargetInfo,
    ThreadInfo,
)
from tachyscope.profile.modes import Mode

_TICKS = ("samples", "seen", "gil_held", "collecting", "exceptions", "cpu_known", "on_cpu", "gil_waiting")
"""What is counted in a `ThreadInfo`."""

Who = Callable[[Track], tuple[int, str, bool]]
"""Tells a thread: its kernel id, its name, whether it is the main one."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Ticks of all threads of a sampler: those that the mode counts (`samples`), those that it leaves out, those that
    failed; and how many of the samples were uncertain, reconstructed or truncated. `Accuracy` has the same names."""

    samples: int = 0
    left_out: int = 0
    failed: int = 0
    uncertain: int = 0
    reconstructed: int = 0
    truncated: int = 0

    def __add__(self, other: Totals) -> Totals:
        """Return both together."""
        return Totals(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Part:
    """What one sampler brought in: for each thread how many samples had exactly the stack of which node. Node 0 is the
    empty stack, parents come before children. `instructions` tells name and base form of each instruction's number."""

    codes: Sequence[RawCode]
    nodes: Sequence[RawNode]
    version: tuple[int, int]  # of the target's Python
    threads: Sequence[tuple[ThreadInfo, Mapping[int, int], Mapping[State, int]]]  # ..., and its ticks in each state
    totals: Totals = Totals()
    instructions: Mapping[int, tuple[str, str]] = field(default_factory=dict)


def part(collector: Collector, mode: Mode, who: Who) -> Part:
    """Return what a collector has so far, as the mode counts it."""
    threads: dict[int, _Thread] = {}
    for number, node, status, known, ticks in collector.states():
        threads.setdefault(number, _Thread()).add(node, status, known, ticks, mode.counts(status, known))
    told = [
        (each.info(*who(collector.tracks[number])), each.counts, each.states)
        for number, each in threads.items()
        if each.seen
    ]
    totals = sum((each.totals() for each in threads.values()), Totals())
    codes, nodes = tuple(collector.codes), collector.node_rows()
    return Part(codes, nodes, collector.version, told, totals, collector.instructions)


class _Thread:
    """Adds up the states of one track."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.states: dict[State, int] = {}
        self._ticks: Counter[str] = Counter()

    @property
    def seen(self) -> bool:
        """Whether its stack was ever known."""
        return self._ticks["seen"] > 0

    def add(self, node: int, status: int, known: int, ticks: int, counts: bool) -> None:
        """Count a state that lasted so many ticks."""
        self.states[node, status, known] = ticks
        if status & Status.FAILED:
            self._ticks["failed"] += ticks
            return
        said = {
            "seen": True, "gil_held": status & Status.HOLDS, "collecting": status & Status.COLLECTS,
            "exceptions": status & Status.EXCEPTS, "cpu_known": known & Status.ON_CPU, "on_cpu": status & Status.ON_CPU,
            "gil_waiting": status & Status.WAITS_GIL, "samples": counts, "left_out": not counts,
            "uncertain": counts and status & Status.UNCERTAIN, "truncated": counts and status & Status.TRUNCATED,
            "reconstructed": counts and status & Status.RECONSTRUCTED,
        }  # fmt: skip
        self._ticks.update({name: ticks for name, holds in said.items() if holds})
        if counts:
            self.counts[node] = self.counts.get(node, 0) + ticks

    def info(self, tid: int, name: str, is_main: bool) -> ThreadInfo:
        """Return what is told of the thread."""
        return ThreadInfo(tid, name, is_main, **{each: self._ticks[each] for each in _TICKS})

    def totals(self) -> Totals:
        """Return its part of the totals."""
        return Totals(**{each.name: self._ticks[each.name] for each in fields(Totals)})


class _Code:
    """A code object of the target: its function, and its frames by offset and number of their instruction."""

    def __init__(self, raw: RawCode, kind: TableKind, instructions: Mapping[int, tuple[str, str]]) -> None:
        name, qualname, filename, first_line, table = raw
        self._function = Function(name, qualname, filename, first_line)
        self._lines = CodeLines(kind, table, first_line)
        self._instructions = instructions
        self._frames: dict[tuple[int, int], Frame] = {}

    def frame(self, offset: int, opcode: int) -> Frame:
        """Return the frame at a byte offset of the bytecode, where instruction `opcode` is (0: not known)."""
        frame = self._frames.get((offset, opcode))
        if frame is None:
            place = self._lines.at(offset)
            instruction = Instruction(offset, *self._instructions[opcode]) if opcode in self._instructions else None
            frame = Frame(self._function, place.line, place.end_line, place.column, place.end_column, instruction)
            self._frames[offset, opcode] = frame
        return frame


def build(target: TargetInfo, accuracy: Accuracy, parts: Iterable[Part]) -> Profile:
    """Return the profile of all parts of one process; those of the same thread are added up."""
    tree = StackTree()
    threads: dict[tuple[int, str], ThreadInfo] = {}
    counts: dict[tuple[int, str], Counter[int]] = {}
    states: dict[tuple[int, str], Counter[State]] = {}
    for part in parts:
        places = _places(tree, part)
        for thread, raw, raw_states in part.threads:
            key = thread.tid, thread.name
            threads[key] = _sum(threads[key], thread) if key in threads else thread
            placed = counts.setdefault(key, Counter())
            for node, count in raw.items():
                placed[places[node]] += count
            for (node, status, known), ticks in raw_states.items():
                states.setdefault(key, Counter())[places[node], status, known] += ticks
    return Profile(
        target, accuracy, list(threads.values()), tree, [dict(each) for each in counts.values()],
        [dict(states.get(key, {})) for key in threads],
    )  # fmt: skip


def _places(tree: StackTree, part: Part) -> list[int]:
    """Add the stacks of a part to the tree; return what each of its nodes is there."""
    kind = TableKind.for_version(*part.version)
    instructions = {number: names for number, names in part.instructions.items() if number}
    codes = [_Code(raw, kind, instructions) for raw in part.codes]
    places = [0]
    for parent, code, offset, opcode in part.nodes[1:]:
        places.append(tree.child(places[parent], codes[code].frame(offset, opcode)))
    return places


def _sum(one: ThreadInfo, other: ThreadInfo) -> ThreadInfo:
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in _TICKS})

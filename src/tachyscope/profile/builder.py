"""From what the core counted to a `Profile`: code objects become functions, instruction offsets become lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tachyscope.profile.locations import CodeLines, TableKind
from tachyscope.profile.model import Accuracy, Frame, Function, Instruction, Profile, StackTree, TargetInfo, ThreadInfo

RawCode = tuple[str, str, str, int, bytes]
"""Name, qualified name, file name, first line, location table."""

RawNode = tuple[int, int, int]
"""Parent node, index of the code object, byte offset of the instruction."""


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one sampler brought in: for each thread how many samples had exactly the stack of which node. Node 0 is the
    empty stack, parents come before children. `opcodes` has the instruction of every node, a byte each, 0 where it is
    not known; `instructions` tells name and base form of each number."""

    codes: Sequence[RawCode]
    nodes: Sequence[RawNode]
    version: tuple[int, int]  # of the target's Python
    threads: Sequence[tuple[ThreadInfo, Mapping[int, int]]]
    opcodes: bytes = b""
    instructions: Mapping[int, tuple[str, str]] = field(default_factory=dict)


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


def build(target: TargetInfo, accuracy: Accuracy, harvests: Iterable[Harvest]) -> Profile:
    """Return the profile of all harvests of one process; those of the same thread are added up."""
    tree = StackTree()
    threads: dict[tuple[int, str], ThreadInfo] = {}
    counts: dict[tuple[int, str], Counter[int]] = {}
    for harvest in harvests:
        places = _places(tree, harvest)
        for thread, raw in harvest.threads:
            key = thread.tid, thread.name
            threads[key] = _sum(threads[key], thread) if key in threads else thread
            placed = counts.setdefault(key, Counter())
            for node, count in raw.items():
                placed[places[node]] += count
    return Profile(target, accuracy, list(threads.values()), tree, [dict(each) for each in counts.values()])


def _places(tree: StackTree, harvest: Harvest) -> list[int]:
    """Add the stacks of a harvest to the tree; return what each of its nodes is there."""
    kind = TableKind.for_version(*harvest.version)
    instructions = {number: names for number, names in harvest.instructions.items() if number}
    codes = [_Code(raw, kind, instructions) for raw in harvest.codes]
    opcodes = harvest.opcodes or bytes(len(harvest.nodes))
    places = [0]
    for (parent, code, offset), opcode in zip(harvest.nodes[1:], opcodes[1:], strict=True):
        places.append(tree.child(places[parent], codes[code].frame(offset, opcode)))
    return places


def _sum(one: ThreadInfo, other: ThreadInfo) -> ThreadInfo:
    summed = ("samples", "seen", "gil_held", "collecting", "exceptions", "cpu_looks", "cpu_found", "gil_waiting")
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in summed})

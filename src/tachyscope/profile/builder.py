"""From what the core counted to a `Profile`: code objects become functions, instruction offsets become lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tachyscope.profile.locations import CodeLines, TableKind
from tachyscope.profile.model import Accuracy, Frame, Function, Profile, StackTree, TargetInfo, ThreadInfo

RawCode = tuple[str, str, str, int, bytes]
"""Name, qualified name, file name, first line, location table."""

RawNode = tuple[int, int, int]
"""Parent node, index of the code object, byte offset of the instruction."""


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one sampler brought in: for each thread how many samples had exactly the stack of which node. Node 0 is the
    empty stack, parents come before children."""

    codes: Sequence[RawCode]
    nodes: Sequence[RawNode]
    version: tuple[int, int]  # of the target's Python
    threads: Sequence[tuple[ThreadInfo, Mapping[int, int]]]


class _Code:
    """A code object of the target: its function, and its frames by instruction offset."""

    def __init__(self, raw: RawCode, kind: TableKind) -> None:
        name, qualname, filename, first_line, table = raw
        self._function = Function(name, qualname, filename, first_line)
        self._lines = CodeLines(kind, table, first_line)
        self._frames: dict[int, Frame] = {}

    def frame(self, offset: int) -> Frame:
        """Return the frame at a byte offset of the bytecode."""
        frame = self._frames.get(offset)
        if frame is None:
            place = self._lines.at(offset)
            frame = Frame(self._function, place.line, place.end_line, place.column, place.end_column)
            self._frames[offset] = frame
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
    codes = [_Code(raw, kind) for raw in harvest.codes]
    places = [0]
    for parent, code, offset in harvest.nodes[1:]:
        places.append(tree.child(places[parent], codes[code].frame(offset)))
    return places


def _sum(one: ThreadInfo, other: ThreadInfo) -> ThreadInfo:
    summed = ("samples", "seen", "gil_held", "collecting", "exceptions", "cpu_looks", "cpu_found")
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in summed})

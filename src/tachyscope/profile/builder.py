"""From what the core counted to a `Profile`: code objects become functions, instruction offsets become lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tachyscope.profile.locations import CodeLines, TableKind
from tachyscope.profile.model import Accuracy, Frame, Function, Profile, StackTree, TargetInfo, ThreadInfo

RawCode = tuple[str, str, str, int, bytes]
"""Name, qualified name, file name, first line, location table."""

RawNode = tuple[int, int, int]
"""Parent node, index of the code object, byte offset of the instruction."""


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one sampler brought in. `counts[n]` is how many samples had exactly the stack of `nodes[n]`; node 0 is
    the empty stack, parents come before children."""

    codes: Sequence[RawCode]
    nodes: Sequence[RawNode]
    counts: Sequence[int]
    version: tuple[int, int]  # of the target's Python
    tid: int  # of the thread that was sampled


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
    counts: dict[int, dict[int, int]] = {}
    for harvest in harvests:
        _add(tree, counts.setdefault(harvest.tid, {}), harvest)
    threads = [ThreadInfo(tid, is_main=True) for tid in counts]
    return Profile(target, accuracy, threads, tree, list(counts.values()))


def _add(tree: StackTree, counts: dict[int, int], harvest: Harvest) -> None:
    kind = TableKind.for_version(*harvest.version)
    codes = [_Code(raw, kind) for raw in harvest.codes]
    places = [0]
    for parent, code, offset in harvest.nodes[1:]:
        places.append(tree.child(places[parent], codes[code].frame(offset)))
    for place, count in zip(places, harvest.counts, strict=True):
        if count:
            counts[place] = counts.get(place, 0) + count

"""Samples per function (or line): its own, those with it anywhere in the stack, and by whom it was called.

Everything here is linear in the number of tree nodes, whatever the depth of the stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tachyscope.profile.model import Frame, Function, Profile, StackTree

Key = TypeVar("Key", bound=Hashable)
LineKey = tuple[Function, int]
"""A function and a line: its first one, or one of its executing lines."""


def by_function(frame: Frame) -> LineKey:
    """The key of one row per function: its first line."""
    return frame.function, frame.function.first_line


def by_line(frame: Frame) -> LineKey:
    """The key of one row per executing line of a function."""
    return frame.function, frame.line


@dataclass(slots=True)
class Samples:
    """`own`: samples with it as the leaf. `cumulative`: samples with it in the stack, each counted once."""

    own: int = 0
    cumulative: int = 0


@dataclass(slots=True)
class Row(Samples, Generic[Key]):
    """The samples of one key; `callers` has those of each call from another, counted once per sample too."""

    key: Key = field(kw_only=True)
    callers: dict[Key, Samples] = field(default_factory=dict)


def summarize(profile: Profile, key: Callable[[Frame], Key]) -> list[Row[Key]]:
    """Return a row for each key that was sampled, in no particular order."""
    merged = merge(profile.tree, key)
    own = merged.place(profile.totals())
    below = merged.subtree_sums(own)
    rows = [Row(key=each) for each in merged.keys]
    _count_rows(merged, own, below, rows)
    _count_callers(merged, own, below, rows)
    return [row for row in rows if row.cumulative]


@dataclass(slots=True)
class MergedTree(Generic[Key]):
    """A stack tree seen through a key: siblings with equal keys are one node. Node 0 is the empty stack.

    `key_ids[n]` indexes `keys`, -1 for the root. `nodes[m]` is what node m of the original tree became.
    """

    keys: list[Key]
    parents: list[int]
    key_ids: list[int]
    nodes: list[int]

    def place(self, counts: Mapping[int, int]) -> list[int]:
        """Turn samples per original node into samples per node."""
        placed = [0] * len(self.parents)
        for node, count in counts.items():
            placed[self.nodes[node]] += count
        return placed

    def subtree_sums(self, own: list[int]) -> list[int]:
        """Return the samples at or below each node."""
        sums = list(own)
        for node in range(len(sums) - 1, 0, -1):
            sums[self.parents[node]] += sums[node]
        return sums

    def walk(self) -> Iterator[tuple[int, bool]]:
        """Yield (node, True) before and (node, False) after everything below a node; the root is left out."""
        first, following = self._links()
        node = first[0]
        while node:
            yield node, True
            if first[node]:
                node = first[node]
                continue
            while node:
                yield node, False
                if following[node]:
                    node = following[node]
                    break
                node = self.parents[node]

    def _links(self) -> tuple[list[int], list[int]]:
        """Return the first child of each node and the next child of its parent, 0 for none."""
        first = [0] * len(self.parents)
        following = [0] * len(self.parents)
        for node in range(len(self.parents) - 1, 0, -1):
            parent = self.parents[node]
            following[node] = first[parent]
            first[parent] = node
        return first, following


def merge(tree: StackTree, key: Callable[[Frame], Key]) -> MergedTree[Key]:
    """Merge the nodes of a tree that `key` cannot tell apart."""
    ids: dict[Key, int] = {}
    known: dict[int, int] = {}  # by identity, as hashing a frame is slow: nodes are many, frame objects few
    index: dict[tuple[int, int], int] = {}
    parents, key_ids, nodes = [0], [-1], [0] * len(tree)
    for node in range(1, len(tree)):
        parent, frame = nodes[tree.parents[node]], tree.frames[node]
        if frame is None:
            nodes[node] = parent
            continue
        key_id = known.get(id(frame))
        if key_id is None:
            key_id = known[id(frame)] = ids.setdefault(key(frame), len(ids))
        place = (parent, key_id)
        if place not in index:
            index[place] = len(parents)
            parents.append(parent)
            key_ids.append(key_id)
        nodes[node] = index[place]
    return MergedTree(list(ids), parents, key_ids, nodes)


def _count_rows(merged: MergedTree[Key], own: list[int], below: list[int], rows: list[Row[Key]]) -> None:
    """A recursive function is counted where the stack enters it first, so no sample counts twice."""
    open_frames = [0] * len(rows)
    for node, entering in merged.walk():
        key_id = merged.key_ids[node]
        if not entering:
            open_frames[key_id] -= 1
            continue
        if not open_frames[key_id]:
            rows[key_id].cumulative += below[node]
        open_frames[key_id] += 1
        rows[key_id].own += own[node]


def _count_callers(merged: MergedTree[Key], own: list[int], below: list[int], rows: list[Row[Key]]) -> None:
    """The same for calls, a call being a pair (caller, callee)."""
    open_calls: dict[tuple[int, int], int] = {}
    for node, entering in merged.walk():
        caller, callee = merged.key_ids[merged.parents[node]], merged.key_ids[node]
        if caller < 0 or not below[node]:
            continue
        open_count = open_calls.get((caller, callee), 0)
        open_calls[caller, callee] = open_count + 1 if entering else open_count - 1
        if entering:
            samples = rows[callee].callers.setdefault(merged.keys[caller], Samples())
            samples.own += own[node]
            samples.cumulative += 0 if open_count else below[node]

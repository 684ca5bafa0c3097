r"""Collapsed stacks: a line `root;...;leaf samples` per distinct stack, for flamegraph.pl and speedscope.

A frame is `path:function:line`. What would break a reader is written as an escape: `;` and everything
invisible anywhere, `:` in a function, and a space where what follows could pass for the number of samples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO

from tachyscope.formats.escape import encodable, printable, written_out
from tachyscope.formats.exporter import Exporter
from tachyscope.formats.paths import NO_FILE, ShortPaths, of_profile
from tachyscope.profile.model import Frame, Profile, ThreadInfo
from tachyscope.profile.summary import MergedTree, merge

_RISKY_SPACE = re.compile(r"^ | (?=[0-9.]*$)")


@dataclass(frozen=True, slots=True)
class CollapsedOptions:
    """`lines`: a frame ends with the executing line instead of the function's first one."""

    lines: bool = False


def write(profile: Profile, stream: TextIO, options: CollapsedOptions) -> None:
    """Write one line per distinct stack, in the order of their frames' texts; empty stacks are left out."""
    merged = merge(profile.tree, frame_label(of_profile(profile), options.lines))
    order = _order(merged)
    for prefix, counts in sorted(_by_thread(profile).items()):
        placed = {node: count for node, count in enumerate(merged.place(counts)) if node and count}
        for node in sorted(placed, key=order.__getitem__):
            line = f"{prefix}{_path(merged, node)} {placed[node]}\n"
            stream.write(encodable(line, stream.encoding))


def frame_label(paths: ShortPaths, lines: bool) -> Callable[[Frame], str]:
    """Return the function that turns a frame into its text."""

    def label(frame: Frame) -> str:
        function = frame.function
        name = _quoted(function.qualname, ";:")
        if function.filename in NO_FILE:
            return _RISKY_SPACE.sub(r"\\x20", name) or "<unnamed>"
        line = frame.line if lines else function.first_line
        return _RISKY_SPACE.sub(r"\\x20", f"{_quoted(paths.short(function.filename), ';')}:{name}:{line}")

    return label


def thread_label(thread: ThreadInfo) -> str:
    """Return the text of the frame that stands for a thread."""
    name = thread.name or ("main" if thread.is_main else "unnamed")
    return f"thread:{_quoted(name, ';')} ({thread.tid})"


def _quoted(text: str, special: str) -> str:
    text = printable(text)
    for char in special:
        text = text.replace(char, written_out(char))
    return text


def _by_thread(profile: Profile) -> dict[str, Mapping[int, int]]:
    """Return samples per node by how their lines begin: with the thread's frame if there are several."""
    if len(profile.threads) < 2:
        return {"": profile.totals()}
    threads: dict[str, Counter[int]] = {}  # the system may give a new thread the id of one that ended
    for thread, counts in zip(profile.threads, profile.counts, strict=True):
        threads.setdefault(thread_label(thread) + ";", Counter()).update(counts)
    return dict(threads)


def _order(merged: MergedTree[str]) -> list[int]:
    """Return the rank of each node when stacks are sorted frame by frame, callers before what they call."""
    sorted_ids = sorted(range(len(merged.keys)), key=merged.keys.__getitem__)
    by_text = {key_id: rank for rank, key_id in enumerate(sorted_ids)}
    children: list[list[int]] = [[] for _ in merged.parents]
    for node in range(1, len(merged.parents)):
        children[merged.parents[node]].append(node)
    ranks = [0] * len(children)
    pending, rank = [0], 0
    while pending:
        node = pending.pop()
        ranks[node] = rank
        rank += 1
        pending += sorted(children[node], key=lambda child: by_text[merged.key_ids[child]], reverse=True)
    return ranks


def _path(merged: MergedTree[str], node: int) -> str:
    """Return the frames of a node, root first."""
    labels: list[str] = []
    while node:
        labels.append(merged.keys[merged.key_ids[node]])
        node = merged.parents[node]
    return ";".join(reversed(labels))


EXPORTER = Exporter(CollapsedOptions, write)

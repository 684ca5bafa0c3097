"""Stacks in one form, whoever took them, and the shares that follow from them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

Stack = tuple[str, ...]
"""Frames "file.py:function:first_line", root first; the file without its folder."""

Shares = dict[str, float]
"""Parts of one, by function."""

ROOT = "target.py:steady:"
"""The frame below which everything is the program's own; its line follows."""

UNCERTAIN = "<uncertain>"
SPECIAL = frozenset({"<GC>", "<native>"})
EMPTY = "<empty>"

_FOLDER = re.compile(r"^.*/(?=[^/:]*:)")
_PYSPY = re.compile(r"(.*) \((.*):(\d+)\)")
_NO_FUNCTION = re.compile(r"thread:|tid:|process:|__init__ \(__init__\)$")
"""Frames for threads and processes, and py-spy's for the interpreter's shim below an `__init__`."""


def collapsed(text: str) -> Counter[Stack]:
    """Read collapsed stacks of `path:function:line` frames: tachyscope's, and the standard library's."""
    return _read(text, lambda frame: _FOLDER.sub("", frame))


def pyspy(text: str) -> Counter[Stack]:
    """Read py-spy's raw format, `function (path:line)` frames; it must have been told to give first lines."""
    return _read(text, _pyspy_frame)


def _pyspy_frame(frame: str) -> str:
    match = _PYSPY.fullmatch(frame)
    return f"{_FOLDER.sub('', match[2] + ':')}{match[1]}:{match[3]}" if match else frame


def _read(text: str, key: object) -> Counter[Stack]:
    assert callable(key)
    stacks = Counter[Stack]()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        names = [frame for frame in frames.split(";") if not _NO_FUNCTION.match(frame)]
        stacks[tuple(key(frame) for frame in names)] += int(count)
    return stacks


def python_only(stacks: Mapping[Stack, int]) -> Counter[Stack]:
    """Leave out the frames that only tachyscope shows."""
    plain = Counter[Stack]()
    for stack, count in stacks.items():
        plain[tuple(frame for frame in stack if frame not in SPECIAL)] += count
    return plain


def without_lines(stacks: Mapping[Stack, int]) -> Counter[Stack]:
    """Leave out the lines: the standard library's profiler tells the executing one, not the function's first."""
    plain = Counter[Stack]()
    for stack, count in stacks.items():
        plain[tuple(frame.rpartition(":")[0] if frame.count(":") > 1 else frame for frame in stack)] += count
    return plain


def added(turns: Iterable[Mapping[Stack, int]]) -> Counter[Stack]:
    """Add turns up."""
    total = Counter[Stack]()
    for turn in turns:
        total.update(turn)
    return total


def self_shares(stacks: Mapping[Stack, int]) -> Shares:
    """The share of the samples in which each function is the leaf."""
    counts = Counter[str]()
    for stack, count in stacks.items():
        counts[stack[-1] if stack else EMPTY] += count
    return _parts(counts, sum(stacks.values()))


def total_shares(stacks: Mapping[Stack, int]) -> Shares:
    """The share of the samples in which each function is anywhere on the stack."""
    counts = Counter[str]()
    for stack, count in stacks.items():
        for frame in set(stack):
            counts[frame] += count
    return _parts(counts, sum(stacks.values()))


def below_root(stack: Stack) -> Stack | None:
    """The program's own part of a stack; None if the frame that all of it is below is not there."""
    for index, frame in enumerate(stack):
        if frame.startswith(ROOT):
            return stack[index + 1 :]
    return None


def _parts(counts: Counter[str], total: int) -> Shares:
    return {name: count / max(total, 1) for name, count in counts.items()}

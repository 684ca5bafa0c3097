"""A sink that adds up what one sampler hands over. It is light: the model is made of it when a profile is wanted."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from tachyscope._core.batch import Batch, RawCode, Track
from tachyscope._core.spans import Tally

RawNode = tuple[int, int, int, int]
"""Parent node, index of the code object, byte offset of the instruction, its number (0: not recorded)."""


NODE_KINDS = "IIiB"
"""Of the columns of `Nodes`, as `array` names them: millions of nodes take little room so."""


class Collector:
    """The tables of one sampler, and how many ticks each track was in which state.

    `version` is that of the target's Python, `instructions` tells name and base form of each instruction's number.
    """

    def __init__(self, version: tuple[int, int], instructions: Mapping[int, tuple[str, str]] | None = None) -> None:
        self.version = version
        self.instructions = instructions or {}
        self.codes: list[RawCode] = []
        self._nodes = [array(kind) for kind in NODE_KINDS]
        self.tracks: dict[int, Track] = {}
        self._tally = Tally()

    def add(self, batch: Batch) -> None:
        """Take over a batch."""
        spans = batch.spans
        self._tally.add(spans.track, spans.node, spans.weight, spans.status, spans.known)
        self.codes += batch.codes
        for column, new in zip(self._nodes, batch.nodes, strict=True):
            column.frombytes(new)
        self.tracks.update((track.track, track) for track in batch.tracks)

    def node_rows(self) -> list[RawNode]:
        """Return all nodes so far, as rows; node 0 is the empty stack."""
        return list(zip(*self._nodes, strict=True))

    def clear(self) -> None:
        """Count anew from here on; the tables stay."""
        self._tally.clear()

    def states(self) -> list[tuple[int, int, int, int, int]]:
        """Return (track, node, `Status`, which of its bits were looked at, ticks) of every state so far."""
        return self._tally.states()

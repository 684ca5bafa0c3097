"""A sink that adds up what one sampler hands over. It is light: the model is made of it when a profile is wanted."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from tachyscope._core.batch import Batch, RawCode, Track
from tachyscope._core.spans import Tally

RawNode = tuple[int, int, int, int]
"""Parent node, index of the code object, byte offset of the instruction, its number (0: not recorded)."""


class Collector:
    """The tables of one sampler, and how many ticks each track was in which state.

    `version` is that of the target's Python, `instructions` tells name and base form of each instruction's number.
    """

    def __init__(self, version: tuple[int, int], instructions: Mapping[int, tuple[str, str]] | None = None) -> None:
        self.version = version
        self.instructions = instructions or {}
        self.codes: list[RawCode] = []
        self.nodes: list[RawNode] = []
        self.tracks: dict[int, Track] = {}
        self._tally = Tally()

    def add(self, batch: Batch) -> None:
        """Take over a batch."""
        spans = batch.spans
        self._tally.add(spans.track, spans.node, spans.weight, spans.status, spans.known)
        self.codes += batch.codes
        columns = (array(code, column) for code, column in zip("IIiB", batch.nodes, strict=True))
        self.nodes += zip(*columns, strict=True)
        self.tracks.update((track.track, track) for track in batch.tracks)

    def clear(self) -> None:
        """Count anew from here on; the tables stay."""
        self._tally.clear()

    def states(self) -> list[tuple[int, int, int, int, int]]:
        """Return (track, node, `Status`, which of its bits were looked at, ticks) of every state so far."""
        return self._tally.states()

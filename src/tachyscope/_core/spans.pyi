"""What leaves the core: spans of time in which nothing changed. `Tally` adds them up again."""

from typing import final

@final
class Tally:
    """How many ticks each track was at which node, with which status."""

    def add(self, track: bytes, node: bytes, weight: bytes, status: bytes, known: bytes) -> None:
        """Count spans: columns of uint32, uint32, uint64, uint16 and uint16, as a `Batch` has them. Raises `ValueError`
        if their lengths differ."""

    def states(self) -> list[tuple[int, int, int, int, int]]:
        """(track, node, status, known, ticks) of every state that was counted, in no particular order."""

    def clear(self) -> None:
        """Forget what was counted."""

"""What the core hands over, added up: whatever the batches, modes and threads, nothing is lost and nothing made up."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tachyscope._core.batch import Batch, Corrections, Nodes, Spans, Status, Track
from tachyscope._core.spans import Tally
from tachyscope.profile.builder import Totals, part
from tachyscope.profile.collector import Collector
from tachyscope.profile.modes import Mode

TRACKS, NODES = 3, 5
KERNEL = Status.ON_CPU | Status.WAITS_GIL
Span = tuple[int, int, int, int, int]
"""Track, node, ticks, status, known."""

spans = st.lists(
    st.tuples(
        st.integers(0, TRACKS - 1), st.integers(0, NODES - 1), st.integers(1, 1 << 40),
        st.integers(0, 1023).map(lambda bits: bits & ~8), st.sampled_from([0, KERNEL, KERNEL | Status.HOLDS]),
    ),
    max_size=40,
)  # fmt: skip


def batch(of: list[Span], first: bool = True) -> Batch:
    """Return spans as a batch, the first one with the tables."""
    codes = [(f"f{node}", f"f{node}", "a.py", node, b"") for node in range(NODES)] if first else []
    nodes = range(NODES) if first else range(0)
    tracks = [Track(track, 0, track, track, track, track, 0, 0) for track in range(TRACKS)] if first else []
    columns = [[span[field] for span in of] for field in range(5)]
    return Batch(
        tracks, codes,
        Nodes(array("I", [0 for _ in nodes]).tobytes(), array("I", nodes).tobytes(), array("i", nodes).tobytes(),
              bytes(len(nodes))),
        Spans(array("I", columns[0]).tobytes(), array("I", columns[1]).tobytes(), bytes(8 * len(of)),
              array("Q", columns[2]).tobytes(), array("Q", columns[2]).tobytes(), array("H", columns[3]).tobytes(),
              array("H", columns[4]).tobytes()),
        [], Corrections(b"", b""),
    )  # fmt: skip


def who(track: Track) -> tuple[int, str, bool]:
    return track.ident, f"thread {track.ident}", track.ident == 0


@given(spans, st.lists(st.integers(0, 40)), st.sampled_from(Mode))
def test_it_does_not_matter_how_often_it_is_drained(of: list[Span], cuts: list[int], mode: Mode) -> None:
    whole, pieces = Collector((3, 13)), Collector((3, 13))
    whole.add(batch(of))
    begin = 0
    for number, cut in enumerate(sorted({min(cut, len(of)) for cut in cuts} | {len(of)})):
        pieces.add(batch(of[begin:cut], first=number == 0))
        begin = cut
    assert sorted(whole.states()) == sorted(pieces.states())
    assert part(whole, mode, who).totals == part(pieces, mode, who).totals


@given(spans, st.sampled_from(Mode))
def test_every_tick_counts_is_left_out_or_failed(of: list[Span], mode: Mode) -> None:
    collector = Collector((3, 13))
    collector.add(batch(of))
    made = part(collector, mode, who)
    totals = made.totals
    assert totals.samples + totals.left_out + totals.failed == sum(ticks for _, _, ticks, _, _ in of)
    assert sum(sum(counts.values()) for _, counts, _ in made.threads) == totals.samples
    assert sum(thread.samples for thread, _, _ in made.threads) == totals.samples
    assert max(totals.uncertain, totals.reconstructed, totals.truncated) <= totals.samples
    states = [ticks for _, _, states in made.threads for ticks in states.values()]
    assert sum(states) <= sum(ticks for _, _, ticks, _, _ in of)
    by_node = Counter[int]()
    for _, node, ticks, status, known in of:
        by_node[node] += ticks if mode.counts(status, known) else 0
    assert sum((Counter(counts) for _, counts, _ in made.threads), Counter[int]()) == +by_node


@given(spans, spans)
def test_what_was_taken_is_not_counted_again(before: list[Span], after: list[Span]) -> None:
    collector, only = Collector((3, 13)), Collector((3, 13))
    collector.add(batch(before))
    collector.clear()
    collector.add(batch(after, first=False))
    only.add(batch(after))
    assert sorted(collector.states()) == sorted(only.states())
    assert part(collector, Mode.WALL, who).codes == part(only, Mode.WALL, who).codes


@pytest.mark.parametrize(
    ("mode", "status", "known", "counts"),
    [
        (Mode.WALL, 0, 0, True),
        (Mode.WALL, Status.FAILED, 0, False),
        (Mode.CPU, Status.ON_CPU, KERNEL, True),
        (Mode.CPU, Status.HOLDS, KERNEL, False),
        (Mode.CPU, Status.HOLDS, 0, True),  # nobody asked the kernel
        (Mode.GIL, Status.HOLDS, 0, True),
        (Mode.GIL, Status.ON_CPU, KERNEL, False),
        (Mode.EXCEPTION, Status.EXCEPTS, 0, True),
        (Mode.EXCEPTION, Status.EXCEPTS | Status.FAILED, 0, False),
        (Mode.EXCEPTION, 0, 0, False),
    ],
)
def test_which_samples_count(mode: Mode, status: int, known: int, counts: bool) -> None:
    assert mode.counts(status, known) is counts


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths"):
        Tally().add(bytes(8), bytes(4), bytes(16), bytes(4), bytes(4))


def test_totals_add_up() -> None:
    assert Totals(1, 2, 3) + Totals(1, 1, 1, 1, 1, 1) == Totals(2, 3, 4, 1, 1, 1)

"""What a sampler says of a thread: the form of the dicts that `Sampler.threads` returns."""

from __future__ import annotations

from typing import TypedDict


class ThreadCounts(TypedDict):
    """What was counted of a thread.

    `samples` (those that the mode counts) are in `counts` by node. `seen` are the ticks at which its stack was known,
    whatever the mode; at some of them it `held` the GIL, was `collecting` garbage or had an exception (`exceptions`).
    The kernel was asked about it `looks` times and had it `on_cpu` so often, `waiting` for the GIL so often.
    """

    address: int
    unique_id: int
    ident: int
    native_id: int
    interpreter: int
    counts: dict[int, int]
    samples: int
    seen: int
    failed: int
    held: int
    collecting: int
    exceptions: int
    looks: int
    on_cpu: int
    waiting: int

"""pyperformance's go: a game tree searched at random (always the same way), methods over flood-filled groups."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

GAMES = 20


def setup() -> Callable[[], object]:
    go = import_module("bm_go.run_benchmark")
    vars(go)["GAMES"] = GAMES
    move: Callable[[], object] = go.versus_cpu
    return move

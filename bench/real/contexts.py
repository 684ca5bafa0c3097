"""The exact calling contexts of a program, from a run of its own under `sys.setprofile`: which stacks are possible.

target.py writes them; they are kept, as they follow from the program and the interpreter alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.real.samplers import cache_directory
from bench.real.stacks import UNCERTAIN, Stack, below_root

SECONDS = 3
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Contexts:
    """A tree of frames: `children[node, frame]` is a node; 0 is the root of the main thread, `threads` are the others'.

    `calls` are calls per iteration, by function.
    """

    children: dict[tuple[int, str], int]
    threads: tuple[int, ...]
    calls: dict[str, float]

    def possible(self, stack: Stack) -> bool | None:
        """Whether a stack can exist; None for one that does not claim its callers."""
        if UNCERTAIN in stack:
            return None
        own = below_root(stack)
        if own is not None:
            return self._leads_down(0, own)
        return any(self._leads_down(root, stack) for root in self.threads)

    def _leads_down(self, root: int, frames: Stack) -> bool:
        node: int | None = root
        for frame in frames:
            node = None if node is None else self.children.get((node, frame))
        return node is not None


def contexts(command: list[str], key: list[Path]) -> Contexts:
    """Return the contexts of the program that a command runs; `key` are the files that they follow from."""
    digest = hashlib.sha256(" ".join(command).encode())
    for path in key:
        digest.update(path.read_bytes())
    kept = cache_directory() / "contexts" / f"{digest.hexdigest()[:24]}.json"
    if not kept.exists():
        _write(command, kept)
    return _parse(json.loads(kept.read_text()))


def _write(command: list[str], kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    half = kept.with_suffix(f".{os.getpid()}")
    run = subprocess.run(
        [*command, "--contexts", str(half), "--seconds", str(SECONDS)],
        capture_output=True, text=True, timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if run.returncode != 0:
        raise RuntimeError(f"no contexts: {run.stderr[-500:]}")
    half.rename(kept)


def _parse(told: dict[str, Any]) -> Contexts:
    children = {(parent, frame): number for number, (parent, frame) in enumerate(told["nodes"]) if parent >= 0}
    return Contexts(children, tuple(told["threads"].values()), told["calls"])

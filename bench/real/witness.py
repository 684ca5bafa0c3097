"""Was a sample torn, that is, mixed of two moments? Two programs tell for each single one, with no other reference.

    python -m bench.real.witness [--versions 3.11,3.13,3.15] [--seconds 5]

`colours`: each chain of calls has a colour of its own, in the names of its functions; a stack of two colours is torn.
That judges whole samplers. `witness`: each chain hands one fresh object down as first argument; in one contiguous copy
of the data stack all frames up to the running one must have it in `localsplus[0]`. That judges what one copy can be
worth, before any reader has interpreted it (3.11 to 3.13, where a frame says itself that it runs).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.real import measure, samplers, stacks
from bench.real.measure import Program
from bench.real.samplers import Sampler
from bench.real.stacks import Stack
from bench.targets import Target, Unavailable
from tachyscope import CorruptTarget
from tachyscope._core import reference
from tachyscope._core.memory import Reader
from tachyscope.target import runtime
from tachyscope.target.layouts import STACK_TOP_INDEX

LEAST_FRAMES = 6
LOOKS = 2000
FARTHEST_BYTES = 96
"""`localsplus` begins within so many bytes behind what is read of a frame's head."""
RUNS = -1
"""The saved stack top of a frame that executes, 3.11 to 3.13."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.real.witness", description=__doc__)
    parser.add_argument("--versions", default="3.8,3.11,3.13,3.15", metavar="V,V")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    samplers.check_machine()
    for version in options.versions.split(","):
        for judge in (colours, copies):
            try:
                print(f"{version} {judge(version, options.seconds)}", flush=True)
            except (Unavailable, RuntimeError) as error:
                print(f"{version}: {error}")
    return 0


def colours(version: str, seconds: float) -> str:
    """The samples of two colours, by sampler."""
    who = [samplers.reference(samplers.pinned()), *samplers.ours(samplers.our_own()).values(), *samplers.peers(version)]
    with measure.running(Program("small/colours"), version) as (target, _):
        return "colours, torn: " + "  ".join(f"{each.name} {_torn(each, target, seconds)}" for each in who)


def _torn(sampler: Sampler, target: Target, seconds: float) -> str:
    end, found = time.monotonic() + seconds, Counter[bool]()
    while time.monotonic() < end:
        for stack, count in sampler.take(target.pid).stacks.items():
            found[len(colours_of(stack)) > 1] += count
    return f"{found[True]} of {found.total()} ({100 * found[True] / max(found.total(), 1):.3f} %)"


def colours_of(stack: Stack) -> set[str]:
    """The colours below the steady loop: a function `step_3_red` has the colour `red`."""
    own = stacks.below_root(stack) or ()
    return {frame.split(":")[1].rpartition("_")[2] for frame in own if frame.split(":")[1].startswith("step_")}


@dataclass(frozen=True)
class Chain:
    """Where the chain's frames lie, outermost first; `object_offset` is that of `localsplus[0]` in a frame."""

    frames: list[int]
    object_offset: int


def copies(version: str, seconds: float) -> str:
    """The contiguous copies in which not all frames have the same object."""
    with measure.running(Program("small/witness"), version) as (target, _):
        read = Reader(target.pid)
        found = runtime.find_runtime(target.pid, read)
        if found.layout.frame_stack_top_kind != STACK_TOP_INDEX:
            return "witness: frames of this version do not say whether they run"
        chain = _chain(target.pid, read, found)
        os.sched_setaffinity(0, {samplers.SAMPLER_CPU})
        size = chain.frames[-1] + found.layout.frame_size + FARTHEST_BYTES - chain.frames[0]
        verdicts, end = Counter[bool | None](), time.monotonic() + seconds
        while time.monotonic() < end:
            verdicts[torn(read(chain.frames[0], size), chain, found.layout.frame_stack_top)] += 1
    judged = verdicts[True] + verdicts[False]
    part = 100 * verdicts[True] / max(judged, 1)
    return f"witness, copies of {size} bytes, torn: {verdicts[True]} of {judged} ({part:.3f} %)"


def torn(copy: bytes, chain: Chain, stack_top_offset: int) -> bool | None:
    """Whether frames of one copy belong to different chains; None where no frame of the chain runs."""
    offsets = [address - chain.frames[0] for address in chain.frames]
    running = [number for number, offset in enumerate(offsets) if _int32(copy, offset + stack_top_offset) == RUNS]
    if not running:
        return None
    objects = {_word(copy, offset + chain.object_offset) for offset in offsets[: running[-1] + 1]}
    return len(objects) > 1


def _chain(pid: int, read: Reader, found: runtime.Runtime) -> Chain:
    """Stop the target until its chain is long, and see where the same object lies in each frame."""
    thread = runtime.main_thread(found, read)
    for _ in range(LOOKS):
        with _stopped(pid):
            frames = _frames(read, found, thread)
            if len(frames) >= LEAST_FRAMES:
                return Chain(frames, _object_offset(read, found.layout.frame_size, frames))
    raise RuntimeError("the chain of calls was never seen")


def _frames(read: Reader, found: runtime.Runtime, thread: int) -> list[int]:
    try:
        unwound = reference.unwind(read, found.layout, thread)
        names = [reference.read_code(read, found.layout, frame.code).name for frame in unwound.frames]
    except CorruptTarget:
        return []
    return [frame.address for frame, name in zip(unwound.frames, names, strict=True) if name.startswith("step_")][::-1]


def _object_offset(read: Reader, frame_size: int, frames: list[int]) -> int:
    for offset in range(frame_size, frame_size + FARTHEST_BYTES, 8):
        words = {_word(read(frame + offset, 8), 0) for frame in frames}
        if len(words) == 1 and words != {0}:
            return offset
    raise RuntimeError("no object is in all frames of the chain")


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _word(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 8], "little")


def _int32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little", signed=True)


if __name__ == "__main__":
    sys.exit(main())

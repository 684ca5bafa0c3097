# ruff: noqa: E402  # Nothing may be imported before this folder is off the path: its names could hide a module's.
"""Runs one program in a steady loop, in the interpreter that is to be profiled (3.8 to 3.15, nothing but its library).

    target.py NAME [ARG...]     NAME is a file of programs/, or small/NAME; ARGs go to its setup()
        --site DIR              where its packages are; --benchmarks DIR: pyperformance's benchmarks
        --progress FILE         count iterations in this file (made where absent, mapped), see below
        --signals LIBRARY OUT INTERVAL_US   install the sampler of signals/, which says what they are
        --durations OUT         no endless loop: run for --seconds and write how long each iteration took
        --contexts OUT          no endless loop: run for --seconds and write the exact calling contexts, see below

It sets the program up, runs one iteration, says "ready" on a line of standard output and loops for ever in `steady`:
what runs below that frame is the program. It is killed with the thread that started it, and starts no thread.
It runs with PYTHONHASHSEED=0, so that sets are walked the same way in every run; for that it starts itself again if
need be, and options of the interpreter are then lost.

Progress: int64 iterations, float64 time.perf_counter() at the end of the last one, then float64 seconds so far for each
name in the program's CLOCKS (the program's own clock, updated with each iteration).

Durations: a JSON list of seconds.

Contexts: JSON, recorded under sys.setprofile in at least two iterations:
    nodes       [[parent, key], ...]: each is a frame that was entered below the chain of its parents. A key is
                "file_basename:qualified_name:first_line" (the plain name before 3.11). Node 0 is `steady`, parent -1.
    threads     {name of a thread: number of its root node}: each other thread that ran Python. A root has the parent -1
                and the key "<thread NAME>"; below it are all frames of the thread, from `_bootstrap` on.
    iterations  how many there were
    calls       {key: calls per iteration}, each resumption of a generator or coroutine included
"""

from __future__ import annotations

import sys

HERE = sys.path[0]
sys.path[0] = HERE + "/stand_in"

import argparse
import ctypes
import importlib.util
import json
import mmap
import os
import signal
import struct
import threading
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, ModuleType
    from typing import Any

PR_SET_PDEATHSIG = 1
PROGRESS_BYTES = 4096


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def hash_alike() -> None:
    """Start again with the hash seed that all runs share, so that each walks its sets and calls the same way."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])


def load(name: str, path: str) -> ModuleType:
    """Load a module by its path, under a name that hides no package: `html5lib` the program imports the package."""
    spec = importlib.util.spec_from_file_location(name, f"{HERE}/{path}")
    if spec is None or spec.loader is None or not Path(HERE, path).exists():
        sys.exit(f"no program: there is no file {HERE}/{path}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def map_progress(path: str) -> Any:
    """Return the memory of a progress file, or memory of our own without one: the loop is the same."""
    if not path:
        return bytearray(PROGRESS_BYTES)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, PROGRESS_BYTES)
        return mmap.mmap(descriptor, PROGRESS_BYTES)
    finally:
        os.close(descriptor)


def steady(iterate: Callable[[], object], progress: Any, clocks: list[float]) -> None:
    """Iterate for ever."""
    write = struct.Struct(f"qd{len(clocks)}d").pack_into
    now = time.perf_counter
    iterations = 0
    while True:
        iterate()
        iterations += 1
        write(progress, 0, iterations, now(), *clocks)


def durations(iterate: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds that each iteration takes."""
    now = time.perf_counter
    found: list[float] = []
    begin = end = now()
    while end - begin < seconds or len(found) < 2:
        start = end
        iterate()
        end = now()
        found.append(end - start)
    return found


def label(code: CodeType) -> str:
    """Name a code object as the nodes of a trie do."""
    name = getattr(code, "co_qualname", code.co_name)
    return f"{code.co_filename.rpartition('/')[2]}:{name}:{code.co_firstlineno}"


class Walker:
    """The calling contexts of one thread, as a profile function.

    `children` maps (parent's node, key) to a node's number; 0 is the root, which stands for the frame `root`, or for
    the thread itself where that is None. `stack` holds the frames that run now, root first, each with its node. A
    caller is told by `f_back` alone, so it does not matter whether Python or C called, resumed or threw into the frame.
    """

    def __init__(self, name: str, root: FrameType | None) -> None:
        self.name = name
        self.root = root
        self.children: dict[tuple[int, str], int] = {}
        self.calls: dict[CodeType, int] = {}
        self.labels: dict[CodeType, str] = {}
        self.stack: list[tuple[FrameType | None, int]] = [(root, 0)]

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self.enter(frame)
            self.calls[frame.f_code] = self.calls.get(frame.f_code, 0) + 1
        elif event == "return" and self.stack[-1][0] is frame:  # at a yield and with an exception, too
            self.stack.pop()

    def enter(self, frame: FrameType) -> None:
        """Put a frame on the stack, on top of its caller."""
        caller: Any = frame.f_back
        stack = self.stack
        while stack and stack[-1][0] is not caller:
            stack.pop()
        if not stack:  # the caller ran before the thread was watched
            if caller is self.root:
                stack.append((caller, 0))
            else:
                self.enter(caller)
        stack.append((frame, self.child(stack[-1][1], frame.f_code)))

    def child(self, parent: int, code: CodeType) -> int:
        """Return the node of a code object below another node."""
        key = self.labels.get(code)
        if key is None:
            key = self.labels[code] = label(code)
        return self.children.setdefault((parent, key), len(self.children) + 1)


class Contexts:
    """The calling contexts of all threads. Threads are watched from their start, the main thread while it iterates."""

    def __init__(self) -> None:
        self.walkers: list[Walker] = []
        self.local = threading.local()

    def watch_threads(self) -> None:
        """Watch every thread that starts from now on."""
        threading.setprofile(self.of_thread)

    def of_thread(self, frame: FrameType, event: str, argument: object) -> None:
        """The profile function of other threads: find the one that is this thread's own."""
        walker = getattr(self.local, "walker", None)
        if walker is None:
            walker = self.local.walker = Walker(threading.current_thread().name, None)
            self.walkers.append(walker)
        walker(frame, event, argument)

    def watch(self, iterate: Callable[[], object], seconds: float) -> dict[str, Any]:
        """Iterate, and return what is to be written."""
        main = Walker("", sys._getframe())
        for walker in self.walkers:
            walker.calls.clear()  # those of the set-up
        iterations = 0
        end = time.perf_counter() + seconds
        sys.setprofile(main)
        while iterations < 2 or time.perf_counter() < end:
            iterate()
            iterations += 1
        sys.setprofile(None)
        return self.written(main, iterations)

    def written(self, main: Walker, iterations: int) -> dict[str, Any]:
        """Return all tries as one list of nodes. Threads of one name share a trie."""
        nodes: list[tuple[int, str]] = [(-1, label(steady.__code__))]
        numbers: dict[tuple[int, str], int] = {}
        roots: dict[str, int] = {}
        calls: dict[str, float] = {}
        for walker in [main, *self.walkers]:
            if walker is main:
                root = 0
            else:
                root = roots.setdefault(walker.name, len(nodes))
                if root == len(nodes):
                    nodes.append((-1, f"<thread {walker.name}>"))
            ours = [root]
            for parent, key in list(walker.children):  # in the order of their numbers
                number = numbers.setdefault((ours[parent], key), len(nodes))
                if number == len(nodes):
                    nodes.append((ours[parent], key))
                ours.append(number)
            for code, count in list(walker.calls.items()):
                calls[label(code)] = calls.get(label(code), 0) + count / iterations
        return {"nodes": nodes, "threads": roots, "iterations": iterations, "calls": calls}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run one program in a steady loop.")
    parser.add_argument("name", help="richards, or small/fib")
    parser.add_argument("arguments", nargs="*", help="for the program's setup()")
    parser.add_argument("--site", default="", help="folder of its packages")
    parser.add_argument("--benchmarks", default="", help="folder of pyperformance's benchmarks")
    parser.add_argument("--progress", default="", help="file to count iterations in")
    parser.add_argument("--signals", nargs=3, help="library, output and interval of the signal sampler")
    parser.add_argument("--durations", default="", help="write how long iterations take")
    parser.add_argument("--contexts", default="", help="write the exact calling contexts")
    parser.add_argument("--seconds", type=float, default=2.0, help="for how long")
    return parser.parse_intermixed_args()


def finish(path: str, result: object) -> None:
    """Write a result and end at once: threads of the program may run for ever."""
    with open(path, "w") as stream:
        json.dump(result, stream)
    os._exit(0)


def main() -> None:
    """Set the program up and run it as asked for."""
    die_with_parent()
    hash_alike()
    options = parse()
    sys.path[1:1] = [folder for folder in (options.site, options.benchmarks) if folder]
    sys.dont_write_bytecode = True  # what stands beside us is only read
    program = load("program", (options.name if "/" in options.name else "programs/" + options.name) + ".py")
    contexts = Contexts()
    if options.contexts:
        contexts.watch_threads()
    iterate = program.setup(*options.arguments)
    iterate()
    if options.contexts:
        finish(options.contexts, contexts.watch(iterate, options.seconds))
    if options.durations:
        finish(options.durations, durations(iterate, options.seconds))
    if options.signals:
        library, output, interval_us = options.signals
        load("inside", "signals/inside.py").install(library, output, float(interval_us))
    progress = map_progress(options.progress)
    print("ready", flush=True)
    steady(iterate, progress, getattr(program, "clocks", []))


if __name__ == "__main__":
    main()

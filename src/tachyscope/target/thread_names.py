"""What the threads of a target are called: the names that the program gave them, and those that the kernel has.

A program names its threads through the module `threading`, so its names are read out of that module, in the
target's memory, while the target runs. This happens now and then, not per sample, and costs some hundred small
reads. A name that changes or goes away while it is read is left out; a target that lies gets names left out too.

Threads go by three numbers: the pthread id ("ident"), the kernel's id in the target's own pid namespace ("native
id"), and the kernel's id in our namespace, under which the thread is found in /proc ("tid").
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from tachyscope.errors import CorruptTarget, TargetNotFound
from tachyscope.target import process
from tachyscope.target.layouts import ABSENT
from tachyscope.target.objects import Objects
from tachyscope.target.runtime import Memory, Reader, Runtime, main_interpreter

MAX_NAMED_THREADS = 1 << 14
MAX_NAME_CHARACTERS = 512
MAX_MODULES = 1 << 16
MAX_ATTRIBUTES = 1 << 10
"""A class with more attributes than this before `_name` is none that anyone wrote."""
MAX_READS = 1 << 18
MAX_READ_BYTES = 64 << 20
"""So many reads and bytes are enough for 10 000 threads; after that no more names are found."""

PAUSES_SECONDS = (0.0, 0.001, 0.004, 0.016)
"""Before each attempt to find names in a target that makes no sense."""
NAME_ATTEMPTS = 3
NATIVE_ID_ATTEMPTS = 3
PTHREAD_BYTES = 1024
"""glibc keeps the kernel's id within so many bytes of its `struct pthread` (x86-64: at 720, aarch64: at 208)."""

_MAX_IDENT = (1 << 61) - 1  # the hash of a larger int is another one


class _BoundedReader:
    """A reader for one question, which refuses when far more was read than any honest answer takes."""

    def __init__(self, runtime: Runtime, read: Reader) -> None:
        self._pid = runtime.pid
        self._read = read
        self._reads, self._bytes = MAX_READS, MAX_READ_BYTES

    def __call__(self, address: int, size: int) -> bytes:
        self._reads -= 1
        self._bytes -= size
        if self._reads < 0 or self._bytes < 0:
            raise CorruptTarget(f"process {self._pid} has names of threads without end")
        return self._read(address, size)


# The program's names


def thread_names(runtime: Runtime, read: Reader, interpreter: int = 0) -> dict[int, str]:
    """Return the pthread id of each thread in the target's `threading` module with the name that the program gave it.

    `interpreter` is the address of a `PyInterpreterState`, by default of the main one. Names are cut after
    `MAX_NAME_CHARACTERS`. Absent are threads that `threading` does not know, such as those of `_thread`, that have
    not quite started or have ended meanwhile; none are found in a program that has not imported `threading`. Where
    threads are green ones (gevent), so are their ids. A target that makes no sense has no names, after a wait of 21
    ms. Raises `TargetGone` or `PermissionDenied`.
    """
    memory = Memory(runtime.pid, _BoundedReader(runtime, read))
    for pause_seconds in PAUSES_SECONDS:
        # The system may have taken the CPU from a thread just while it changes a dict.
        time.sleep(pause_seconds)
        with suppress(CorruptTarget):
            return _names(memory, Objects(memory, runtime.layout), interpreter or main_interpreter(runtime, read))
    return {}


def _names(memory: Memory, objects: Objects, interpreter: int) -> dict[int, str]:
    active = _active_threads(memory, objects, interpreter)
    before = _instances(objects, active)
    names = {ident: _name(objects, thread) for ident, thread in before.items()}
    # The memory of a thread that ended could have become anything.
    after = _instances(objects, active)
    return {ident: name for ident, name in names.items() if name is not None and after.get(ident) == before[ident]}


def _active_threads(memory: Memory, objects: Objects, interpreter: int) -> int:
    """Return the address of the dict ident -> `Thread` that `threading` keeps, 0 if it was not imported."""
    if not interpreter:
        return 0
    modules = memory.word(interpreter + objects.layout.interp_modules)
    module = objects.find(modules, "threading", MAX_MODULES) if modules else 0
    return objects.attribute(module, "_active", MAX_ATTRIBUTES) if module else 0


def _instances(objects: Objects, active: int) -> dict[int, int]:
    """Return ident -> address of the `Thread`."""
    found = objects.by_hash(active, MAX_NAMED_THREADS) if active else {}
    return {ident: thread for ident, thread in found.items() if 0 < ident < _MAX_IDENT}


def _name(objects: Objects, thread: int) -> str | None:
    """Return the same name read twice in a row, None if that cannot be had."""
    for _ in range(NAME_ATTEMPTS):
        with suppress(CorruptTarget):
            name = _name_now(objects, thread)
            if name == _name_now(objects, thread):
                return name
    return None


def _name_now(objects: Objects, thread: int) -> str | None:
    address = objects.attribute(thread, "_name", MAX_ATTRIBUTES)
    return objects.text(address, MAX_NAME_CHARACTERS) if address else None


# The kernel's ids and names


def native_ids(runtime: Runtime, read: Reader, idents: Iterable[int]) -> dict[int, int]:
    """Return the native id of each thread in `idents`, pthread ids of the target, that has not ended.

    For CPython 3.8 to 3.10, which do not keep it in `PyThreadState`: it is looked for in what a pthread id points
    to, the C library's `struct pthread`. Where in that it lies is found out each time, and believed only if all of
    `idents` have a thread of their own there; otherwise nothing is returned. So the more threads are asked for at
    once, the surer is the answer. Raises `TargetGone`, `TargetNotFound` or `PermissionDenied`.
    """
    memory = Memory(runtime.pid, read)
    main = 0
    if runtime.layout.runtime_main_thread != ABSENT:
        with suppress(CorruptTarget):
            main = memory.word(runtime.address + runtime.layout.runtime_main_thread)
    wanted = list(dict.fromkeys(idents))[:MAX_NAMED_THREADS]
    for _ in range(NATIVE_ID_ATTEMPTS):
        found = _agreed_ids(memory, {*wanted, main}, main)
        if found is not None:
            return {ident: found[ident] for ident in wanted if ident in found}
    return {}


def _agreed_ids(memory: Memory, idents: set[int], main: int) -> dict[int, int] | None:
    """Return ident -> native id, None if no place in the structs has them all or two places disagree."""
    # Threads start and end meanwhile: one that ran when its struct was read is in one of the lists.
    known = set(process.thread_ids(memory.pid))
    structs = _structs(memory, idents)
    known |= set(process.thread_ids(memory.pid))
    candidates = [_ids_at(structs, at, known) for at in range(PTHREAD_BYTES // 4)]
    # The main thread, when it is the one that Python calls so, leaves little to guess; else no thread may lack.
    native_main = process.namespace_pid(memory.pid)
    anchored = [found for found in candidates if found.get(main) == native_main]
    candidates = anchored or [found for found in candidates if len(found) == len(structs)]
    most = max(map(len, candidates), default=0)
    best = [found for found in candidates if len(found) == most]
    return best[0] if most and all(found == best[0] for found in best) else None


def _structs(memory: Memory, idents: Iterable[int]) -> dict[int, memoryview[int]]:
    """Return the 32-bit words of the `struct pthread` of each thread that can be read."""
    found = {}
    for ident in idents:
        with suppress(CorruptTarget):
            found[ident] = memoryview(memory.read(ident, PTHREAD_BYTES)).cast("I")
    return found


def _ids_at(structs: dict[int, memoryview[int]], at: int, known: set[int]) -> dict[int, int]:
    """Return what lies at one place of all structs; empty unless these are threads, each another one."""
    # The kernel puts 0 there when a thread ends.
    found = {ident: words[at] for ident, words in structs.items() if words[at]}
    values = set(found.values())
    return found if values <= known and len(values) == len(found) else {}


def os_name(pid: int, tid: int) -> str:
    """Return the name that the kernel has for a thread, at most 15 bytes, with whatever is in it; "" if it is gone.

    `tid` is the kernel's id in our pid namespace, see `process.thread_ids`. Raises `PermissionDenied`.
    """
    try:
        return process.thread_name(pid, tid)
    except TargetNotFound:
        return ""

"""Finding the CPython runtime in a process: its version, its build, the place of `_PyRuntime`, its `Layout`.

`find_runtime` reads the memory map, looks the symbol up in the file that the interpreter was loaded from, and
reads the version. Below it are the few walks through the runtime that happen once, in plain Python: the main
interpreter, its threads, the main thread.

Memory is read through a `Reader`, which raises `OSError` with an errno. It comes from a process that runs and
may be hostile: every list is walked with a limit and a check for cycles.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tachyscope.errors import (
    CorruptTarget,
    NotPython,
    TachyscopeError,
    TargetGone,
    TargetNotFound,
    UnsupportedPython,
)
from tachyscope.target import process
from tachyscope.target.binary import (
    Binary,
    FileFacts,
    Segment,
    Version,
    file_facts,
    is_libpython,
    load_bias,
    named_version,
)
from tachyscope.target.layouts import (
    ABSENT,
    Layout,
    debug_offsets,
    layout_for,
    require_known,
)
from tachyscope.target.process import Identity, Mapping

Reader = Callable[[int, int], bytes]
"""Reads memory of the target: (address, size in bytes) -> exactly that many bytes, or an `OSError`."""

MAX_THREADS = 1 << 16
MAX_INTERPRETERS = 1 << 16
MAX_SCAN_BYTES = 64 << 20
MAX_COOKIES = 1 << 8  # places in a file's data that look like debug offsets; good data has one
MAX_LIKELY_FILES = 1 << 4  # the executable and the libpythons of a process
MAX_OTHER_FILES = 1 << 12
MAX_ANALYSES = 1 << 12
LIST_ATTEMPTS = 5
EXEC_ATTEMPTS = 5

_SCAN_CHUNK_BYTES = 1 << 20
_ADDRESS_LIMIT = 1 << 64
_RELEASE_LEVELS = {0xA: "a", 0xB: "b", 0xC: "rc"}


@dataclass(frozen=True, slots=True)
class Runtime:
    """A CPython runtime in a process."""

    pid: int
    version: Version  # (major, minor)
    version_text: str  # "3.12.1", or "3.8" where no more is known
    debug: bool  # built with --with-pydebug
    free_threaded: bool  # built with --disable-gil
    address: int  # of _PyRuntime
    layout: Layout
    path: str  # of the file with the interpreter, as the target sees it
    device: int
    inode: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class ThreadState:
    """A `PyThreadState`."""

    address: int
    thread_id: int  # pthread id
    native_id: int  # kernel thread id in the target's pid namespace; 0 where not kept (3.8 to 3.10)


@dataclass(frozen=True, slots=True)
class _MappedFile:
    path: str
    mappings: tuple[Mapping, ...]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def is_code(self) -> bool:
        return any("x" in mapping.permissions for mapping in self.mappings)


class Memory:
    """A reader with our errors; `pid` is only for their text."""

    def __init__(self, pid: int, read: Reader) -> None:
        self.pid = pid
        self._read = read

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes; raises `TargetGone`, `PermissionDenied` or `CorruptTarget`."""
        if not 0 < address < _ADDRESS_LIMIT - size:
            raise CorruptTarget(f"process {self.pid} refers to the impossible address {address:#x}")
        try:
            data = self._read(address, size)
        except OSError as error:
            raise process.translate(error, self.pid, attached=True) from error
        if len(data) != size:
            raise process.translate(OSError(errno.EFAULT, "short read"), self.pid, attached=True)
        return data

    def word(self, address: int) -> int:
        """Return an unsigned 64-bit word."""
        return int.from_bytes(self.read(address, 8), "little")


# Finding the runtime


def find_runtime(pid: int, read: Reader) -> Runtime:
    """Find the CPython in a process, started or only just loaded.

    Raises `TargetNotFound`, `TargetGone` (also when it becomes another program meanwhile),
    `PermissionDenied`, `NotPython` (just after a start perhaps only not yet), `UnsupportedPython` or
    `CorruptTarget`.
    """
    identity = process.identity(pid)
    for _ in range(EXEC_ATTEMPTS):
        found = _try_to_find(pid, read, identity)
        before, identity = identity, _identity_of_known(pid)
        # A result from the middle of an exec, which is where a child begins, is about neither program.
        if identity == before:
            if isinstance(found, TachyscopeError):
                raise found
            return found
    raise TargetGone(f"process {pid} keeps becoming another program")


def _try_to_find(pid: int, read: Reader, identity: Identity) -> Runtime | TachyscopeError:
    try:
        return _find(Memory(pid, read), process.read_maps(pid), identity)
    except TachyscopeError as error:
        return error


def _identity_of_known(pid: int) -> Identity:
    try:
        return process.identity(pid)
    except TargetNotFound:
        raise TargetGone(f"process {pid} has ended") from None


def is_alive_and_same(runtime: Runtime) -> bool:
    """Return True while the process runs the same program with the same interpreter (not after an exec)."""
    if has_changed(runtime):
        return False
    try:
        mappings = process.read_maps(runtime.pid)
    except TachyscopeError:
        return False
    file = (runtime.device, runtime.inode)
    return any((mapping.device, mapping.inode) == file for mapping in mappings)


def has_changed(runtime: Runtime, stat: process.StatFile | None = None) -> bool:
    """Return True if the process has ended, or runs another program (after an exec); quicker than the above, and more
    so with its open `stat`."""
    try:
        return (stat.identity() if stat else process.identity(runtime.pid)) != runtime.identity
    except TachyscopeError as error:
        return isinstance(error, (TargetGone, TargetNotFound))  # else it cannot be told just now


def _find(memory: Memory, mappings: Sequence[Mapping], identity: Identity) -> Runtime:
    files = _mapped_files(mappings)
    if not files:
        raise NotPython(f"process {memory.pid} has no memory map", "it is a kernel thread or has ended")
    executable = process.executable(memory.pid)
    likely, others = _sorted_files(files, executable)
    search = _Search(memory, mappings, identity)
    for place in search.places(likely, others):
        return search.describe(*place)
    _reject_old_versions(likely)
    raise search.problem or NotPython(
        f"process {memory.pid} ({executable!r}) runs no CPython",
        f"none of the {len(files)} files mapped in it has the symbol _PyRuntime",
    )


def _mapped_files(mappings: Iterable[Mapping]) -> list[_MappedFile]:
    groups: dict[tuple[int, int, str], list[Mapping]] = {}
    for mapping in mappings:
        if mapping.is_file:
            groups.setdefault((mapping.device, mapping.inode, mapping.path), []).append(mapping)
    return [_MappedFile(path, tuple(group)) for (_, _, path), group in groups.items()]


def _sorted_files(files: list[_MappedFile], executable: str) -> tuple[list[_MappedFile], list[_MappedFile]]:
    """Return the executable and the libpythons, in this order as its symbols come first, and other code."""
    main, libraries, others = [], [], []
    for file in files:
        if file.path == executable:
            main.append(file)
        elif is_libpython(file.name):
            libraries.append(file)
        elif file.is_code:
            others.append(file)
    return (main + libraries)[:MAX_LIKELY_FILES], others[:MAX_OTHER_FILES]


def _reject_old_versions(files: Iterable[_MappedFile]) -> None:
    """Before 3.7 there was no _PyRuntime, but the name tells what it is."""
    for file in files:
        version = named_version(file.name)
        if version is not None:
            require_known(version)


class _Search:
    """One search of one process; `problem` is the first error that hid something."""

    def __init__(self, memory: Memory, mappings: Sequence[Mapping], identity: Identity) -> None:
        self._memory = memory
        self._mappings = mappings
        self._identity = identity
        self.problem: TachyscopeError | None = None

    def places(
        self, likely: Sequence[_MappedFile], others: Sequence[_MappedFile]
    ) -> Iterator[tuple[int, _MappedFile, FileFacts]]:
        """Yield where _PyRuntime may lie, the likeliest first."""
        analyses = [(file, self._analyse(file, thorough=True)) for file in likely]
        for file, analysis in analyses:
            yield from self._place(file, analysis)
        if any(analysis.needs_library for _, analysis in analyses) and not _has_library(likely):
            raise NotPython(f"process {self._memory.pid} has not loaded its libpython yet")
        for file in others:
            yield from self._place(file, self._analyse(file, thorough=False))
        for file, analysis in analyses:
            yield from ((address, file, analysis) for address in _scan_for_cookie(self._memory, file))

    def _analyse(self, file: _MappedFile, thorough: bool) -> FileFacts:
        try:
            return _analyse_mapped(self._memory.pid, file, thorough)
        except TachyscopeError as error:
            # What cannot be read matters only if it is likely to be the interpreter.
            if thorough and not isinstance(error, NotPython):
                self.problem = self.problem or error
            return FileFacts()

    def _place(self, file: _MappedFile, analysis: FileFacts) -> Iterator[tuple[int, _MappedFile, FileFacts]]:
        bias = load_bias(analysis.segments, file.mappings)
        if analysis.runtime is None or bias is None:
            return
        address = analysis.runtime + bias
        # While a library is being loaded, other parts of the file lie where its data will be.
        if any(place.start <= address < place.end and "w" in place.permissions for place in self._mappings):
            yield address, file, analysis

    def describe(self, address: int, file: _MappedFile, analysis: FileFacts) -> Runtime:
        """Return the runtime at an address, with its version and layout."""
        offsets = _read_debug_offsets(self._memory, address)
        if offsets is not None:
            version, text = offsets.version, _version_text(offsets.version_hex)
            layout = debug_offsets.layout_from(offsets)
        else:
            version, text = self._version(file, analysis)
            layout = layout_for(version)
            if analysis.trace_refs:
                raise UnsupportedPython(f"the target runs a CPython {text} built with --with-trace-refs")
        free_threaded = offsets is not None and offsets.free_threaded
        first = file.mappings[0]
        return Runtime(
            self._memory.pid, version, text, analysis.debug, free_threaded, address, layout, file.path,
            first.device, first.inode, self._identity,
        )  # fmt: skip

    def _version(self, file: _MappedFile, analysis: FileFacts) -> tuple[Version, str]:
        bias = load_bias(analysis.segments, file.mappings)
        if analysis.version_word is not None and bias is not None:
            word = self._memory.word(analysis.version_word + bias)
            if word >> 24 != 3:
                raise CorruptTarget(f"process {self._memory.pid} has the impossible Py_Version {word:#x}")
            return (3, word >> 16 & 0xFF), _version_text(word)
        if analysis.version is None:
            raise UnsupportedPython(f"the version of the CPython in {file.path!r} cannot be found out")
        major, minor = analysis.version
        return analysis.version, analysis.version_text or f"{major}.{minor}"


def _has_library(files: Iterable[_MappedFile]) -> bool:
    return any(is_libpython(file.name) for file in files)


def _read_debug_offsets(memory: Memory, address: int) -> debug_offsets.DebugOffsets | None:
    """Return the debug offsets at an address, or None if there is no cookie."""
    header = memory.read(address, debug_offsets.HEADER_SIZE_BYTES)
    if not header.startswith(debug_offsets.COOKIE):
        return None
    return debug_offsets.decode(memory.read(address, debug_offsets.size_bytes(header)))


def _scan_for_cookie(memory: Memory, file: _MappedFile) -> Iterator[int]:
    """Yield the addresses in the data of a file where valid debug offsets lie (3.13+): it may be stripped."""
    for address in islice(_cookies(memory, file), MAX_COOKIES):
        with suppress(CorruptTarget):
            if _read_debug_offsets(memory, address) is not None:
                yield address


def _cookies(memory: Memory, file: _MappedFile) -> Iterator[int]:
    left = MAX_SCAN_BYTES
    for mapping in file.mappings:
        end = min(mapping.end, mapping.start + left)
        if "w" not in mapping.permissions:
            continue
        left -= end - mapping.start
        for start in range(mapping.start, end, _SCAN_CHUNK_BYTES):
            data = memory.read(start, min(_SCAN_CHUNK_BYTES, end - start))
            # The structure is aligned, so the cookie cannot lie across two chunks.
            places = (start + match.start() for match in re.finditer(re.escape(debug_offsets.COOKIE), data))
            yield from (place for place in places if place % 8 == 0)


# Versions


def _version_text(version_hex: int) -> str:
    """Return PY_VERSION_HEX as text, such as "3.13.0rc2"."""
    text = f"{version_hex >> 24}.{version_hex >> 16 & 0xFF}.{version_hex >> 8 & 0xFF}"
    level = _RELEASE_LEVELS.get(version_hex >> 4 & 0xF)
    return text if level is None else f"{text}{level}{version_hex & 0xF}"


# Analysing files, once each

_analyses: dict[tuple[int, ...], FileFacts] = {}


def warm(executable: str | os.PathLike[str]) -> None:
    """Analyse an executable and its libpython before it is started, so that `find_runtime` need not.

    For the interpreter that runs this, no file is read. Never fails: what cannot be analysed now will be
    later.
    """
    with suppress(TachyscopeError, OSError):
        if Path(executable).samefile("/proc/self/exe") and _remember_own():
            return
        analysis = _analyse_path(os.fspath(executable))
        origin = str(Path(executable).resolve().parent)
        for directory in analysis.library_paths if analysis.needs_library else ():
            for path in Path(directory.replace("$ORIGIN", origin)).glob("libpython3.*.so.*"):
                _analyse_path(str(path))


def _analyse_mapped(pid: int, file: _MappedFile, thorough: bool) -> FileFacts:
    descriptor = process.open_mapped_file(pid, file.mappings[0])
    with _closing(descriptor):
        return _analyse(descriptor, file.path, thorough)


def _analyse_path(path: str) -> FileFacts:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with _closing(descriptor):
        return _analyse(descriptor, path, thorough=True)


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _analyse(descriptor: int, path: str, thorough: bool) -> FileFacts:
    """Return what a file says, from the cache if it has not changed; `thorough`: also unexported symbols."""
    key = (*_file_key(descriptor), thorough)
    if key not in _analyses:
        _remember(key, file_facts(Binary(descriptor, path), path.rpartition("/")[2], thorough))
    return _analyses[key]


def _file_key(descriptor: int) -> tuple[int, ...]:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _remember(key: tuple[int, ...], analysis: FileFacts) -> None:
    if len(_analyses) >= MAX_ANALYSES:
        _analyses.clear()
    _analyses[key] = analysis


def _remember_own() -> bool:
    """Put what we know about the interpreter that runs this into the cache, without reading its file."""
    import ctypes

    try:
        address = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    except (AttributeError, ValueError):
        return False
    mappings = process.read_maps(os.getpid())
    mapping = _file_mapping_at(mappings, address)
    if mapping is None:
        return False
    file = next(file for file in _mapped_files(mappings) if mapping in file.mappings)
    _remember_mapped(file, _own_analysis(file, address))
    for executable in _mapped_files(mappings):
        if executable.path == process.executable(os.getpid()) and executable != file:
            _remember_mapped(executable, FileFacts(needs_library=True))
    return True


def _own_analysis(file: _MappedFile, runtime: int) -> FileFacts:
    """Describe our own interpreter; "addresses in the file" count from where we have it mapped."""
    import ctypes

    base = file.mappings[0].start
    version_word: int | None = None
    with suppress(ValueError):
        version_word = ctypes.addressof(ctypes.c_ulong.in_dll(ctypes.pythonapi, "Py_Version")) - base
    return FileFacts(
        segments=tuple(_as_segment(mapping, base) for mapping in file.mappings),
        runtime=runtime - base,
        version_word=version_word,
        version=sys.version_info[:2],
        version_text=sys.version.partition(" ")[0],
        debug=hasattr(sys, "gettotalrefcount"),
        trace_refs=hasattr(sys, "getobjects"),
    )


def _as_segment(mapping: Mapping, base: int) -> Segment:
    size, permissions = mapping.end - mapping.start, mapping.permissions
    return Segment(mapping.start - base, mapping.offset, size, size, "x" in permissions, "w" in permissions)


def _file_mapping_at(mappings: Sequence[Mapping], address: int) -> Mapping | None:
    """Return the mapping of a file at an address, or the one whose zero-filled rest (.bss) lies there."""
    last: Mapping | None = None
    end = 0
    for mapping in mappings:
        if mapping.is_file:
            last = mapping
        elif mapping.start != end:
            last = None
        end = mapping.end
        if mapping.start <= address < end:
            return last
    return None


def _remember_mapped(file: _MappedFile, analysis: FileFacts) -> None:
    with _closing(descriptor := process.open_mapped_file(os.getpid(), file.mappings[0])):
        key = _file_key(descriptor)
    for thorough in (True, False):
        _remember((*key, thorough), analysis)


# Walking the runtime


def main_interpreter(runtime: Runtime, read: Reader) -> int:
    """Return the address of the main interpreter's `PyInterpreterState`, 0 while there is none."""
    memory, layout = Memory(runtime.pid, read), runtime.layout
    if layout.runtime_interp_main != ABSENT:
        return memory.word(runtime.address + layout.runtime_interp_main)
    head = memory.word(runtime.address + layout.runtime_interp_head)
    for interpreter in _walk(memory, head, layout.interp_next, MAX_INTERPRETERS):
        if memory.word(interpreter + layout.interp_id) == 0:
            return interpreter
    return 0


def interpreters(runtime: Runtime, read: Reader) -> list[tuple[int, int, int]]:
    """Return every interpreter, newest first: its address, that of its GIL (0 where there is none), and that of the
    word which says that its garbage collector runs."""
    memory, layout = Memory(runtime.pid, read), runtime.layout
    head = memory.word(runtime.address + layout.runtime_interp_head)
    found = []
    for interpreter in _walk(memory, head, layout.interp_next, MAX_INTERPRETERS):
        gil = 0
        if layout.runtime_gil != ABSENT:
            gil = runtime.address + layout.runtime_gil
        elif not runtime.free_threaded:
            gil = memory.word(interpreter + layout.interp_gil)
        if layout.runtime_collecting != ABSENT:
            collecting = runtime.address + layout.runtime_collecting
        else:
            collecting = interpreter + layout.interp_collecting
        found.append((interpreter, gil, collecting))
    return found


def threads(runtime: Runtime, read: Reader, interpreter: int) -> list[ThreadState]:
    """Return the thread states of an interpreter, newest first.

    Threads come and go while the list is read; a list that makes no sense is read again before that is an
    error.
    """
    memory = Memory(runtime.pid, read)
    for _ in range(LIST_ATTEMPTS - 1):
        with suppress(CorruptTarget):
            return _read_threads(memory, runtime.layout, interpreter)
    return _read_threads(memory, runtime.layout, interpreter)


def main_thread(runtime: Runtime, read: Reader) -> int:
    """Return the address of the main thread's `PyThreadState`, 0 while there is none.

    Without any sign of which it is, that is the oldest of the main interpreter.
    """
    interpreter = main_interpreter(runtime, read)
    found = threads(runtime, read, interpreter) if interpreter else []
    if not found:
        return 0
    if runtime.layout.runtime_main_thread != ABSENT:
        wanted = Memory(runtime.pid, read).word(runtime.address + runtime.layout.runtime_main_thread)
        matching = [thread.address for thread in found if thread.thread_id == wanted]
    else:
        wanted = process.namespace_pid(runtime.pid)
        matching = [thread.address for thread in found if thread.native_id == wanted]
    return (matching or [found[-1].address])[-1]


def _read_threads(memory: Memory, layout: Layout, interpreter: int) -> list[ThreadState]:
    head = memory.word(interpreter + layout.interp_thread_head)
    result = []
    for address in _walk(memory, head, layout.thread_next, MAX_THREADS):
        if memory.word(address + layout.thread_interp) != interpreter:
            raise CorruptTarget(f"process {memory.pid} has a thread state of no interpreter at {address:#x}")
        native_id = 0
        if layout.thread_native_id != ABSENT:
            native_id = memory.word(address + layout.thread_native_id)
        result.append(ThreadState(address, memory.word(address + layout.thread_id), native_id))
    return result


def _walk(memory: Memory, head: int, next_offset: int, limit: int) -> Iterator[int]:
    """Yield the addresses in a linked list; `CorruptTarget` for a cycle or more than `limit`."""
    seen: set[int] = set()
    address = head
    while address:
        if address in seen or len(seen) >= limit:
            raise CorruptTarget(f"process {memory.pid} has an endless list at {head:#x}")
        seen.add(address)
        yield address
        address = memory.word(address + next_offset)

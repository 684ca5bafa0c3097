"""What the operating system knows about a process: its memory map, its names, whether it is there.

Everything is read from /proc, which is quicker than any library for the few facts needed. A process can end
between two reads, so every function may raise `TargetNotFound`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tachyscope.errors import CorruptTarget, PermissionDenied, TachyscopeError, TargetGone, TargetNotFound
from tachyscope.target import permissions

MAX_FILE_BYTES = 64 << 20
"""No file under /proc that is read here comes near this size (a memory map takes about 100 bytes a line)."""

MAX_STAT_BYTES = 4096

_GONE = (errno.ENOENT, errno.ESRCH, errno.ENOTDIR)
_DENIED = (errno.EACCES, errno.EPERM)
_DELETED = " (deleted)"
_MAP_LINE = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([-rwxsp]{4}) ([0-9a-f]{1,16})"  # addresses and the offset have 64 bits
    rb" ([0-9a-f]{1,3}):([0-9a-f]{1,5}) (\d{1,20}) *([^\0]*)"  # a device number has 12 + 20 bits
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of /proc/PID/maps; addresses and the offset in the file in bytes."""

    start: int
    end: int
    permissions: str  # such as "r-xp"
    offset: int
    device: int  # as os.stat_result.st_dev
    inode: int  # 0: no file
    path: str  # as the target sees it; "" for anonymous memory, "[heap]" and the like for special memory
    deleted: bool  # the file was removed or replaced since it was mapped

    @property
    def is_file(self) -> bool:
        """True for the mapping of a file with a path."""
        return self.inode != 0 and self.path.startswith("/")


@dataclass(frozen=True, slots=True)
class Identity:
    """Tells a program run from any other: the same pid after exec, or reused, has another identity."""

    started_ticks: int  # when the process started, in clock ticks after boot
    stack_start: int  # where its stack starts: random for each exec; 0 when we may not know


def read_maps(pid: int) -> tuple[Mapping, ...]:
    """Return the memory mappings of a process in order of address; none for a kernel thread or a zombie."""
    mappings = (_parse_mapping(line) for line in _lines(pid, "maps"))
    return tuple(mapping for mapping in mappings if mapping is not None)


def _parse_mapping(line: bytes) -> Mapping | None:
    match = _MAP_LINE.fullmatch(line)
    if match is None:
        return None
    start, end, offset = (int(match[group], 16) for group in (1, 2, 4))
    if start >= end:
        return None
    device = os.makedev(int(match[5], 16), int(match[6], 16))
    # The kernel writes a newline in a path as this escape and leaves everything else as it is.
    path = os.fsdecode(match[8].replace(b"\\012", b"\n"))
    deleted = path.endswith(_DELETED)
    path = path.removesuffix(_DELETED)
    return Mapping(start, end, match[3].decode(), offset, device, int(match[7]), path, deleted)


def command_line(pid: int) -> tuple[str, ...]:
    """Return the arguments the process was started with; empty for a kernel thread or a zombie."""
    raw = _read(pid, "cmdline").removesuffix(b"\0")
    return tuple(part.decode("utf-8", "replace") for part in raw.split(b"\0")) if raw else ()


def namespace_pid(pid: int) -> int:
    """Return the pid that the process itself sees: that of its innermost pid namespace."""
    return _namespace_ids(pid, "status")[-1]


def thread_ids(pid: int) -> dict[int, int]:
    """Return the id of each thread in the process's innermost pid namespace, with the id that we know it by."""
    try:
        tids = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    except OSError as error:
        raise translate(error, pid) from None
    if len(_namespace_ids(pid, "status")) == 1:  # all threads of a process are in the same namespaces
        return dict(zip(tids, tids, strict=True))
    found = {}
    for tid in tids:
        with suppress(TargetNotFound):
            found[_namespace_ids(pid, f"task/{tid}/status")[-1]] = tid
    return found


def _namespace_ids(pid: int, name: str) -> list[int]:
    """Return the ids in a status file: in our namespace, in the next one below it, and so on."""
    return _ids(pid, name, b"NSpid:") or [pid]  # a kernel without pid namespaces


def _ids(pid: int, name: str, field: bytes) -> list[int]:
    """Return the numbers of a field in a status file, none if it is not there."""
    for line in _lines(pid, name):
        if line.startswith(field):
            return [int(word) for word in line.split()[1:]]
    return []


def open_stat(pid: int, tid: int = 0) -> int:
    """Return a descriptor of the file in which the kernel says what a thread does, by default the main one."""
    try:
        return os.open(f"/proc/{pid}/task/{tid or pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise translate(error, pid) from None


def thread_name(pid: int, tid: int) -> str:
    """Return the name the kernel has for a thread, at most 15 bytes."""
    return _read(pid, f"task/{tid}/comm").rstrip(b"\n").decode("utf-8", "replace")


def unstoppable(pid: int, number: int) -> TachyscopeError:
    """Return the error for a thread of process `pid` that the kernel does not let us stop: it refused with errno
    `number`."""
    tracer = 0
    with suppress(TachyscopeError):
        tracer = sum(_ids(pid, "status", b"TracerPid:"))
    if tracer:
        return PermissionDenied(
            f"process {pid} cannot be stopped, as process {tracer} traces it",
            "leave out --blocking, or end that debugger",
        )
    cause = f"stopping process {pid} is not permitted ({os.strerror(number)})"
    return PermissionDenied(cause, f"leave out --blocking, or see tachyscope doctor {pid}")


def exists(pid: int) -> bool:
    """Return True while the process runs; a zombie, which only waits to be reaped, does not."""
    try:
        return _stat_fields(pid)[0] not in (b"Z", b"X", b"x")
    except TargetNotFound:
        return False
    except PermissionDenied:
        return True


def identity(pid: int) -> Identity:
    """Return what tells this run of a program from another under the same pid."""
    return _identity(pid, _stat_fields(pid))


def _identity(pid: int, fields: list[bytes]) -> Identity:
    if fields[0] in (b"Z", b"X", b"x"):
        raise TargetGone(f"process {pid} has ended")
    return Identity(started_ticks=int(fields[19]), stack_start=int(fields[25]))


class StatFile:
    """The file that says what a process is, kept open for who asks often: a third of the time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = open_stat(pid)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def identity(self) -> Identity:
        """Return and raise what the function of this name does."""
        try:
            text = os.pread(self._descriptor, MAX_STAT_BYTES, 0)
        except OSError as error:
            raise translate(error, self._pid) from None
        return _identity(self._pid, _split_stat(self._pid, text))


def _stat_fields(pid: int) -> list[bytes]:
    return _split_stat(pid, _read(pid, "stat"))


def _split_stat(pid: int, text: bytes) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third (the state) on; before it stands any name."""
    fields = text.rpartition(b") ")[2].split()
    if len(fields) < 26:
        raise TargetNotFound(f"there is no process {pid}")
    return fields


def executable(pid: int) -> str:
    """Return the path of the executable as the target sees it."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(_DELETED)
    except OSError as error:
        raise translate(error, pid) from None


def open_mapped_file(pid: int, mapping: Mapping) -> int:
    """Open the very file that is mapped, even when deleted or replaced since; return a descriptor to close.

    Raises `PermissionDenied`, or `TargetNotFound` if neither the file nor the process can be reached.
    """
    first_error: OSError | None = None
    for path, trusted in _ways_to(pid, mapping):
        try:
            descriptor = _open_same(path, mapping, trusted)
        except OSError as error:
            # A refusal says more than the absence of the other ways.
            if first_error is None or (error.errno in _DENIED and first_error.errno not in _DENIED):
                first_error = error
            continue
        if descriptor is not None:
            return descriptor
    if first_error is not None and first_error.errno in _DENIED:
        raise translate(first_error, pid)
    raise TargetNotFound(f"the file {mapping.path!r} mapped by process {pid} can no longer be opened")


def _ways_to(pid: int, mapping: Mapping) -> list[tuple[str, bool]]:
    """Return paths to the mapped file, and whether each leads to it without any doubt."""
    ways = [(f"/proc/{pid}/root{mapping.path}", False)]
    ways.append((f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}", True))
    return [*ways, (f"/proc/{pid}/exe", False)]


def _open_same(path: str, mapping: Mapping, trusted: bool) -> int | None:
    # O_NONBLOCK: a pipe put in place of the file must not keep us waiting.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and (trusted or _is_same(facts, mapping)):
        return descriptor
    os.close(descriptor)
    return None


def _is_same(facts: os.stat_result, mapping: Mapping) -> bool:
    if facts.st_ino != mapping.inode:
        return False
    # btrfs and overlayfs show another device in a memory map than in stat; then the inode of a file that was
    # not replaced has to do. Such devices have the major number 0.
    unreliable = os.major(mapping.device) == 0 and not mapping.deleted
    return facts.st_dev == mapping.device or unreliable


def translate(error: OSError, pid: int, attached: bool = False) -> TachyscopeError:
    """Return our error for one of the operating system about process `pid`.

    `attached` says that the process was there before, so its absence is news and not the user's mistake.
    """
    if error.errno in _DENIED:
        return PermissionDenied(f"reading process {pid} is not permitted", permissions.remedy(pid))
    if error.errno in _GONE:
        return TargetGone(f"process {pid} has ended") if attached else _not_found(pid)
    if attached and not exists(pid):
        return TargetGone(f"process {pid} has ended")
    return CorruptTarget(f"process {pid} cannot be read", os.strerror(error.errno or errno.EIO))


def _not_found(pid: int) -> TargetNotFound:
    return TargetNotFound(f"there is no process {pid}", "ps lists the processes that run")


def _lines(pid: int, name: str) -> list[bytes]:
    """Return the lines of a file; not by `splitlines`, as the kernel lets a return in a path or a name be."""
    return _read(pid, name).split(b"\n")


def _read(pid: int, name: str) -> bytes:
    try:
        with Path(f"/proc/{pid}/{name}").open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise translate(error, pid) from None

"""The public Python API: attach or launch, sample for a time, get a `Profile`, export it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tachyscope.errors import TargetGone, UsageError
from tachyscope.formats import FORMATS
from tachyscope.formats.files import render, write_whole
from tachyscope.profile.model import Profile
from tachyscope.profile.modes import Mode
from tachyscope.sampling.options import Sampling
from tachyscope.sampling.session import Session
from tachyscope.target import launch as _launch

DEFAULT_INTERVAL_US = 100.0


def attach(
    pid: int,
    *,
    interval_us: float = DEFAULT_INTERVAL_US,
    all_threads: bool = False,
    mode: str = "wall",
    gc: bool = True,
    native: bool = False,
    opcodes: bool = False,
    blocking: bool = False,
    check: bool = False,
    subprocesses: bool = False,
) -> Session:
    """Return a session for the running process `pid`, to be sampled every `interval_us` microseconds.

    The main thread is sampled, or `all_threads` of all interpreters. `mode` says which samples count: all ("wall"),
    those of threads on a CPU ("cpu"), that hold the GIL ("gil"), or with an exception that is being raised or handled
    ("exception"). With `gc` a thread that collects garbage has a frame `<GC>`, with `native` C code that Python has
    called has a frame `<native>`: as the leaf, and from 3.11 on where it has called Python again. With `opcodes` every
    frame tells its bytecode instruction. With `blocking` the thread that has the GIL is stopped by ptrace while a
    sample is read. With `check` (wall mode, not `blocking`) it is stopped for some 20 samples a second, which
    `Session.comparison` compares with the others. With `subprocesses` all Python descendants are sampled, too: see
    `Session.profiles`.

    Raises `TargetNotFound`, `PermissionDenied`, `NotPython`, `UnsupportedPython` or `CorruptTarget`; with `blocking`
    the session's `sample` raises `PermissionDenied`, too.
    """
    sampling = Sampling(
        _interval_ns(interval_us), all_threads, _mode(mode), gc, native, opcodes, blocking, check, subprocesses
    )
    session = Session(pid, sampling)
    session.attach()
    return session


def launch(
    command: Sequence[str],
    *,
    interval_us: float = DEFAULT_INTERVAL_US,
    all_threads: bool = False,
    mode: str = "wall",
    gc: bool = True,
    native: bool = False,
    opcodes: bool = False,
    blocking: bool = False,
    check: bool = False,
    subprocesses: bool = False,
) -> Session:
    """Start `command`, which runs Python, and return a session for it once its interpreter can be read.

    The options are those of `attach`.

    Raises `TargetNotFound` if it cannot be started, `TargetGone` if it ended without running Python.
    """
    if isinstance(command, str) or not command:
        raise UsageError("launch needs a command as a list of words", 'for example ["python", "app.py"]')
    sampling = Sampling(
        _interval_ns(interval_us), all_threads, _mode(mode), gc, native, opcodes, blocking, check, subprocesses
    )
    process = _launch.start(list(command))
    session = Session(process.pid, sampling, process)
    try:
        if not session.wait():
            raise TargetGone(f"{command[0]!r} ended before its Python could be read")
    except BaseException:
        session.close()
        raise
    return session


def export(profile: Profile, name: str, path: str | Path, **options: object) -> None:
    """Write a profile to the file `path` in the format `name`, one of `tachyscope.formats.FORMATS`.

    `options` are the fields of the format's options, such as `lines=True`. The file appears whole or not at all.
    Raises `UsageError` for an unknown format or option, `OutputError` if the file cannot be written.
    """
    if name not in FORMATS:
        raise UsageError(f"no format {name!r}", f"there are {', '.join(FORMATS)}")
    try:
        content = render(name, profile, options)
    except TypeError as error:
        raise UsageError(f"format {name!r} does not have these options", str(error)) from None
    write_whole(Path(path), content)


def _mode(name: str) -> Mode:
    if name.upper() not in Mode.__members__:
        raise UsageError(f"no mode {name!r}", f"there are {', '.join(Mode.__members__).lower()}")
    return Mode[name.upper()]


def _interval_ns(interval_us: float) -> int:
    if not 1 <= interval_us <= 3.6e9:
        raise UsageError(f"interval_us is {interval_us}", "it must be at least 1 microsecond and at most an hour")
    return round(interval_us * 1000)


__all__ = ["Session", "attach", "export", "launch"]

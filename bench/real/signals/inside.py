"""Installs the sampler in the process that is to be sampled. Runs on CPython 3.8 to 3.15, standard library only.

Load it by its path: the package around it is for the host's Python.
"""

from __future__ import annotations

import ctypes
import os

SHORTEST_INTERVAL_US = 20  # below, the program would hardly run between two signals
DEFAULT_MEGABYTES = 32


def install(library_path: str, output_path: str, interval_us: float, megabytes: int = DEFAULT_MEGABYTES) -> None:
    """Be ready to be sampled; call it once, in the main thread. Nothing happens until a start signal.

    It makes two files: `output_path`, into which samples go and which should lie in memory (/dev/shm), so that no
    handler waits for a disk; and the pipe `output_path + ".done"`, on which each command is answered.
    """
    if interval_us < SHORTEST_INTERVAL_US:
        raise ValueError(f"an interval of {interval_us} us is too short: at least {SHORTEST_INTERVAL_US}")
    if len(os.sched_getaffinity(0)) != 1:  # where the timer fires on another CPU, the signal comes late
        raise ValueError("keep the process to one CPU before the signal sampler is installed: os.sched_setaffinity")
    library = ctypes.PyDLL(os.fspath(library_path))  # it keeps the GIL
    library.install.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64]
    size = megabytes << 20
    output = os.open(output_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(output, 0, size)
        os.mkfifo(output_path + ".done", 0o600)
        answers = os.open(output_path + ".done", os.O_RDWR | os.O_NONBLOCK)
        status = library.install(output, answers, round(1000 * interval_us), size)
    finally:
        os.close(output)
    if status != 0:
        raise OSError(status, "the signal sampler cannot be installed: " + os.strerror(status))

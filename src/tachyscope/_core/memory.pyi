"""Batched reads of another process's memory: the only door between the profiler and its target."""

from typing import final

@final
class Reader:
    """Reads the memory of process `pid`: call it with (address, size in bytes) to get exactly so many bytes.

    Raises `OSError` with the kernel's errno: ESRCH (gone), EPERM (not permitted), EFAULT (not mapped).
    """

    def __new__(cls, pid: int) -> Reader: ...
    def __call__(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`."""

    @property
    def pid(self) -> int:
        """The process id."""

    @property
    def by_file(self) -> bool:
        """Whether `/proc/PID/mem` is read, as the system call is missing or refused."""

    @property
    def refusal(self) -> int:
        """The errno with which the system call was refused; 0 if it was not."""

    @property
    def fd(self) -> int:
        """File descriptor of `/proc/PID/mem`, -1 where the system call is used."""

    def use_file(self) -> None:
        """Read through `/proc/PID/mem` from now on; `OSError` if it cannot be opened."""

    def close(self) -> None:
        """Give back the file descriptor, if one was needed."""

def floor_rate(pid: int, ranges: list[tuple[int, int]], seconds: float) -> float:
    """Read `ranges`, (address, size in bytes), over and over in one call each; return the calls per second.

    Raises `OSError` with the kernel's errno.
    """

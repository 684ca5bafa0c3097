"""The descendants of a process, found soon after they are made."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MAX_PROCESSES = 1 << 16


class Tree:
    """The descendants of `root`, those whose parents have ended meanwhile, too, if they were seen before."""

    def __init__(self, root: int) -> None:
        self._living = {root}
        self._kernel_tells = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists()

    def new(self) -> list[int]:
        """Look once; return the processes that were not there before. Those that have ended are forgotten."""
        found: list[int] = []
        pending = list(self._living)
        while pending and len(self._living) < MAX_PROCESSES:
            children = self._children(pending.pop())
            if children is None:
                continue
            fresh = [child for child in children if child not in self._living]
            self._living.update(fresh)
            found += fresh
            pending += fresh
        return found

    def _children(self, pid: int) -> list[int] | None:
        """Return the children of a process, None and forget it if it has ended."""
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            self._living.discard(pid)
            return None
        except OSError:  # too many open files: the next look may do better
            return None
        if not self._kernel_tells:
            return self._children_by_parent(pid)
        children: list[int] = []
        for task in tasks:
            with suppress(OSError, ValueError), open(task / "children", "rb", buffering=0) as file:
                children += map(int, file.read().split())
        return children

    def _children_by_parent(self, pid: int) -> list[int]:
        """The slow way, for kernels that do not list children: ask every process who its parent is."""
        children = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError, ValueError, IndexError), open(entry / "stat", "rb") as file:
                    if int(file.read().rpartition(b") ")[2].split()[1]) == pid:
                        children.append(int(entry.name))
        return children

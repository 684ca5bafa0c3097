"""What this machine, user and target allow a profiler, and what lifts each obstacle.

`gather` collects facts from /proc; `blockers` turns facts into obstacles, each with its remedies. The rules are the
kernel's ptrace access check (man 2 ptrace, "Ptrace access mode checking"), which guards all ways to read another
process's memory.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CAP_SYS_PTRACE = 19
SECCOMP_MODES = ("off", "strict", "filter")
YAMA_RESTRICTED, YAMA_ADMIN_ONLY, YAMA_NONE = 1, 2, 3

SHELL, DOCKER, KUBERNETES, SYSTEMD = "shell", "docker", "kubernetes", "systemd"

_CAPABILITY = {
    DOCKER: "docker run --cap-add=SYS_PTRACE ...",
    KUBERNETES: "kubectl debug -it POD --image=IMAGE --target=CONTAINER --profile=sysadmin",
    SYSTEMD: "AmbientCapabilities=CAP_SYS_PTRACE",
}
_UNFILTERED = {
    DOCKER: "docker run --security-opt seccomp=unconfined ...",
    KUBERNETES: "securityContext: {seccompProfile: {type: Unconfined}}",
    SYSTEMD: "SystemCallFilter=process_vm_readv",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about ourselves and, if there is one, the target; None where /proc does not say."""

    user: int  # effective user id
    can_ptrace: bool  # CAP_SYS_PTRACE in our user namespace
    seccomp: int  # index in SECCOMP_MODES
    yama: int | None  # kernel.yama.ptrace_scope; None without Yama
    container: bool  # we seem to run inside one
    refusal: int = 0  # errno with which the kernel refused process_vm_readv on ourselves; 0 if it did not
    pid: int = 0  # of the target; 0 without one
    target_users: tuple[int, ...] = ()  # its real, effective, saved user ids
    same_user_namespace: bool | None = None
    dumpable: bool = True  # false if it hides from its own user
    descendant: bool = False  # we started it, or something that we started


@dataclass(frozen=True, slots=True)
class Blocker:
    """One obstacle, what it is in one line, and a command or manifest line per place that lifts it."""

    cause: str
    remedies: Mapping[str, str] = field(default_factory=dict)
    fatal: bool = True  # false: slower or less, but not impossible


def gather(pid: int = 0, refusal: int = 0) -> Facts:
    """Collect the facts; raises nothing: what cannot be read is what it is for most processes."""
    own = _status("self")
    users = tuple(int(word) for word in _status(str(pid)).get("Uid", "").split()[:3]) if pid else ()
    return Facts(
        user=os.geteuid(),
        can_ptrace=bool(int(own.get("CapEff", "0"), 16) >> CAP_SYS_PTRACE & 1),
        seccomp=min(int(own.get("Seccomp", "0")), len(SECCOMP_MODES) - 1),
        yama=_yama(),
        container=_in_container(),
        refusal=refusal,
        pid=pid,
        target_users=users,
        same_user_namespace=_same_user_namespace(pid) if pid else None,
        dumpable=_dumpable(pid, users) if pid else True,
        descendant=_descends(pid) if pid else False,
    )


def blockers(facts: Facts) -> Iterator[Blocker]:
    """Yield the obstacles, those that stop everything first."""
    if facts.refusal in (errno.ENOSYS, errno.EPERM):
        cause = f"process_vm_readv is refused ({os.strerror(facts.refusal)}), seccomp is {SECCOMP_MODES[facts.seccomp]}"
        yield Blocker(f"{cause}: memory is read through /proc/PID/mem, which is slower", _UNFILTERED, fatal=False)
    if facts.same_user_namespace is False and not (facts.user == 0 and not facts.container):
        yield Blocker(
            f"process {facts.pid} is in another user namespace, where your capabilities do not count",
            {SHELL: f"run tachyscope outside of the container, as root: {_as_root(facts)}", **_CAPABILITY},
        )
    if facts.can_ptrace:
        return
    if facts.pid and any(user != facts.user for user in facts.target_users):
        owner = facts.target_users[0]
        yield Blocker(
            f"process {facts.pid} runs as user {owner}, you are user {facts.user} without CAP_SYS_PTRACE",
            {SHELL: _as_root(facts), **_CAPABILITY},
        )
    elif facts.pid and not facts.dumpable:
        yield Blocker(
            f"process {facts.pid} hides its memory from its own user (not dumpable: setuid, or prctl)",
            {SHELL: _as_root(facts), **_CAPABILITY},
        )
    if facts.yama and not (facts.yama == YAMA_RESTRICTED and facts.descendant):
        yield _yama_blocker(facts)


def _yama_blocker(facts: Facts) -> Blocker:
    scope = f"kernel.yama.ptrace_scope is {facts.yama}"
    if facts.yama == YAMA_NONE:
        return Blocker(f"{scope}: nobody may read another process until the next start of the machine")
    who = "its own descendants" if facts.yama == YAMA_RESTRICTED else "administrators"
    lift = "sysctl kernel.yama.ptrace_scope=0"
    return Blocker(
        f"{scope}: without CAP_SYS_PTRACE it lets {'a process read only ' if facts.yama == 1 else 'only '}{who}"
        + ("" if facts.yama == YAMA_RESTRICTED else " read other processes"),
        {
            SHELL: f"{_as_root(facts)}, or for all your processes: sudo {lift}",
            DOCKER: f"on the host: {lift}; or {_CAPABILITY[DOCKER]}",
            KUBERNETES: f"on the node: {lift}; or {_CAPABILITY[KUBERNETES]}",
            SYSTEMD: _CAPABILITY[SYSTEMD],
        },
    )


def remedy(pid: int) -> str:
    """Return one line for an error message: what stands in the way of reading `pid`, and what lifts it here."""
    facts = gather(pid)
    for blocker in blockers(facts):
        if blocker.fatal:
            here = blocker.remedies.get(DOCKER if facts.container else SHELL, "")
            return f"{blocker.cause}; {here + '; ' if here else ''}more: tachyscope doctor {pid}"
    return (
        "perhaps a security module or a container forbids it; run tachyscope as root outside of containers, or start "
        f"the container with --cap-add=SYS_PTRACE; more: tachyscope doctor {pid}"
    )


def _as_root(facts: Facts) -> str:
    return f"sudo tachyscope attach {facts.pid or 'PID'}"


# Facts


def _status(pid: str) -> dict[str, str]:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def _yama() -> int | None:
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    return None


def _in_container() -> bool:
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "KUBERNETES_SERVICE_HOST" in os.environ:
        return True
    with suppress(OSError):
        return re.search(r"docker|kubepods|containerd|lxc", Path("/proc/1/cgroup").read_text()) is not None
    return False


def _same_user_namespace(pid: int) -> bool | None:
    with suppress(OSError):
        return Path(f"/proc/{pid}/ns/user").stat().st_ino == Path("/proc/self/ns/user").stat().st_ino
    return None


def _dumpable(pid: int, users: tuple[int, ...]) -> bool:
    """The kernel gives the files of a process that is not dumpable to root."""
    with suppress(OSError):
        return not users or Path(f"/proc/{pid}/mem").stat().st_uid == users[1]
    return True


def _descends(pid: int) -> bool:
    for _ in range(1 << 10):
        parent = _status(str(pid)).get("PPid", "0")
        if int(parent or 0) == os.getpid():
            return True
        pid = int(parent or 0)
        if pid <= 1:
            return False
    return False

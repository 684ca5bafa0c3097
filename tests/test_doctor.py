"""What stands in the way of reading a process, what lifts it, and reading without the quick system call."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import READY_TIMEOUT_SECONDS, WAITING, spawn, spawn_target, tachyscope
from test_cli_errors import as_nobody, assert_refused, needs_root

from tachyscope.target.permissions import DOCKER, KUBERNETES, SHELL, SYSTEMD, Facts, blockers, gather, remedy

PID = 4711
ALL_PLACES = {SHELL, DOCKER, KUBERNETES, SYSTEMD}
OWN = Facts(user=1000, can_ptrace=False, seccomp=0, yama=None, container=False)
TARGET = replace(OWN, pid=PID, target_users=(1000, 1000, 1000), same_user_namespace=True)
ROOT = replace(TARGET, user=0, can_ptrace=True)

# Facts, words of the only blocker's cause, whether it is fatal; no words: nothing is in the way.
CASES: dict[str, tuple[Facts, tuple[str, ...], bool]] = {
    "own-process": (TARGET, (), True),
    "no-target": (OWN, (), True),
    "root": (ROOT, (), True),
    "root-whatever-yama-says": (replace(ROOT, yama=2), (), True),
    "capability-without-root": (replace(TARGET, can_ptrace=True, target_users=(0, 0, 0)), (), True),
    "another-user": (replace(TARGET, target_users=(0, 0, 0)), ("user 0", "user 1000"), True),
    "one-other-id": (replace(TARGET, target_users=(1000, 0, 0)), ("user 1000",), True),
    "not-dumpable": (replace(TARGET, dumpable=False), ("not dumpable",), True),
    "yama-1": (replace(TARGET, yama=1), ("ptrace_scope is 1", "descendants"), True),
    "yama-1-own-child": (replace(TARGET, yama=1, descendant=True), (), True),
    "yama-2-own-child": (replace(TARGET, yama=2, descendant=True), ("ptrace_scope is 2", "administrators"), True),
    "yama-3": (replace(TARGET, yama=3), ("ptrace_scope is 3", "next start"), True),
    "seccomp": (replace(ROOT, refusal=errno.EPERM, seccomp=2), ("seccomp is filter", "/proc/PID/mem"), False),
    "old-kernel": (replace(ROOT, refusal=errno.ENOSYS), ("process_vm_readv",), False),
    "user-namespace": (replace(ROOT, container=True, same_user_namespace=False), ("user namespace",), True),
    "user-namespace-from-outside": (replace(ROOT, same_user_namespace=False), (), True),
}

WITHOUT_SYSTEM_CALL = """
import ctypes, os, struct, sys
load, jump, back = 0x20, 0x15, 0x06  # of a word; if equal; return
def step(code, yes, no, value):
    return struct.pack("HBBI", code, yes, no, value)
steps = [step(load, 0, 0, 0), step(jump, 0, 1, 310), step(back, 0, 0, 0x50000 | 1), step(back, 0, 0, 0x7FFF0000)]
filters = ctypes.create_string_buffer(b"".join(steps))
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(filters))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.executable, [sys.executable, "-m", "tachyscope", *sys.argv[1:]])
"""
"""The command line under a seccomp filter that refuses process_vm_readv (x86-64) with EPERM."""

needs_x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter is for x86-64")


def filtered(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_SYSTEM_CALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=READY_TIMEOUT_SECONDS)


@pytest.mark.parametrize("case", CASES)
def test_blockers(case: str) -> None:
    facts, words, fatal = CASES[case]
    found = list(blockers(facts))
    assert bool(found) == bool(words)
    if words:
        (blocker,) = found
        assert all(word in blocker.cause for word in words), blocker
        assert blocker.fatal == fatal
        assert "\n" not in blocker.cause


def test_remedies_name_every_place_and_the_process() -> None:
    for facts in (replace(TARGET, target_users=(0, 0, 0)), replace(TARGET, yama=1)):
        (blocker,) = blockers(facts)
        assert set(blocker.remedies) == ALL_PLACES
        assert f"sudo tachyscope attach {PID}" in blocker.remedies[SHELL]
        assert "--cap-add=SYS_PTRACE" in blocker.remedies[DOCKER]


def test_facts_of_ourselves_and_a_child() -> None:
    with spawn([sys.executable, "-c", WAITING]) as target:
        facts = gather(target.pid)
    assert facts.user == os.geteuid()
    assert facts.target_users[0] == os.getuid()
    assert facts.same_user_namespace
    assert facts.dumpable
    assert facts.descendant
    assert not gather(os.getppid()).descendant


def test_a_process_that_is_gone_blocks_nothing() -> None:
    facts = gather((1 << 22) + 1)
    assert facts.target_users == ()
    assert "doctor" in remedy((1 << 22) + 1) or facts.yama


@needs_root
def test_doctor_on_a_machine_without_obstacles() -> None:
    run = tachyscope("doctor")
    assert (run.returncode, run.stderr) == (0, ""), run
    assert "with CAP_SYS_PTRACE" in run.stdout
    assert run.stdout.endswith("result   other processes can be profiled\n")


@needs_root
def test_doctor_of_a_python(python: Path) -> None:
    with spawn_target(python, WAITING) as target:
        run = tachyscope("doctor", str(target.pid))
        assert (run.returncode, run.stderr) == (0, ""), run
        assert re.search(rf"process  {target.pid}: CPython 3\.\d+\.\d+.* in /.*, 1 threads", run.stdout), run.stdout
        assert f"process {target.pid} can be profiled" in run.stdout


@needs_root
def test_doctor_of_what_is_no_python() -> None:
    with spawn(["/bin/sleep", "60"]) as target:
        run = tachyscope("doctor", str(target.pid))
        assert run.returncode == 1
        assert "runs no CPython" in run.stdout
        assert f"process {target.pid} cannot be profiled" in run.stdout


def test_doctor_of_no_process() -> None:
    assert_refused(tachyscope("doctor", str((1 << 22) + 1)), 1, "no process")


@needs_root
def test_doctor_as_another_user() -> None:
    with spawn_target(sys.executable, WAITING) as target:
        run = as_nobody("doctor", str(target.pid))
    assert run.returncode == 1, run
    assert "without CAP_SYS_PTRACE" in run.stdout
    for word in ("runs as user 0", "shell:", "docker:", "kubernetes:", "systemd:", "cannot be profiled"):
        assert word in run.stdout


@needs_x86_64
@needs_root
def test_without_the_system_call_the_file_is_read(python: Path) -> None:
    with spawn_target(python, "print('ready', flush=True)\nwhile True: sum(range(1000))") as target:
        run = filtered("attach", "-d", "0.5", "--collapsed", "-o", "-", str(target.pid))
        assert run.returncode == 0, run
        assert run.stderr.count(f"process_vm_readv is refused, so /proc/{target.pid}/mem is read") == 1
        samples = sum(int(line.rpartition(" ")[2]) for line in run.stdout.splitlines())
        assert samples > 100
        doctor = filtered("doctor", str(target.pid))
    assert doctor.returncode == 0, doctor
    assert "note     process_vm_readv is refused" in doctor.stdout
    assert "seccomp=unconfined" in doctor.stdout
    assert "read through /proc/PID/mem" in doctor.stdout

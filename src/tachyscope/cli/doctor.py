"""`tachyscope doctor`: what this machine, user and target allow, and what lifts each obstacle."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from tachyscope._core.memory import Reader
from tachyscope.cli.attach import process_id
from tachyscope.cli.messages import standard_output
from tachyscope.errors import TachyscopeError
from tachyscope.formats.escape import printable
from tachyscope.target import permissions, process, runtime
from tachyscope.target.layouts import KNOWN
from tachyscope.target.permissions import SECCOMP_MODES, Blocker, Facts

NAME = "doctor"
SUMMARY = "say what this machine allows, and what to do where it does not"
USAGE = "tachyscope doctor [PID]"
DESCRIPTION = """Check whether this machine, user and container let tachyscope read other processes, or the process PID.
Each obstacle is named with the command or manifest line that lifts it. The exit status is 1 if one is left."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the process id."""
    parser.add_argument("pid", metavar="PID", type=process_id, nargs="?", help="process id to look at")


def execute(options: argparse.Namespace) -> int:
    """Print the findings; 1 if something is in the way."""
    pid = options.pid or 0
    if pid:
        process.identity(pid)  # raises if there is none
    facts = permissions.gather(pid, _refusal())
    found = list(permissions.blockers(facts))
    with standard_output() as stream:
        _print_facts(stream, facts)
        for blocker in found:
            _print_blocker(stream, blocker)
        works = _try(stream, pid) if pid else not any(blocker.fatal for blocker in found)
        print(_verdict(pid, works), file=stream)
    return 0 if works else 1


def _refusal() -> int:
    """Return the errno with which the kernel refuses the system call even on ourselves, 0 if it does not."""
    reader = Reader(os.getpid())
    address = next(mapping.start for mapping in process.read_maps(os.getpid()) if mapping.permissions.startswith("r"))
    try:
        reader(address, 8)
        return reader.refusal
    except OSError as error:
        return error.errno or 0
    finally:
        reader.close()


def _print_facts(stream: TextIO, facts: Facts) -> None:
    yama = "no Yama" if facts.yama is None else f"kernel.yama.ptrace_scope is {facts.yama}"
    ptrace = "with" if facts.can_ptrace else "without"
    print(f"you      user {facts.user}, {ptrace} CAP_SYS_PTRACE", file=stream)
    print(f"machine  Linux {os.uname().release}, {yama}, seccomp is {SECCOMP_MODES[facts.seccomp]}", file=stream)
    print(f"         {'in a container' if facts.container else 'in no container that can be recognised'}", file=stream)
    print(f"targets  CPython 3.{min(KNOWN)} to 3.{max(KNOWN)}; this is {sys.version.split()[0]}", file=stream)


def _print_blocker(stream: TextIO, blocker: Blocker) -> None:
    print(f"{'problem ' if blocker.fatal else 'note    '} {blocker.cause}", file=stream)
    for place, line in blocker.remedies.items():
        print(f"         {place + ':':<12}{line}", file=stream)


def _try(stream: TextIO, pid: int) -> bool:
    """Do what `attach` does first, and say how it went."""
    reader = Reader(pid)
    try:
        found = runtime.find_runtime(pid, reader)
        threads = runtime.threads(found, reader, runtime.main_interpreter(found, reader))
    except TachyscopeError as error:
        print(f"problem  {printable(error.cause)}", file=stream)
        return False
    finally:
        reader.close()
    build = (" debug build" if found.debug else "") + (" free-threaded" if found.free_threaded else "")
    text = f"CPython {found.version_text}{build} in {printable(found.path)}, {len(threads)} threads"
    print(f"process  {pid}: {text}{', read through /proc/PID/mem' if reader.by_file else ''}", file=stream)
    return True


def _verdict(pid: int, works: bool) -> str:
    if pid:
        return f"result   process {pid} can{'' if works else 'not'} be profiled"
    return "result   other processes can be profiled" if works else "result   some processes cannot be profiled"

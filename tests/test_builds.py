"""Interpreters as they are really built, packaged and contained: each is started and sampled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import INTERPRETERS, READY_TIMEOUT_SECONDS, ROOT, SID, Target, spawn

from tachyscope import attach
from tachyscope.target import runtime

SECONDS = 0.3
BUSY = """
def leaf(count):
    for _ in range(count):
        pass

def main():
    print("ready", flush=True)
    while True:
        leaf(2000)

main()
"""
NAMES = ("<module>", "main", "leaf")
SHARED = [name for name, path in INTERPRETERS.items() if list(path.resolve().parent.parent.glob("lib/libpython3.*.so"))]
UNSHARED = ["unshare", "--mount", "--pid", "--fork"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces and change the root")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def flavours() -> list[tuple[str, str]]:
    """Return (version and flavour, path below the root) of what scripts/interpreters.sh unpacked."""
    if not SID.is_dir():
        return []
    script = ROOT / "scripts" / "interpreters.sh"
    listed = subprocess.run([script, "list"], capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in listed.splitlines()]
    return [(f"{word[0]}-{word[1]}", word[4]) for word in words if word[2] == "chroot"]


FLAVOURS = flavours()
needs_sid = pytest.mark.skipif(not FLAVOURS, reason="no CPython 3.14 and 3.15: scripts/interpreters.sh install")


def check(pid: int) -> runtime.Runtime:
    """Sample a process that runs BUSY; all stacks have to be its own. Return its runtime."""
    with attach(pid, interval_us=200) as session:
        session.sample(SECONDS)
        profile = session.profile()
        found = session._sampler._last
    stacks = Counter[tuple[str, ...]]()
    for _, frames, count in profile.stacks():
        stacks[tuple(frame.function.name for frame in frames)] += count
    assert stacks[NAMES] > 100, stacks
    assert set(stacks) <= {NAMES[:length] for length in range(len(NAMES) + 1)}, stacks
    assert profile.accuracy.failed <= 0.01 * profile.accuracy.samples
    assert found is not None
    return found.runtime


@contextmanager
def python_below(command: list[str]) -> Iterator[int]:
    """Start a command that puts a Python into namespaces; yield its pid as we see it."""
    with spawn(command) as target:
        target.wait_until_ready()
        pid = inner_pid(target)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)


def inner_pid(target: Target) -> int:
    """The only child of the only child, and so on."""
    pid = target.pid
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return pid
        pid = int(children[0])


def compiled(source: str, output: Path, *flags: str) -> Path:
    command = ["cc", "-O1", "-x", "c", "-", "-o", str(output), *flags]
    subprocess.run(command, input=source, text=True, check=True, timeout=READY_TIMEOUT_SECONDS)
    return output


def paths_of(python: Path) -> tuple[str, str, str]:
    """Return the directory of its headers, that of its library, and the name of its version."""
    question = (
        "import sysconfig as s; print(s.get_path('include'), s.get_config_var('LIBDIR'), s.get_config_var('VERSION'))"
    )
    run = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True)
    include, library, version = run.stdout.split()
    return include, library, version


# Containers


@needs_root
@needs_sid
@pytest.mark.parametrize("flavour", FLAVOURS, ids=[name for name, _ in FLAVOURS])
def test_in_another_root_and_pid_namespace(flavour: tuple[str, str]) -> None:
    """Debian's default, debug, non-PIE and shared builds; their files are only reached through /proc/PID/root."""
    name, program = flavour
    inside = ["chroot", str(SID), program, "-c", BUSY]
    with python_below([*UNSHARED, f"--mount-proc={SID}/proc", *inside]) as pid:
        found = check(pid)
    assert name.startswith(found.version_text)
    assert found.debug == name.endswith("-debug")
    assert not Path(found.path).exists() or "usr" in found.path


@needs_root
def test_in_another_user_namespace(python: Path) -> None:
    with python_below([*UNSHARED, "--user", "--map-root-user", "--mount-proc", str(python), "-c", BUSY]) as pid:
        check(pid)


INSIDE = """
import subprocess, sys
target = subprocess.Popen([sys.argv[1], "-c", sys.argv[2]], stdout=subprocess.PIPE)
assert target.stdout.readline() == b"ready\\n"
assert target.pid < 100
command = [sys.executable, "-m", "tachyscope", "attach", "-d", "0.3", "--collapsed", "-o", "-", str(target.pid)]
run = subprocess.run(command, capture_output=True, text=True)
target.kill()
print(run.stdout)
sys.exit(run.stderr if run.returncode else 0)
"""


@needs_root
def test_from_inside_of_a_container(python: Path) -> None:
    command = [*UNSHARED, "--mount-proc", sys.executable, "-c", INSIDE, str(python), BUSY]
    run = subprocess.run(command, capture_output=True, text=True, timeout=READY_TIMEOUT_SECONDS)
    assert run.returncode == 0, run.stderr
    assert ":main:" in run.stdout and ":leaf:" in run.stdout


# Embedding, launching, replacing


@needs_compiler
@pytest.mark.parametrize("name", SHARED)
def test_a_program_that_embeds_python(name: str, tmp_path: Path) -> None:
    include, library, version = paths_of(INTERPRETERS[name])
    source = """
        #include <Python.h>
        int main(int argc, char **argv)
        {
            Py_Initialize();
            int failed = PyRun_SimpleString(argv[1]);
            Py_Finalize();
            return failed;
        }
    """
    flags = [f"-I{include}", f"-L{library}", f"-lpython{version}", f"-Wl,-rpath,{library}"]
    program = compiled(source, tmp_path / "embedder", *flags)
    with spawn([str(program), BUSY], os.environ | {"PYTHONHOME": str(Path(library).parent)}) as target:
        target.wait_until_ready()
        check(target.pid)


@needs_compiler
@pytest.mark.parametrize("name", SHARED)
def test_a_program_that_loads_libpython_later(name: str, tmp_path: Path) -> None:
    _, library, version = paths_of(INTERPRETERS[name])
    source = """
        #include <dlfcn.h>
        int main(int argc, char **argv)
        {
            void *library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
            int (*start)(int, char **) = (int (*)(int, char **))dlsym(library, "Py_BytesMain");
            return start(argc - 1, argv + 1);
        }
    """
    program = compiled(source, tmp_path / "server", "-ldl")
    command = [str(program), f"{library}/libpython{version}.so.1.0", "-c", BUSY]
    with spawn(command, os.environ | {"PYTHONHOME": str(Path(library).parent)}) as target:
        target.wait_until_ready()
        check(target.pid)


def test_in_a_virtual_environment_behind_links(python: Path, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "env"], check=True, timeout=READY_TIMEOUT_SECONDS)
    (tmp_path / "link").symlink_to(tmp_path / "env" / "bin" / "python")
    with spawn([str(tmp_path / "link"), "-c", BUSY]) as target:
        target.wait_until_ready()
        check(target.pid)


def test_an_upgrade_below_a_running_server(tmp_path: Path) -> None:
    """The executable is replaced by another file, as package managers do."""
    static = INTERPRETERS.get("3.11-system")
    if static is None:
        pytest.skip("no statically linked interpreter: python3.11 of Debian")
    shutil.copy(static, tmp_path / "python")
    with spawn([str(tmp_path / "python"), "-c", BUSY]) as target:
        target.wait_until_ready()
        (tmp_path / "new").write_bytes(b"#!/bin/sh\n" * 1000)
        (tmp_path / "new").rename(tmp_path / "python")
        assert str(Path(f"/proc/{target.pid}/exe").readlink()).endswith(" (deleted)")
        check(target.pid)


def test_stripped_of_its_symbol_table(tmp_path: Path) -> None:
    static = INTERPRETERS.get("3.11-system")
    if static is None or shutil.which("strip") is None:
        pytest.skip("no statically linked interpreter (python3.11 of Debian), or no strip")
    subprocess.run(
        ["strip", "--strip-all", "-o", tmp_path / "python", static], check=True, timeout=READY_TIMEOUT_SECONDS
    )
    with spawn([str(tmp_path / "python"), "-c", BUSY]) as target:
        target.wait_until_ready()
        check(target.pid)


@needs_sid
def test_started_by_the_loader() -> None:
    """/proc/PID/exe is the dynamic loader, then."""
    library = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH') or 'x86_64-linux-gnu'}"
    loader = next(SID.glob("usr/lib*/ld-linux*.so*"))
    program = SID / "usr/bin/python3.15-shared"
    command = [str(loader), "--library-path", f"{SID}{library}", str(program), "-c", BUSY]
    with spawn(command, os.environ | {"PYTHONHOME": str(SID / "usr")}) as target:
        target.wait_until_ready()
        assert "ld-linux" in str(Path(f"/proc/{target.pid}/exe").readlink())
        assert check(target.pid).version == (3, 15)

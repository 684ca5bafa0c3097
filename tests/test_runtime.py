"""Finding the interpreter in live processes, and what happens when there is none or it lies."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import INTERPRETERS, READY, WAITING, memory_reader, spawn, spawn_target

from tachyscope.errors import (
    CorruptTarget,
    NotPython,
    PermissionDenied,
    TachyscopeError,
    TargetGone,
    TargetNotFound,
    UnsupportedPython,
)
from tachyscope.target import process, runtime
from tachyscope.target.binary import Binary, FileFacts, file_facts, load_bias
from tachyscope.target.runtime import Runtime, find_runtime

Reader = Callable[[int, int], bytes]

THREADS = """
import sys, threading
waiting = threading.Event()
def block():
    started.release()
    waiting.wait()
started = threading.Semaphore(0)
for _ in range(3):
    threading.Thread(target=block, daemon=True).start()
    started.acquire()
print(threading.get_ident(), flush=True)
print("ready", flush=True)
sys.stdin.read()
"""

EXEC = """
import os, sys
print("ready", flush=True)
sys.stdin.readline()
os.execv(sys.argv[1], sys.argv[1:])
"""

EXEC_BY_ANOTHER_THREAD = EXEC.replace("import os, sys", "import os, sys, threading").replace(
    "os.execv(sys.argv[1], sys.argv[1:])",
    "threading.Thread(target=os.execv, args=(sys.argv[1], sys.argv[1:])).start()\nthreading.Event().wait()",
)


@contextmanager
def found(python: Path, source: str = WAITING) -> Iterator[tuple[Runtime, Reader]]:
    """Yield the runtime of a new target and a reader of its memory."""
    with spawn_target(python, source) as target, memory_reader(target.pid) as read:
        yield find_runtime(target.pid, read), read


def version_of(python: Path) -> str:
    run = subprocess.run([python, "-c", "import platform; print(platform.python_version())"], capture_output=True)
    return run.stdout.decode().strip()


@pytest.fixture
def fresh_cache(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, ...], object]:
    """An empty cache of analysed files, for this test only."""
    cache: dict[tuple[int, ...], object] = {}
    monkeypatch.setattr(runtime, "_analyses", cache)
    return cache


# Live processes


def test_finds_version_and_main_thread(python: Path) -> None:
    with found(python) as (target, read):
        version = version_of(python)
        assert target.version == tuple(int(part) for part in version.split(".")[:2])
        assert target.version_text == version
        assert (target.debug, target.free_threaded) == (False, False)
        interpreter = runtime.main_interpreter(target, read)
        assert interpreter != 0
        (thread,) = runtime.threads(target, read, interpreter)
        assert runtime.main_thread(target, read) == thread.address
        assert thread.native_id == (target.pid if target.version >= (3, 11) else 0)


def test_main_thread_among_others(python: Path) -> None:
    with spawn([str(python), "-c", THREADS]) as target, memory_reader(target.pid) as read:
        assert target.process.stdout is not None
        main_id = int(target.process.stdout.readline())
        target.wait_until_ready()
        here = find_runtime(target.pid, read)
        threads = runtime.threads(here, read, runtime.main_interpreter(here, read))
        assert len(threads) == 4
        (main,) = [thread for thread in threads if thread.thread_id == main_id]
        assert runtime.main_thread(here, read) == main.address


def test_is_alive_and_same_until_it_ends(python: Path) -> None:
    with spawn_target(python, WAITING) as target, memory_reader(target.pid) as read:
        here, stat = find_runtime(target.pid, read), process.StatFile(target.pid)
        assert runtime.is_alive_and_same(here)
        assert not runtime.has_changed(here, stat)
        target.process.kill()
        os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert not runtime.is_alive_and_same(here)
        assert runtime.has_changed(here, stat)
        assert not process.exists(target.pid)
        with pytest.raises(TargetGone):
            runtime.main_thread(here, read)
        with pytest.raises(TargetGone):
            find_runtime(target.pid, read)
        target.process.wait()
        assert runtime.has_changed(here, stat)


@pytest.mark.parametrize("source", [EXEC, EXEC_BY_ANOTHER_THREAD], ids=["main-thread", "other-thread"])
@pytest.mark.parametrize("successor", [["/bin/sh", "-c", "echo ready; cat"], None], ids=["shell", "itself"])
def test_is_not_the_same_after_exec(python: Path, successor: list[str] | None, source: str) -> None:
    command = successor or [str(python), "-c", WAITING]
    with spawn([str(python), "-c", source, *command]) as target:
        target.wait_until_ready()
        with memory_reader(target.pid) as read:
            here, stat = find_runtime(target.pid, read), process.StatFile(target.pid)
        assert not runtime.has_changed(here, stat)
        assert target.process.stdin is not None
        target.process.stdin.write(b"\n")
        target.wait_until_ready()
        assert not runtime.is_alive_and_same(here)
        assert runtime.has_changed(here, stat)


def test_deleted_library_is_still_read(tmp_path: Path) -> None:
    # A copied interpreter finds its libpython by LD_LIBRARY_PATH; both are gone when we look.
    original = next(iter(INTERPRETERS.values())).resolve()
    library = next(original.parent.parent.glob("lib/libpython3.*.so.1.0"), None)
    if library is None:
        pytest.skip("this interpreter has no shared library")
    shutil.copy(original, tmp_path / "copy")
    shutil.copy(library, tmp_path / library.name)
    home = str(original.parent.parent)
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONHOME": home}
    with spawn([str(tmp_path / "copy"), "-c", WAITING], environment) as target:
        target.wait_until_ready()
        mapped = {Path(mapping.path) for mapping in process.read_maps(target.pid)}
        assert tmp_path / library.name in mapped or not os.access(library, os.R_OK)
        for path in tmp_path.iterdir():
            path.unlink()
        with memory_reader(target.pid) as read:
            assert find_runtime(target.pid, read).path == str(tmp_path / library.name)


def test_renamed_static_interpreter(tmp_path: Path) -> None:
    static = INTERPRETERS.get("3.11-system")
    if static is None:
        pytest.skip("no statically linked interpreter on this machine")
    shutil.copy(static, tmp_path / "application")
    with found(tmp_path / "application") as (target, read):
        assert target.version_text == version_of(static)
        assert runtime.main_thread(target, read) != 0


def test_stripped_of_all_symbols(python: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: object) -> None:
    monkeypatch.setattr(Binary, "symbol", lambda self, name: None)
    monkeypatch.setattr(Binary, "exported", lambda self, name: None)
    with spawn_target(python, WAITING) as target, memory_reader(target.pid) as read:
        try:
            here = find_runtime(target.pid, read)
        except NotPython:
            # The section .PyRuntime is younger than these.
            assert int(version_of(python).split(".")[1]) < 11
            return
        assert here.version_text.startswith(f"3.{here.version[1]}")
        assert runtime.main_thread(here, read) != 0


def test_stripped_of_symbols_and_sections(monkeypatch: pytest.MonkeyPatch, fresh_cache: object) -> None:
    for name in ("symbol", "exported", "section"):
        monkeypatch.setattr(Binary, name, lambda self, name: None)
    for name, python in INTERPRETERS.items():
        if name in ("3.13", "3.14", "3.15"):
            with found(python) as (target, read):
                assert f"3.{target.version[1]}" == name
                assert runtime.main_thread(target, read) != 0


# The cache


def test_warm_makes_reading_the_file_needless(
    python: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: object
) -> None:
    runtime.warm(python)

    def refuse(*_: object) -> None:
        raise AssertionError("a file was analysed")

    monkeypatch.setattr(runtime, "file_facts", refuse)
    with found(python) as (target, read):
        assert runtime.main_thread(target, read) != 0


def test_own_interpreter_needs_no_elf_reader(fresh_cache: object) -> None:
    code = (
        "import os, subprocess, sys; from tachyscope.target import runtime;"
        "runtime.warm(sys.executable);\n"
        "from support import memory_reader, spawn_target, WAITING\n"
        "with spawn_target(sys.executable, WAITING) as t, memory_reader(t.pid) as r:\n"
        "    found = runtime.find_runtime(t.pid, r)\n"
        "    assert runtime.main_thread(found, r)\n"
        "assert found.version_text == sys.version.split()[0]\n"
        "assert not any('elftools' in name for name in sys.modules)\n"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True)


def test_own_knowledge_equals_that_from_the_file(fresh_cache: dict[tuple[int, ...], object]) -> None:
    with spawn_target(sys.executable, WAITING) as target, memory_reader(target.pid) as read:
        from_file = find_runtime(target.pid, read)
        fresh_cache.clear()
        runtime.warm(sys.executable)
        assert find_runtime(target.pid, read) == from_file


def test_warm_never_fails(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for path in (tmp_path / "absent", tmp_path / "text", tmp_path):
        runtime.warm(path)


# No interpreter


def test_not_python() -> None:
    with spawn(["/bin/cat"]) as target:
        assert target.process.stdin is not None
        target.process.stdin.write(READY)
        target.wait_until_ready()
        with memory_reader(target.pid) as read, pytest.raises(NotPython):
            find_runtime(target.pid, read)


def test_dead_pid() -> None:
    with spawn(["/bin/true"]) as target:
        target.process.wait()
    with pytest.raises(TargetNotFound, match=str(target.pid)):
        find_runtime(target.pid, lambda address, size: b"")
    for query in (process.read_maps, process.command_line, process.namespace_pid, process.identity):
        with pytest.raises(TargetNotFound):
            query(target.pid)
    assert not process.exists(target.pid)


def test_old_python() -> None:
    versions = Path("~/.pyenv/versions").expanduser()
    olds = [path for path in versions.glob("*/bin/python") if re.match(r"2\.7|3\.[567]\.", path.parts[-3])]
    if not olds:
        pytest.skip("no Python before 3.8 on this machine")
    source = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()"
    for path in olds:
        with spawn_target(path, source) as target, memory_reader(target.pid) as read:
            version = ".".join(path.parts[-3].split(".")[:2])
            with pytest.raises(UnsupportedPython, match=rf"CPython {re.escape(version)}\b"):
                find_runtime(target.pid, read)


def test_memory_that_may_not_be_read() -> None:
    def refuse(address: int, size: int) -> bytes:
        raise PermissionError(errno.EPERM, "no")

    with spawn_target(sys.executable, WAITING) as target:
        with pytest.raises(PermissionDenied, match=r"root.*--cap-add=SYS_PTRACE.*doctor") as caught:
            find_runtime(target.pid, refuse)
        assert "\n" not in str(caught.value)


# Targets that lie


def reader_with(read: Reader, words: dict[int, int]) -> Reader:
    """Return a reader that shows other values at some addresses."""

    def lie(address: int, size: int) -> bytes:
        data = bytearray(read(address, size))
        for place, value in words.items():
            if address <= place <= address + size - 8:
                struct.pack_into("<Q", data, place - address, value)
        return bytes(data)

    return lie


def test_cyclic_thread_list(python: Path) -> None:
    with found(python) as (target, read):
        interpreter = runtime.main_interpreter(target, read)
        thread = runtime.main_thread(target, read)
        lie = reader_with(read, {thread + target.layout.thread_next: thread})
        with pytest.raises(CorruptTarget, match="endless"):
            runtime.threads(target, lie, interpreter)


def test_wild_pointers(python: Path) -> None:
    with found(python) as (target, read):
        interpreter = runtime.main_interpreter(target, read)
        for wild in (1, 1 << 47, (1 << 64) - 1):
            lie = reader_with(read, {interpreter + target.layout.interp_thread_head: wild})
            with pytest.raises(CorruptTarget):
                runtime.threads(target, lie, interpreter)


def test_no_interpreter_yet(python: Path) -> None:
    with found(python) as (target, read):
        places = (target.layout.runtime_interp_head, target.layout.runtime_interp_main)
        lie = reader_with(read, {target.address + place: 0 for place in places if place >= 0})
        assert runtime.main_interpreter(target, lie) == 0
        assert runtime.main_thread(target, lie) == 0


def test_oldest_thread_when_none_is_marked(python: Path) -> None:
    with found(python) as (target, read):
        main = runtime.main_thread(target, read)
        layout = target.layout
        places = (main + layout.thread_native_id, target.address + layout.runtime_main_thread)
        lie = reader_with(read, dict.fromkeys(places, 1 << 40))
        assert runtime.main_thread(target, lie) == main


def test_impossible_version_word() -> None:
    for name, python in INTERPRETERS.items():
        if name in ("3.11", "3.12"):
            with spawn_target(python, WAITING) as target, memory_reader(target.pid) as read:
                true = find_runtime(target.pid, read)

                def lie(address: int, size: int, read: Reader = read, true: Runtime = true) -> bytes:
                    return b"\xff" * 8 if size == 8 and address != true.address else read(address, size)

                # Py_Version is the only word that is read besides the runtime itself.
                with pytest.raises(CorruptTarget, match="Py_Version"):
                    find_runtime(target.pid, lie)


# Hostile files


def library() -> Path:
    """Return the smallest file with a _PyRuntime at hand."""
    versions = Path("~/.pyenv/versions").expanduser()
    files = [*versions.glob("3.*/lib/libpython3.*.so.1.0"), Path(sys.executable).resolve()]
    return min((path for path in files if path.exists()), key=lambda path: path.stat().st_size)


def small_elf(*options: str) -> bytes:
    """Return a little shared library with the symbols that are looked for."""
    with tempfile.TemporaryDirectory() as directory:
        source, output = Path(directory, "a.c"), Path(directory, "a.so")
        source.write_text("long _PyRuntime[64] = {1}; const unsigned long Py_Version = 0x030b07f0;")
        command = [
            "cc",
            "-shared",
            "-nostdlib",
            "-Wl,-soname,libpython3.11.so.1.0",
            str(source),
            "-o",
            str(output),
        ]
        subprocess.run([*command, *options], check=True)
        return output.read_bytes()


ELF = small_elf("-Wl,--hash-style=gnu")
SYSV_ELF = small_elf("-Wl,--hash-style=sysv")


def analyse(content: bytes) -> object:
    """Analyse bytes as if they were a mapped file, without the cache."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return file_facts(Binary(file.fileno(), "hostile"), "libpython3.11.so", thorough=True)


@pytest.mark.parametrize("content", [ELF, SYSV_ELF], ids=["gnu", "sysv"])
def test_small_elf_is_understood(content: bytes) -> None:
    analysis = analyse(content)
    assert isinstance(analysis, FileFacts)
    assert analysis.version == (3, 11)
    assert analysis.runtime is not None and analysis.version_word is not None


@settings(max_examples=300, deadline=2000)
@given(data=st.data())
def test_damaged_elf_gives_only_our_errors(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([ELF, SYSV_ELF])))
    for _ in range(data.draw(st.integers(0, 6))):
        # Most damage goes where it hurts: the headers, and the dynamic part in the first pages.
        last = data.draw(st.sampled_from([64, 512, len(content)])) - 1
        content[data.draw(st.integers(4, last))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 2, 16]))
    length = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    try:
        analyse(bytes(content[:length]))
    except TachyscopeError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=2000)
@given(position=st.integers(16, 0x1000), value=st.integers(0, (1 << 64) - 1))
def test_elf_with_an_arbitrary_word(position: int, value: int) -> None:
    content = bytearray(ELF)
    struct.pack_into("<Q", content, position // 8 * 8, value)
    with suppress(TachyscopeError):
        analyse(bytes(content))


@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_are_not_python(content: bytes) -> None:
    with pytest.raises((NotPython, CorruptTarget)):
        analyse(b"\x7fELF\x02\x01" + content if len(content) % 2 else content)


def test_gnu_hash_finds_what_a_search_finds() -> None:
    path = library()
    with path.open("rb") as file:
        binary = Binary(file.fileno(), str(path))
        for name in ("_PyRuntime", "Py_Initialize", "PyObject_Call", "PyNoSuchThing"):
            assert binary.exported(name) == binary._search_table("SHT_DYNSYM", name.encode())


# What the operating system knows


def test_process_facts() -> None:
    with spawn_target(sys.executable, WAITING, "a b", "") as target:
        assert process.exists(target.pid)
        assert process.command_line(target.pid) == (sys.executable, "-c", WAITING, "a b", "")
        assert process.thread_name(target.pid, target.pid)[:6] == Path(process.executable(target.pid)).name[:6]
        assert process.identity(target.pid) == process.identity(target.pid)
        maps = process.read_maps(target.pid)
        assert maps == tuple(sorted(maps, key=lambda mapping: mapping.start))
        assert any(mapping.path == "[stack]" and not mapping.is_file for mapping in maps)
    assert process.namespace_pid(os.getpid()) == os.getpid()


def test_map_lines() -> None:
    line = b"7f00a000-7f00b000 r-xp 00001000 fd:01 1234                       /tmp/a b\\012c (deleted)"
    mapping = process._parse_mapping(line)
    assert mapping == process.Mapping(
        0x7F00A000, 0x7F00B000, "r-xp", 0x1000, os.makedev(0xFD, 1), 1234, "/tmp/a b\nc", True
    )
    anonymous = process._parse_mapping(b"7f00a000-7f00b000 rw-p 00000000 00:00 0")
    assert anonymous is not None and anonymous.path == "" and not anonymous.is_file
    assert process._parse_mapping(b"nonsense") is None


@given(line=st.binary(max_size=80))
def test_arbitrary_map_lines(line: bytes) -> None:
    process._parse_mapping(line)


def test_replaced_file_is_not_mistaken(tmp_path: Path) -> None:
    shutil.copy("/bin/sh", tmp_path / "program")
    with spawn([str(tmp_path / "program"), "-c", "echo ready; read line"]) as target:
        target.wait_until_ready()
        target_maps = process.read_maps(target.pid)
        mapping = next(mapping for mapping in target_maps if mapping.path == str(tmp_path / "program"))
        (tmp_path / "program").unlink()
        (tmp_path / "program").write_bytes(b"something else")
        descriptor = process.open_mapped_file(target.pid, mapping)
        try:
            assert os.fstat(descriptor).st_ino == mapping.inode
            assert os.pread(descriptor, 4, 0) == b"\x7fELF"
        finally:
            os.close(descriptor)


def test_load_bias_prefers_code() -> None:
    path = library()
    with path.open("rb") as file:
        segments = Binary(file.fileno(), str(path)).segments
    code = next(segment for segment in segments if segment.executable)
    page = os.sysconf("SC_PAGE_SIZE")
    aligned = code.offset // page * page
    base = process.Mapping(0x10000, 0x20000, "r--p", 0, 1, 1, str(path), False)
    text = dataclasses.replace(base, start=0x7F0000000000, permissions="r-xp", offset=aligned)
    assert load_bias(segments, [base, text]) == 0x7F0000000000 - code.address // page * page
    assert load_bias(segments, []) is None

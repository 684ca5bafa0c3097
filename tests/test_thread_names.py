"""Names and kernel ids of threads, compared with what the programs themselves say."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import random
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from core_support import line_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import INTERPRETERS, READY_TIMEOUT_SECONDS, WAITING, Target, spawn, spawn_target

from tachyscope._core.memory import Reader as MemoryReader
from tachyscope.errors import PermissionDenied, TargetGone, TargetNotFound
from tachyscope.target import process, runtime
from tachyscope.target import thread_names as thread_names_module
from tachyscope.target.layouts import ABSENT
from tachyscope.target.runtime import Reader, Runtime, find_runtime
from tachyscope.target.thread_names import (
    MAX_NAME_CHARACTERS,
    MAX_NAMED_THREADS,
    MAX_READS,
    native_ids,
    os_name,
    thread_names,
)

PARK = """
import _thread, json, sys, threading
here = threading.Semaphore(0)
never = threading.Event()
native = {}

def park():
    native[threading.get_ident()] = threading.get_native_id()
    here.release()
    never.wait()

def start(kind=threading.Thread, **options):
    thread = kind(target=park, daemon=True, **options)
    thread.start()
    here.acquire()
    return thread

def tell():
    native[threading.get_ident()] = threading.get_native_id()
    names = {ident: thread.name for ident, thread in list(threading._active.items()) if type(thread._name) is str}
    print("ready", flush=True)
    print(json.dumps([native, names]), flush=True)
    sys.stdin.read()
"""
"""Threads that wait until they are killed, and what is true of them: ident -> native id, ident -> name."""

ZOO = (
    PARK
    + """
class Sub(threading.Thread):
    def __init__(self, **options):
        super().__init__(**options)
        self.later = 1

class Earlier(threading.Thread):
    def __init__(self, **options):
        self.first, self.second = 1, 2
        super().__init__(**options)

class Slots(threading.Thread):
    __slots__ = ("extra", "another")

class SubSub(Sub, Earlier):
    pass

class Dicts(Sub):
    pass

for _ in range(3):
    start()
for kind in (Sub, Earlier, Slots, SubSub):
    start(kind, name="a " + kind.__name__)
    start(kind)
for name in ("named", "Zo\\xeb", "\\u043f\\u043e\\u0442\\u043e\\u043a", "\\U0001f9f5 spool"):
    start(name=name)
for name in ("a\\n\\x1b[31mb\\0c", " ", "x" * 511, "y" * 512, "z" * 513):
    start(name=name)
for letter in "x\\xeb\\u043f\\U0001f9f5":
    start(name=letter * 5000)
for name in ("new", "\\u65b0", ""):
    start(name="old").name = name
    start(Sub).name = name

start(Dicts, name="seen dict").__dict__
start(Dicts, name="own dict").__dict__ = {"filler": 1, **start(Dicts).__dict__, "_name": "replaced"}
many = start(Dicts, name="many attributes")
for number in range(300):
    setattr(many, "attribute_%d" % number, number)
fewer = start(Dicts, name="fewer attributes")
fewer.later, fewer.latest = 2, 3
del fewer.later
vars(start(Dicts, name="numbered attributes"))[1] = 2
late = start(Dicts)
del late._name
late._name = "late"

class Text(str):
    pass

for odd in (42, None, Text("text"), b"bytes", start):
    start()._name = odd
del many.attribute_7

def dummy():
    threading.current_thread()
    park()

for function in (park, park, dummy):
    _thread.start_new_thread(function, ())
    here.acquire()
tell()
"""
)

CHURN = (
    PARK
    + """
import itertools, time
steady = start(name="steady")
changing = start(name="ping")
numbers = itertools.count()

def rename():
    while True:
        for name in ("ping", "\\u043f\\u043e\\u043d\\u0433" * 50):
            changing.name = name
            time.sleep(0)

def churn(function, *arguments):
    while True:
        threads = [threading.Thread(target=function, args=arguments, name="short-%d" % next(numbers)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

for function, *arguments in ((churn, int), (churn, time.sleep, 0.005), (rename,)):
    threading.Thread(target=function, args=arguments, name=function.__name__, daemon=True).start()
tell()
"""
)
CHURNING = re.compile(r"MainThread|steady|ping|(понг){50}|churn|rename|short-\d+")
"""The only names that there ever are."""

MODULES = (
    PARK
    + """
count, numbered = int(sys.argv[1]), int(sys.argv[2])
del sys.modules["threading"]
sys.modules.update(("filler_%d" % number, None) for number in range(count))
if numbered:
    sys.modules[1] = None
sys.modules["threading"] = threading
tell()
"""
)

INNER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
inner = interpreters.create()
interpreters.run_string(inner, "import threading; threading.current_thread().name = 'inner'")
import threading
"""


@dataclasses.dataclass
class Found:
    """A target, and what it said about its threads."""

    pid: int
    runtime: Runtime
    read: Reader
    native: dict[int, int]
    names: dict[int, str]


@contextmanager
def telling(python: Path, source: str, *arguments: str) -> Iterator[Found]:
    with spawn_target(python, source, *arguments) as target:
        yield found_in(target, target.pid)


def found_in(target: Target, pid: int) -> Found:
    native, names = ({int(ident): value for ident, value in each.items()} for each in json.loads(line_of(target)))
    read = MemoryReader(pid)
    return Found(pid, find_runtime(pid, read), read, native, names)


# Names


def test_all_kinds_of_threads(python: Path) -> None:
    with telling(python, ZOO) as found:
        assert len(found.names) > 30
        expected = {ident: name[:MAX_NAME_CHARACTERS] for ident, name in found.names.items()}
        assert thread_names(found.runtime, found.read) == expected
        assert len(found.native) > len(expected)  # those of _thread, and those with odd names


@pytest.mark.parametrize("count", [0, 200, 30_000, 44_000])
@pytest.mark.parametrize("numbered", [0, 1])
def test_among_many_modules(python: Path, count: int, numbered: int) -> None:
    """The indices of the dict have 1, 2, 4 bytes; its keys are strings, or not all."""
    with telling(python, MODULES, str(count), str(numbered)) as found:
        assert thread_names(found.runtime, found.read) == found.names != {}


def test_many_threads(python: Path) -> None:
    source = PARK + "[start(name='worker %d' % number) for number in range(250)]; tell()"
    with telling(python, source) as found:
        assert thread_names(found.runtime, found.read) == found.names
        assert len(found.names) == 251
        assert native_ids(found.runtime, found.read, found.native) == found.native


def test_without_threading(python: Path) -> None:
    source = f"import sys; assert 'threading' not in sys.modules; {WAITING}"
    forgotten = f"import threading, sys; del sys.modules['threading']; {WAITING}"
    emptied = f"import threading, sys; threading._active.clear(); {WAITING}"
    for program in (source, forgotten, emptied, f"import threading; del threading._active; {WAITING}"):
        # Without the site packages, which may have imported anything.
        with spawn_target(python, program, options=("-S",)) as target:
            read = MemoryReader(target.pid)
            assert thread_names(find_runtime(target.pid, read), read) == {}


def test_replaced_by_the_program(python: Path) -> None:
    for value in ("None", "7", "[]", "{'a': 1}", "{1: 2}", "{-3: threading.main_thread(), 'a': 0}"):
        with spawn_target(python, f"import threading; threading._active = {value}; {WAITING}") as target:
            read = MemoryReader(target.pid)
            assert thread_names(find_runtime(target.pid, read), read) == {}


def test_of_another_interpreter(python: Path) -> None:
    with spawn_target(python, INNER + WAITING) as target:
        read = MemoryReader(target.pid)
        found = find_runtime(target.pid, read)
        memory, main = runtime.Memory(target.pid, read), runtime.main_interpreter(found, read)
        head = memory.word(found.address + found.layout.runtime_interp_head)
        second = head if head != main else memory.word(head + found.layout.interp_next)
        assert list(thread_names(found, read, second).values()) == ["inner"]
        assert list(thread_names(found, read, main).values()) == ["MainThread"]


def test_while_threads_come_and_go(python: Path) -> None:
    with telling(python, CHURN) as found:
        (steady,) = [ident for ident, name in found.names.items() if name == "steady"]
        seen: set[str] = set()
        give_up = time.monotonic() + READY_TIMEOUT_SECONDS
        wanted = {"MainThread", "churn", "rename", "ping"}
        for times in itertools.count():
            if times >= TIMES and wanted < seen and any(name.startswith("short") for name in seen):
                break
            assert time.monotonic() < give_up, seen
            names = thread_names(found.runtime, found.read)
            assert names[steady] == "steady"
            assert [name for name in names.values() if not CHURNING.fullmatch(name)] == []
            seen |= set(names.values())


def test_dict_that_is_just_growing(python: Path) -> None:
    """For a moment it has its new keys, and nothing is in them yet."""
    with telling(python, ZOO) as found:
        seen = set()

        def early(address: int, size: int) -> bytes:
            data = bytearray(found.read(address, size))
            if size == found.runtime.layout.keys_indices and address not in seen:
                seen.add(address)
                struct.pack_into("<Q", data, found.runtime.layout.keys_entries, 0)
            return bytes(data)

        expected = {ident: name[:MAX_NAME_CHARACTERS] for ident, name in found.names.items()}
        assert thread_names(found.runtime, early) == expected
        assert len(seen) > 3


# Kernel ids


def test_native_ids(python: Path) -> None:
    with telling(python, ZOO) as found:
        assert native_ids(found.runtime, found.read, found.native) == found.native
        assert process.thread_ids(found.pid) == {tid: tid for tid in found.native.values()}
        for ident, native in list(found.native.items())[:3]:
            assert native_ids(found.runtime, found.read, [ident]) in ({ident: native}, {})
        unknown = dataclasses.replace(
            found.runtime, layout=dataclasses.replace(found.runtime.layout, runtime_main_thread=ABSENT)
        )
        assert native_ids(unknown, found.read, found.native) == found.native
        assert native_ids(found.runtime, found.read, []) == {}


def test_native_ids_of_what_are_no_threads(python: Path) -> None:
    with telling(python, ZOO) as found:
        wrong = [0, -1, 1, 1 << 47, 1 << 64, 1 << 70]
        assert native_ids(found.runtime, found.read, [*found.native, *wrong]) == found.native
        assert native_ids(found.runtime, found.read, wrong) == {}
        inside = found.runtime.address
        assert inside not in native_ids(found.runtime, found.read, [*found.native, inside])


def test_native_ids_while_threads_come_and_go(python: Path) -> None:
    with telling(python, CHURN) as found:
        (steady,) = [ident for ident, name in found.names.items() if name == "steady"]
        answers = 0
        give_up = time.monotonic() + READY_TIMEOUT_SECONDS
        while answers < TIMES:  # there is none while the list of threads changes too quickly
            assert time.monotonic() < give_up, answers
            names = thread_names(found.runtime, found.read)
            ids = native_ids(found.runtime, found.read, [*names, steady])
            answers += bool(ids)
            assert not ids or ids[steady] == found.native[steady]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces")
def test_in_another_pid_namespace(python: Path) -> None:
    below = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with spawn([*below, str(python), "-c", ZOO]) as target:
        target.wait_until_ready()
        (pid,) = map(int, Path(f"/proc/{target.pid}/task/{target.pid}/children").read_text().split())
        found = found_in(target, pid)
        ids = native_ids(found.runtime, found.read, found.native)
        assert ids == found.native and 1 in ids.values()
        tids = process.thread_ids(pid)
        assert set(tids) == set(found.native.values())
        assert tids[1] == pid
        assert os_name(pid, tids[1]) == os_name(pid, pid) != ""


def test_os_name() -> None:
    source = "open('/proc/self/comm', 'wb').write(b'a\\x1b[1m \\xff) \\tb'); " + WAITING
    with spawn_target(next(iter(INTERPRETERS.values())), source) as target:
        assert os_name(target.pid, target.pid) == "a\x1b[1m \ufffd) \tb"
        assert os_name(target.pid, 1) == ""
        assert os_name(target.pid, 1 << 40) == ""
    assert os_name(target.pid, target.pid) == ""


# What cannot be read


def test_process_that_has_ended(python: Path) -> None:
    with telling(python, ZOO) as found:
        os.kill(found.pid, 9)
        os.waitid(os.P_PID, found.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(TargetGone):
            thread_names(found.runtime, found.read)
    with pytest.raises((TargetGone, TargetNotFound)):
        native_ids(found.runtime, found.read, found.native)


def test_process_that_may_not_be_read() -> None:
    with telling(INTERPRETERS["3.11"], ZOO) as found:

        def refuse(address: int, size: int) -> bytes:
            raise PermissionError(errno.EPERM, "no")

        with pytest.raises(PermissionDenied):
            thread_names(found.runtime, refuse)
        with pytest.raises(PermissionDenied):
            native_ids(found.runtime, refuse, found.native)


class Liar:
    """A reader of a live target that changes what some reads return, and counts them all."""

    def __init__(self, read: Reader, lies: dict[int, Callable[[bytes], bytes]]) -> None:
        self.count = 0
        self._read = read
        self._lies = lies

    def __call__(self, address: int, size: int) -> bytes:
        self.count += 1
        data = self._read(address, size)
        return self._lies[self.count](data) if self.count in self._lies else data


def overwrite(position: int, value: int) -> Callable[[bytes], bytes]:
    """Return a lie about one word, somewhere in the data."""

    def lie(data: bytes) -> bytes:
        changed = bytearray(data + bytes(8))
        struct.pack_into("<Q", changed, position % max(len(data), 1) // 8 * 8, value)
        return bytes(changed[: len(data)])

    return lie


def fail(data: bytes) -> bytes:
    raise OSError(errno.EFAULT, "lost")


WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, 0xFF, 1 << 31, 1 << 47, 1 << 63, (1 << 64) - 1])
)
LIES = st.one_of(st.just(fail), st.builds(overwrite, st.integers(0, 1 << 12), WORDS))
TIMES = 50
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def check(names: dict[int, str]) -> None:
    assert len(names) <= MAX_NAMED_THREADS
    assert all(0 < ident < 1 << 61 and len(name) <= MAX_NAME_CHARACTERS for ident, name in names.items())


def test_target_that_lies_now_and_then(python: Path) -> None:
    with telling(python, PARK + "start(name='one'); start(); tell()") as found:

        @QUICK
        @given(st.dictionaries(st.integers(1, 300), LIES, min_size=1, max_size=6))
        def survives(lies: dict[int, Callable[[bytes], bytes]]) -> None:
            reader = Liar(found.read, lies)
            check(thread_names(found.runtime, reader))
            assert reader.count <= MAX_READS + 10
            ids = native_ids(found.runtime, Liar(found.read, lies), found.native)
            assert ids.keys() <= found.native.keys() and set(ids.values()) <= set(found.native.values())

        survives()


@pytest.mark.parametrize("examples", [5, pytest.param(30, marks=pytest.mark.long)])
def test_target_of_nothing_but_lies(python: Path, examples: int) -> None:
    with spawn_target(python, WAITING) as target:
        found = find_runtime(target.pid, MemoryReader(target.pid))

        @settings(QUICK, max_examples=examples)
        @given(st.integers(0, 1 << 32), st.lists(WORDS, min_size=1, max_size=3))
        def survives(seed: int, words: list[int]) -> None:
            def noise(address: int, size: int) -> bytes:
                return random.Random(address ^ seed).randbytes(size)

            def pattern(address: int, size: int) -> bytes:
                return (struct.pack(f"<{len(words)}Q", *words) * (size // 8 + 1))[:size]

            for reader in (noise, pattern):
                check(thread_names(found, reader, interpreter=1 << 20))
                assert native_ids(found, reader, [1 << 20, 1 << 30]) == {}

        survives()


ENDLESS = """
import threading, sys
class Many:
    pass
many = Many()
for number in range(5000):
    setattr(many, "attribute_%d" % number, number)
threading._active.update((number, many) for number in range(1, 60_000))
"""


@pytest.mark.parametrize("limit", [MAX_READS // 20, pytest.param(MAX_READS, marks=pytest.mark.long)])
def test_more_than_is_ever_read(python: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_names_module, "MAX_READS", limit)
    with spawn_target(python, ENDLESS + WAITING) as target:
        reader = Liar(MemoryReader(target.pid), {})
        found = find_runtime(target.pid, reader)
        check(thread_names(found, reader))
        assert limit / 2 < reader.count < limit + 1000

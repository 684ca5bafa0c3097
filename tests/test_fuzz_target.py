"""Finding and understanding an interpreter in whatever a process shows: valid results within bounds, or our errors.

Every run is the same: the examples are made from a fixed seed. What is read and computed for one is metered.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shutil
import struct
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fuzz_support import (
    Meter,
    MeteredBinary,
    Patch,
    Reader,
    Skeleton,
    bounded,
    damage,
    elf_file,
    skeleton,
    within_time,
    words,
)
from hypothesis import given
from hypothesis import strategies as st
from support import INTERPRETERS, READY, WAITING, spawn, spawn_target

from tachyscope._core import bounds
from tachyscope._core.memory import Reader as LiveReader
from tachyscope.errors import CorruptTarget, PermissionDenied, TachyscopeError, TargetGone, TargetNotFound
from tachyscope.target import binary, process, runtime
from tachyscope.target.binary import FileFacts, file_facts
from tachyscope.target.layouts import ABSENT, KNOWN, Layout, debug_offsets, layout_for
from tachyscope.target.process import Mapping
from tachyscope.target.runtime import Runtime

ADDRESS_LIMIT = 1 << 64
LIVE = ("3.8", "3.11-system", "3.12", "3.13", "3.14", "3.15")

FILE_READS = 12 * binary.MAX_CHAIN + 2 * binary.MAX_SECTIONS + 2 * binary.MAX_DYNAMIC_ENTRIES
FILE_BYTES = 6 * binary.MAX_TABLE_BYTES + binary.MAX_READ_ONLY_BYTES + 64 * FILE_READS
FILE_BYTES += (binary.MAX_SECTIONS + binary.MAX_DYNAMIC_ENTRIES) * binary.MAX_NAME_BYTES


@dataclasses.dataclass(frozen=True)
class Live:
    """A target that waits, and what an honest search finds in it."""

    pid: int
    read: Reader
    runtime: Runtime
    file: Skeleton


@pytest.fixture(params=[pytest.param(4, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
def every(request: pytest.FixtureRequest) -> int:
    """One of so many examples is tried; only all of them are sure to meet each kind of result."""
    value: int = request.param
    return value


@pytest.fixture(scope="module", params=LIVE)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """A live target of each kind: with and without symbols for all, a library or not, describing itself or not."""
    if request.param not in INTERPRETERS:
        pytest.skip(f"no CPython {request.param} on this machine")
    with spawn_target(INTERPRETERS[request.param], WAITING) as target:
        read = LiveReader(target.pid)
        found = runtime.find_runtime(target.pid, read)
        yield Live(target.pid, read, found, skeleton(Path(found.path)))


def outcome_of(call: Callable[[], Any]) -> Any:
    """Return the result or the error, which has to be one of ours, in one line; and that in a bounded time."""
    with within_time():
        try:
            return call()
        except TachyscopeError as error:
            assert "\n" not in str(error)
            return error


def assert_layout(layout: Layout) -> None:
    values = dataclasses.asdict(layout)
    assert all(ABSENT <= value <= debug_offsets.MAX_STRUCTURE_BYTES for value in values.values()), values
    ours = [layout.frame_code, layout.frame_previous, layout.frame_instr, layout.frame_owner]
    assert max(ours) < layout.frame_size and layout.code_linetable < layout.code_size
    outcome_of(lambda: bounds.check(layout))


def assert_runtime(found: Runtime) -> None:
    assert found.version[0] == 3 and found.version[1] in KNOWN
    assert re.fullmatch(r"3\.\d{1,3}(\.\d{1,3}((a|b|rc)\d{1,2})?\+?)?", found.version_text)
    assert 0 < found.address < ADDRESS_LIMIT
    assert_layout(found.layout)


def assert_facts(facts: FileFacts) -> None:
    assert len(facts.segments) <= binary.MAX_SEGMENTS
    for address in (facts.runtime, facts.version_word):
        assert address is None or 0 <= address < ADDRESS_LIMIT
    assert sum(map(len, facts.library_paths)) <= binary.MAX_NAME_BYTES
    assert re.fullmatch(r"|3\.\d{1,2}\.\d{1,3}((a|b|rc)\d{1,2})?\+?", facts.version_text)
    assert facts.version is None or all(part >= 0 for part in facts.version)


# Files


def analyse(victim: Skeleton, patches: list[Patch], size: int) -> Any:
    """Return what a damaged file says, or the error."""
    with victim.file(patches, size) as file:
        meter = Meter(FILE_READS, FILE_BYTES)
        return outcome_of(
            lambda: file_facts(MeteredBinary(file.fileno(), "damaged", meter), victim.name, thorough=True)
        )


def test_damaged_file(live: Live, every: int) -> None:
    assert analyse(live.file, [], live.file.size).runtime is not None
    kinds: Counter[str] = Counter()

    @bounded(300 // every)
    @given(damage(live.file))
    def check(done: tuple[list[Patch], int]) -> None:
        result = analyse(live.file, *done)
        kinds[type(result).__name__] += 1
        if isinstance(result, FileFacts):
            assert_facts(result)

    check()
    assert every > 1 or {"FileFacts", "CorruptTarget"} <= kinds.keys()


def test_a_table_full_of_one_name_takes_no_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its places was kept: half a gigabyte for the longest table."""
    monkeypatch.setattr(binary, "MAX_TABLE_BYTES", 1 << 20)
    names = b"_PyRuntime\0" * 90_000
    table = (2, 0x10000, len(names), 2)  # symbols and names in the same place
    with elf_file([], [(0, 0, 0, 0), table, (3, 0x10000, len(names), 0)], {0x10000: names}) as file:
        tracemalloc.start()
        try:
            assert binary.Binary(file.fileno(), "names").symbol("_PyRuntime") is None
            assert tracemalloc.get_traced_memory()[1] < 3 * binary.MAX_TABLE_BYTES
        finally:
            tracemalloc.stop()


def test_a_chain_without_end() -> None:
    hashes = struct.pack("<5I", 1, 1, 0, 0, 1) + struct.pack("<I", binary._gnu_hash(b"_PyRuntime") & ~1) * 100_000
    dynamic = struct.pack("<8Q", 5, 0x1000, 6, 0x1000, 0x6FFFFEF5, 0x10000, 0, 0)
    segments = [(1, 0, 0x100000), (2, 0x2000, len(dynamic))]
    with elf_file(segments, [], {0x10000: hashes, 0x2000: dynamic, 0x400000: b"end"}) as file:
        meter = Meter(3 * binary.MAX_CHAIN + 100, FILE_BYTES)
        assert outcome_of(lambda: MeteredBinary(file.fileno(), "chain", meter).exported("_PyRuntime")) is None
        assert meter.calls > binary.MAX_CHAIN


def test_a_file_with_too_many_versions_says_nothing() -> None:
    texts = b"".join(b"\0003.%d.%d" % (minor, micro) for minor in range(100) for micro in range(1000)) + b"\0"
    with elf_file([(1, 0x10000, len(texts))], [], {0x10000: texts}) as file:
        assert binary.Binary(file.fileno(), "versions").literals(binary._RELEASE) == (set(), set())


# A whole search

FIND_READS = 1 << 14
FIND_BYTES = 2 * runtime.MAX_SCAN_BYTES


def search(target: Live, read: Reader, **replaced: Any) -> Any:
    """Find the runtime and its main thread, functions of `process` replaced; return the runtime or the error."""
    memory = Meter(FIND_READS, FIND_BYTES).reader(read)

    def find() -> Runtime:
        found = runtime.find_runtime(target.pid, memory)
        thread = runtime.main_thread(found, memory)
        assert 0 <= thread < ADDRESS_LIMIT
        return found

    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(runtime._analyses, clear="open_mapped_file" in replaced))
        for name, function in replaced.items():
            stack.enter_context(mock.patch.object(process, name, function))
        return outcome_of(find)


def test_damaged_file_of_a_live_target(live: Live, every: int) -> None:
    """What a wrong symbol leads to is read from memory."""
    really_open = process.open_mapped_file
    kinds: Counter[str] = Counter()

    @bounded(100 // every)
    @given(damage(live.file))
    def check(done: tuple[list[Patch], int]) -> None:
        def open_damaged(pid: int, mapping: Mapping) -> int:
            wanted = mapping.path == live.runtime.path
            return os.dup(file.fileno()) if wanted else really_open(pid, mapping)

        with live.file.file(*done) as file:
            result = search(live, live.read, open_mapped_file=open_damaged)
        kinds[type(result).__name__] += 1
        if isinstance(result, Runtime):
            assert_runtime(result)

    check()
    assert "Runtime" in kinds


# Memory maps

PATHS = b"/dev/null /nowhere /proc/self/exe /libpython3.8.so [heap] /a\0b /\xff".split(b" ")

hexadecimal = words.map(lambda word: b"%x" % word)
map_pieces = st.one_of(
    hexadecimal,
    hexadecimal.map(lambda digits: digits * 300),
    words.map(lambda word: b"%d" % word),
    st.sampled_from([b"", b" ", b"-", b":", b"\n", b"\r", b"9" * 5000, b"rwxp", b"r-xp", b"---p", *PATHS]),
    st.binary(max_size=8),
)


@st.composite
def damaged_maps(draw: st.DrawFn, text: bytes) -> bytes:
    """Draw a memory map with lines gone, twice, elsewhere, and with other words in them."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(0, 6))):
        at, to = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        parts = re.split(rb"([- :]+)", lines[at], maxsplit=12)
        parts[draw(st.integers(0, len(parts) - 1))] = draw(map_pieces)
        lines[to : to + draw(st.integers(0, 2))] = [b"".join(parts)] * draw(st.sampled_from([0, 1, 1, 1, 2, 50]))
        lines = lines or [b""]
    whole = b"\n".join(lines) + b"\n"
    return whole[: draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))]


def test_damaged_memory_map(live: Live, every: int) -> None:
    really_read = process._read
    kinds: Counter[str] = Counter()

    @bounded(150 // every)
    @given(damaged_maps(really_read(live.pid, "maps")))
    def check(text: bytes) -> None:
        def read_damaged(pid: int, name: str) -> bytes:
            return text if name == "maps" else really_read(pid, name)

        result = search(live, live.read, _read=read_damaged)
        kinds[type(result).__name__] += 1
        if isinstance(result, Runtime):
            assert_runtime(result)

    check()
    assert every > 1 or {"Runtime", "NotPython"} <= kinds.keys()


def test_many_files_are_not_all_opened(live: Live) -> None:
    line = "{0:x}000-{0:x}fff r-xp 00000000 fe:00 {0} /lib/{1}.so"
    names = ["libpython3.8", "other"]
    text = "\n".join(line.format(number, names[number % 2]) for number in range(1, 20_000)).encode()
    really_read = process._read
    opened: Counter[str] = Counter()

    def open_none(pid: int, mapping: Mapping) -> int:
        opened[mapping.path] += 1
        raise TargetNotFound(mapping.path)

    def read_many(pid: int, name: str) -> bytes:
        return text if name == "maps" else really_read(pid, name)

    result = search(live, live.read, _read=read_many, open_mapped_file=open_none)
    assert isinstance(result, TachyscopeError)
    assert opened == {"/lib/libpython3.8.so": runtime.MAX_LIKELY_FILES, "/lib/other.so": runtime.MAX_OTHER_FILES}


def test_a_return_in_a_path_ends_no_line(tmp_path: Path) -> None:
    """The kernel escapes other ends of a line, but not this one."""
    program = tmp_path / "a\r1000-2000 r-xp 00000000 fe:00 7 " / "cat"
    program.parent.mkdir()
    shutil.copy("/bin/cat", program)
    with spawn([str(program)]) as target:
        assert target.process.stdin is not None
        target.process.stdin.write(READY)
        target.wait_until_ready()
        maps = process.read_maps(target.pid)
    assert {mapping.path for mapping in maps if mapping.path.endswith("cat")} == {str(program)}
    assert 7 not in {mapping.inode for mapping in maps}


def test_a_return_in_a_name_ends_no_line() -> None:
    rename = "open('/proc/self/comm', 'w').write('a\\rNSpid:\\tx');"
    with spawn_target(next(iter(INTERPRETERS.values())), rename + WAITING) as target:
        assert process.thread_name(target.pid, target.pid) == "a\rNSpid:\tx"
        assert process.namespace_pid(target.pid) == target.pid


# What a process says about itself


def overlay(read: Reader, address: int, content: bytes) -> Reader:
    """Return a reader that shows other bytes from an address on."""

    def lie(start: int, size: int) -> bytes:
        data = bytearray(read(start, size))
        low, high = max(start, address), min(start + size, address + len(content))
        if low < high:
            data[low - start : high - start] = content[low - address : high - address]
        return bytes(data)

    return lie


@st.composite
def damaged_offsets(draw: st.DrawFn, raw: bytes) -> bytes:
    """Draw debug offsets with other words, or bytes, or from another version."""
    damaged = bytearray(raw)
    values = st.one_of(words, st.integers(0, 1024).map(lambda word: 8 * word), st.integers(0, 400))
    for _ in range(draw(st.integers(1, 8))):
        word = draw(st.integers(1, len(raw) // 8 - 1))
        struct.pack_into("<Q", damaged, 8 * word, draw(values))
    if draw(st.booleans()):
        damaged[8:16] = raw[8:16]
    if draw(st.booleans()):
        damaged[10] = draw(st.sampled_from([*KNOWN, 16, 255]))
    return bytes(damaged)


def raw_offsets(target: Live) -> bytes:
    header = target.read(target.runtime.address, debug_offsets.HEADER_SIZE_BYTES)
    if not header.startswith(debug_offsets.COOKIE):
        pytest.skip(f"CPython {target.runtime.version_text} does not describe itself")
    return target.read(target.runtime.address, debug_offsets.size_bytes(header))


def test_damaged_debug_offsets(live: Live) -> None:
    raw = raw_offsets(live)
    kinds: Counter[str] = Counter()

    @bounded(300)
    @given(damaged_offsets(raw), st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
    def check(damaged: bytes, size: int) -> None:
        result = outcome_of(lambda: debug_offsets.layout_from(debug_offsets.decode(damaged[:size])))
        kinds[type(result).__name__] += 1
        if isinstance(result, Layout):
            assert_layout(result)

    check()
    assert {"Layout", "CorruptTarget", "UnsupportedPython"} <= kinds.keys()


def test_damaged_debug_offsets_in_memory(live: Live, every: int) -> None:
    """Wherever they lead: the lists of interpreters and threads are then somewhere else, too."""
    raw, address = raw_offsets(live), live.runtime.address
    kinds: Counter[str] = Counter()

    @bounded(150 // every)
    @given(damaged_offsets(raw), damaged_offsets(raw), st.integers(1, 4))
    def check(damaged: bytes, other: bytes, turns: int) -> None:
        reads = iter(range(FIND_READS + 1))
        one, two = overlay(live.read, address, damaged), overlay(live.read, address, other)
        result = search(live, lambda start, size: (one if next(reads) % turns == 0 else two)(start, size))
        kinds[type(result).__name__] += 1
        if isinstance(result, Runtime):
            assert_runtime(result)

    check()
    assert every > 1 or {"Runtime", "CorruptTarget", "UnsupportedPython"} <= kinds.keys()


def test_cookies_everywhere(live: Live) -> None:
    """Every eighth byte of the data may be where it describes itself, and is not: most are not looked at."""
    cookies = debug_offsets.COOKIE * (runtime._SCAN_CHUNK_BYTES // len(debug_offsets.COOKIE))

    def open_none(pid: int, mapping: Mapping) -> int:
        raise TargetNotFound(mapping.path)

    assert isinstance(search(live, lambda address, size: cookies[:size], open_mapped_file=open_none), TachyscopeError)


def in_turn(first: list[Reader], later: Reader) -> Reader:
    """Return a reader that uses one after the other."""
    left = iter(first)
    return lambda address, size: next(left, later)(address, size)


def raising(number: int | None) -> Reader:
    def fail(address: int, size: int) -> bytes:
        raise OSError() if number is None else OSError(number, "no")

    return fail


FAILING = [(raising(number), CorruptTarget) for number in (errno.EFAULT, errno.EIO, errno.ENOMEM, 0, 9999, -1, None)]
FAILING += [(raising(number), PermissionDenied) for number in (errno.EPERM, errno.EACCES)]
FAILING += [(raising(errno.ESRCH), TargetGone), (lambda address, size: b"", CorruptTarget)]
FAILING += [
    (lambda address, size: bytes(size + 1), CorruptTarget),
    (lambda address, size: b"\1" * (size - 1), CorruptTarget),
]


@pytest.mark.parametrize(("fail", "error"), FAILING)
def test_reads_that_fail_from_some_moment_on(live: Live, fail: Reader, error: type[TachyscopeError]) -> None:
    meter = Meter(FIND_READS, FIND_BYTES)
    assert isinstance(search(live, meter.reader(live.read)), Runtime)
    for moment in range(meter.calls):
        assert type(search(live, in_turn([live.read] * moment, fail))) is error


# Lists of interpreters and threads

BLOCK = 1 << 20
RUNTIME, INTERPRETERS_AT, THREADS_AT = 1 << 35, 1 << 36, 1 << 37
GARBAGE = [1, 7, THREADS_AT - 4096, 1 << 47, 1 << 63, (1 << 64) - 8, (1 << 64) - 1]
SELF = process.namespace_pid(os.getpid())

Links = dict[int, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Heap:
    """A made-up runtime; pointers that lead to nothing are garbage."""

    layout: Layout = dataclasses.field(repr=False)
    head: int
    interpreters: Links  # address -> next, id, first thread
    threads: Links  # address -> next, interpreter, id

    def read(self, address: int, size: int) -> bytes:
        """Read a word as a process would let us."""
        return self._word(address).to_bytes(size, "little")

    def _word(self, address: int) -> int:
        block, offset = address // BLOCK * BLOCK, address % BLOCK
        layout = self.layout
        if block == RUNTIME:
            heads = (layout.runtime_interp_head, layout.runtime_interp_main)
            return self.head if offset in heads else SELF
        if block in self.interpreters:
            places = (layout.interp_next, layout.interp_id, layout.interp_thread_head)
            return self.interpreters[block][places.index(offset)]
        if block in self.threads:
            after, interpreter, ident = self.threads[block]
            return {layout.thread_next: after, layout.thread_interp: interpreter}.get(offset, ident)
        raise OSError(errno.EFAULT, "not mapped")

    def main_interpreter(self) -> int | None:
        """What there is to find; None for an error."""
        if self.layout.runtime_interp_main != ABSENT:
            return self.head
        for address in follow(self.head, self.interpreters):
            if address is None or self.interpreters[address][1] == 0:
                return address
        return 0

    def main_thread(self) -> int | None:
        """The same."""
        interpreter = self.main_interpreter()
        if not interpreter:
            return interpreter
        if interpreter not in self.interpreters:
            return None
        found = [0]
        for address in follow(self.interpreters[interpreter][2], self.threads):
            if address is None or self.threads[address][1] != interpreter:
                return None
            found.append(address)
        return ([address for address in found[1:] if self.threads[address][2] == SELF] or found)[-1]


def follow(head: int, links: Links) -> Iterator[int | None]:
    """Yield the addresses of a list, and None where it makes no sense."""
    seen: set[int] = set()
    while head:
        if head in seen or head not in links:
            yield None
            return
        seen.add(head)
        yield head
        head = links[head][0]


OLD = [layout_for((3, minor)) for minor in (8, 11, 12)]
LAYOUTS = [*OLD, dataclasses.replace(OLD[-1], runtime_interp_main=ABSENT, runtime_main_thread=ABSENT)]


@st.composite
def heaps(draw: st.DrawFn, layout: Layout, size: int = 6) -> Heap:
    """Draw lists that are usually nearly good."""
    interpreters = [INTERPRETERS_AT + number * BLOCK for number in range(draw(st.integers(1, 3)))]
    threads = [THREADS_AT + number * BLOCK for number in range(draw(st.integers(0, size)))]
    garbage = st.sampled_from([*GARBAGE, 0])

    def usually(value: int, *others: int) -> int:
        return draw(st.one_of(*[st.just(value)] * 9, st.sampled_from([value, *others]), garbage))

    return Heap(
        layout,
        usually(interpreters[0]),
        {
            address: (
                usually(after, *interpreters),
                draw(st.sampled_from([0, 1, 2])),
                usually((threads or [0])[0], *threads),
            )
            for address, after in zip(interpreters, [*interpreters[1:], 0], strict=False)
        },
        {
            address: (
                usually(after, *threads),
                usually(interpreters[0], *interpreters),
                draw(st.sampled_from([SELF, 1, 1 << 40])),
            )
            for address, after in zip(threads, [*threads[1:], 0], strict=False)
        },
    )


def made_up(layout: Layout) -> Runtime:
    return Runtime(os.getpid(), (3, 12), "3.12", False, False, RUNTIME, layout, "", 0, 0, process.identity(os.getpid()))


@pytest.mark.parametrize("layout", LAYOUTS, ids=["3.8", "3.11", "3.12", "described"])
def test_damaged_lists(layout: Layout, every: int) -> None:
    """What is found is what a plain walk finds; where that makes no sense there is an error."""
    kinds: Counter[str] = Counter()

    @bounded(300 // every)
    @given(heaps(layout))
    def check(heap: Heap) -> None:
        read = Meter(runtime.LIST_ATTEMPTS * 4 * 12, 1 << 20).reader(heap.read)
        result = outcome_of(lambda: runtime.main_thread(made_up(layout), read))
        kinds[type(result).__name__] += 1
        wanted = heap.main_thread()
        assert result == wanted if wanted is not None else isinstance(result, CorruptTarget)

    check()
    assert every > 1 or {"int", "CorruptTarget"} == kinds.keys()


@pytest.mark.parametrize("layout", LAYOUTS, ids=["3.8", "3.11", "3.12", "described"])
def test_lists_that_change_while_they_are_read(layout: Layout, every: int) -> None:
    @bounded(200 // every)
    @given(heaps(layout), heaps(layout), st.lists(st.booleans(), min_size=1, max_size=20))
    def check(one: Heap, other: Heap, turns: list[bool]) -> None:
        meter = Meter(runtime.LIST_ATTEMPTS * 4 * 12, 1 << 20)
        read = meter.reader(
            lambda address, size: (one if turns[meter.calls % len(turns)] else other).read(address, size)
        )
        found = made_up(layout)
        result = outcome_of(lambda: runtime.threads(found, read, INTERPRETERS_AT))
        if isinstance(result, list):
            addresses = [thread.address for thread in result]
            assert len(set(addresses)) == len(addresses) and set(addresses) <= one.threads.keys() | other.threads.keys()
        thread = outcome_of(lambda: runtime.main_thread(found, read))
        assert isinstance(thread, TachyscopeError) or thread in {0} | one.threads.keys() | other.threads.keys()

    check()


def test_lists_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address comes twice, so only the limit ends them."""
    monkeypatch.setattr(runtime, "MAX_THREADS", limit := 1 << 10)
    monkeypatch.setattr(runtime, "MAX_INTERPRETERS", limit)
    layout = LAYOUTS[-1]

    def read(address: int, size: int) -> bytes:
        block, offset = address // BLOCK * BLOCK, address % BLOCK
        endless = offset in (layout.thread_next, layout.interp_next)
        return (block + BLOCK if endless else INTERPRETERS_AT).to_bytes(size, "little")

    meter = Meter(4 * limit * runtime.LIST_ATTEMPTS + runtime.LIST_ATTEMPTS + 2 * limit + 1, 1 << 30)
    for walk in (
        lambda: runtime.threads(made_up(layout), meter.reader(read), INTERPRETERS_AT),
        lambda: runtime.main_interpreter(made_up(layout), meter.reader(read)),
    ):
        result = outcome_of(walk)
        assert isinstance(result, CorruptTarget) and "endless" in str(result)

"""The tables of offsets: current, and true for a live process."""

from __future__ import annotations

import importlib
import struct
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import INTERPRETERS, WAITING, load_script, memory_reader, spawn_target

from tachyscope.errors import CorruptTarget, TachyscopeError, UnsupportedPython
from tachyscope.target import runtime
from tachyscope.target.layouts import KNOWN, SELF_DESCRIBED_FROM, debug_offsets, layout_fields, layout_for

generator = load_script("generate_layouts")
WITH_HEADERS = generator.discover()
SELF_DESCRIBED = [minor for minor in WITH_HEADERS if minor >= SELF_DESCRIBED_FROM and minor in KNOWN]
TABLES = [minor for minor in WITH_HEADERS if minor < SELF_DESCRIBED_FROM]


def raw_offsets(minor: int, free_threaded: int = 0) -> bytearray:
    """Return plausible debug offsets for a version: every word 8, every size 1 KiB."""
    form = importlib.import_module(f"tachyscope.target.layouts.{KNOWN[minor]}").FORM
    words = [1024 if word == "size" else 8 for _, names in form for word in names]
    header = b"xdebugpy" + struct.pack("<QQ", 0x030000F0 | minor << 16, free_threaded)
    return bytearray(header + struct.pack(f"<{len(words)}Q", *words))


def word_position(minor: int, section: str, word: str) -> int:
    """Return where in the raw bytes a word lies."""
    form = importlib.import_module(f"tachyscope.target.layouts.{KNOWN[minor]}").FORM
    words = [(name, each) for name, names in form for each in names]
    return debug_offsets.HEADER_SIZE_BYTES + 8 * words.index((section, word))


@pytest.mark.parametrize("minor", WITH_HEADERS)
def test_generated_module_is_current(minor: int) -> None:
    python = WITH_HEADERS[minor]
    text = (generator.OUTPUT / f"{python.module}.py").read_text()
    assert generator._without_release(text) == generator._without_release(generator.render(python))


@pytest.mark.parametrize("minor", TABLES)
def test_table_is_what_the_headers_say(minor: int) -> None:
    assert asdict(layout_for((3, minor))) == generator.probe(WITH_HEADERS[minor])


@pytest.mark.parametrize("minor", TABLES)
def test_debug_builds_share_the_table(minor: int) -> None:
    assert asdict(layout_for((3, minor))) == generator.probe(WITH_HEADERS[minor], ["Py_DEBUG=1"])


@pytest.mark.parametrize("minor", SELF_DESCRIBED)
def test_live_debug_offsets_are_what_the_headers_say(minor: int) -> None:
    python = WITH_HEADERS[minor]
    with spawn_target(python.executable, WAITING) as target, memory_reader(target.pid) as read:
        found = runtime.find_runtime(target.pid, read)
        offsets = debug_offsets.decode(read(found.address, 4096))
    assert offsets.version == (3, minor)
    assert asdict(debug_offsets.layout_from(offsets)) == generator.probe(python)
    assert found.layout == debug_offsets.layout_from(offsets)


def test_check_notices_a_stale_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "OUTPUT", tmp_path)
    monkeypatch.setattr(generator, "discover", lambda *_: dict(list(WITH_HEADERS.items())[:1]))
    assert generator.main(["--check"]) == 1
    assert "+LAYOUT = Layout(" in capsys.readouterr().out
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0


@pytest.mark.parametrize("minor", WITH_HEADERS)
def test_headers_alone_are_enough(minor: int) -> None:
    python = WITH_HEADERS[minor]
    alone = generator.headers_only(python.include)
    assert (alone.minor, alone.release) == (python.minor, python.release)
    assert generator.probe(alone) == generator.probe(python)


def test_every_interpreter_at_hand_is_known() -> None:
    assert {int(name.split("-")[0].split(".")[1]) for name in INTERPRETERS} <= KNOWN.keys()


@pytest.mark.parametrize("version", [(2, 7), (3, 7), (3, max(KNOWN) + 1), (4, 8)])
def test_unknown_version(version: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedPython, match=f"CPython {version[0]}.{version[1]}"):
        layout_for(version)


def test_layout_for_a_version_that_describes_itself() -> None:
    with pytest.raises(UnsupportedPython, match="does not describe itself"):
        layout_for((3, SELF_DESCRIBED_FROM))


@pytest.mark.parametrize("minor", SELF_DESCRIBED)
@pytest.mark.parametrize("free_threaded", [0, 1])
def test_decode(minor: int, free_threaded: int) -> None:
    offsets = debug_offsets.decode(bytes(raw_offsets(minor, free_threaded)))
    assert (offsets.version, offsets.free_threaded) == ((3, minor), bool(free_threaded))
    layout = debug_offsets.layout_from(offsets)
    assert layout.thread_next == 8
    assert set(asdict(layout)) == set(layout_fields())


@pytest.mark.parametrize("field", debug_offsets.SOURCES)
@pytest.mark.parametrize("value", [1 << 20, 1 << 63, 1025])
def test_impossible_word_is_named(field: str, value: int) -> None:
    section, word, _ = debug_offsets.SOURCES[field]
    raw = raw_offsets(13)
    struct.pack_into("<Q", raw, word_position(13, section, word), value)
    with pytest.raises(CorruptTarget, match=rf"{section}\.{word}"):
        debug_offsets.layout_from(debug_offsets.decode(bytes(raw)))


@pytest.mark.parametrize("size", [0, (1 << 20) + 1, 1 << 63])
def test_impossible_size_is_named(size: int) -> None:
    raw = raw_offsets(13)
    struct.pack_into("<Q", raw, word_position(13, "code_object", "size"), size)
    with pytest.raises(CorruptTarget, match=r"code_object\.size"):
        debug_offsets.layout_from(debug_offsets.decode(bytes(raw)))


@pytest.mark.parametrize("length", [0, 8, 23, 24, 200])
def test_truncated_offsets(length: int) -> None:
    with pytest.raises(CorruptTarget):
        debug_offsets.decode(bytes(raw_offsets(13)[:length]))


def test_newer_version_is_unsupported() -> None:
    raw = raw_offsets(13)
    struct.pack_into("<Q", raw, 8, 0x03FF00F0)
    with pytest.raises(UnsupportedPython, match=r"3\.255"):
        debug_offsets.decode(bytes(raw))


@given(data=st.data())
def test_arbitrary_offsets_give_only_our_errors(data: st.DataObject) -> None:
    raw = raw_offsets(13)
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(8, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        layout = debug_offsets.layout_from(debug_offsets.decode(bytes(raw)))
    except TachyscopeError:
        return
    assert all(-1 <= value <= debug_offsets.MAX_STRUCTURE_BYTES for value in asdict(layout).values())

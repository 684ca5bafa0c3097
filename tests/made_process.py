"""A process that is made up, word by word: what the core reads of a thread, from the bytecode of a real interpreter.

The bytecode comes from functions that this interpreter itself compiled (`BYTECODE`), the places of all fields from its
layout. So a test can put a frame at any instruction, with any mark, and see what the core makes of it.
"""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from core_support import line_of, stacks_of
from support import spawn_target

from tachyscope._core.memory import Reader
from tachyscope._core.sampler import Sampler
from tachyscope.target import runtime
from tachyscope.target.layouts import ABSENT, STACK_TOP_INDEX, Layout
from tachyscope.target.opcodes import opcodes_of

BYTECODE = """
import dis, json, sys
def callee(a, b):
    c = a
    if a: raise ValueError
    return c
def caller(f):
    x = f()
    for y in x: f(y)
    return x
def generator(n):
    yield n
    for m in generator(n): yield m
def told(function):
    code = function.__code__
    places = [(each.opname, each.offset) for each in dis.get_instructions(function)]
    return [function.__name__, code.co_code.hex(), code.co_nlocals + len(code.co_cellvars), code.co_stacksize, places]
print("ready")
print(json.dumps([told(each) for each in (callee, caller, generator)]), flush=True)
sys.stdin.read()
"""
RUNS = -1
CODE, STACK, THREAD, HEAP, C_STACK, TEXTS, TYPE = (n << 32 for n in range(1, 8))
PAGE = 4096
FUNCTIONS = ("callee", "caller", "generator")


@dataclass
class Function:
    """A function as its interpreter compiled it; `places` are the offsets of its instructions."""

    name: str
    bytecode: bytes
    locals: int
    stack_size: int
    places: list[tuple[str, int]]
    address: int = 0

    def at(self, *names: str, nth: int = 0) -> int:
        """Return the offset of the n-th instruction with one of these names."""
        return [offset for name, offset in self.places if name in names][nth]

    def behind(self, *names: str) -> int:
        """Return the offset of the instruction after the first with one of these names."""
        return next(offset for _, offset in self.places if offset > self.at(*names))


@dataclass
class Interpreter:
    """Layout, instructions and functions of a real one."""

    version: tuple[int, int]
    layout: Layout
    functions: list[Function]

    @property
    def indexed(self) -> bool:
        """Whether its frames say that they run (3.11 to 3.13)."""
        return self.layout.frame_stack_top_kind == STACK_TOP_INDEX


def ask(python: Path) -> Interpreter:
    """Start an interpreter and let it tell."""
    with spawn_target(python, BYTECODE) as target:
        told = json.loads(line_of(target))
        found = runtime.find_runtime(target.pid, Reader(target.pid))
    functions = [Function(name, bytes.fromhex(raw), *rest) for name, raw, *rest in told]
    return Interpreter(found.version, found.layout, functions)


@dataclass
class Made:
    """A thread of such an interpreter. Frames are put on its data stack from the outermost one on."""

    interpreter: Interpreter
    memory: dict[int, bytearray] = field(default_factory=dict)
    top: int = 0  # where the next frame comes
    last: int = 0  # the frame that was put last

    def __post_init__(self) -> None:
        layout = self.interpreter.layout
        self._type()
        for number, function in enumerate(self.interpreter.functions):
            function.address = self._code(CODE + number * PAGE, function)
        for start in (STACK, THREAD, HEAP, C_STACK):
            self.memory[start] = bytearray(2 * PAGE)
        self._word(STACK + layout.chunk_size, 2 * PAGE)
        self._word(THREAD + layout.thread_chunk, STACK)
        self._word(THREAD + layout.thread_exc_info, THREAD + layout.thread_exc_state)
        self.top = STACK + layout.chunk_data + 8

    def __getitem__(self, name: str) -> Function:
        return self.interpreter.functions[FUNCTIONS.index(name)]

    def push(self, function: Function, offset: int, saved: int, previous: int | None = None, value: int = 0) -> int:
        """Put a frame on the data stack, called by the last one if nothing else is said; `saved` words of locals and
        stack are, the topmost iterator is `value`. Return its address."""
        address = self.frame(self.top, function, offset, saved, self.last if previous is None else previous, value)
        layout = self.interpreter.layout
        self.top += layout.frame_locals + 8 * (function.locals + function.stack_size)
        self.last = address
        return address

    def frame(self, address: int, function: Function | None, offset: int, saved: int, previous: int, value: int) -> int:
        """Write a frame anywhere."""
        layout = self.interpreter.layout
        code = function.address if function else 0
        self._word(address + layout.frame_code, code)
        self._word(address + layout.frame_previous, previous)
        self._word(address + layout.frame_instr, code + layout.code_instructions + offset)
        if self.interpreter.indexed:
            self._write(address + layout.frame_stack_top, struct.pack("<i", saved))
        else:
            self._word(address + layout.frame_stack_top, address + layout.frame_locals + 8 * max(saved, 0))
        if value:
            self._word(address + layout.frame_locals + 8 * (saved - layout.frame_iterator), value)
        return address

    def entry(self, previous: int, number: int = 0) -> int:
        """Make an entry frame on the C stack: C code calls a function. On 3.11 there is none."""
        layout = self.interpreter.layout
        if layout.frame_entry_owner == ABSENT:
            return previous
        address = C_STACK + PAGE - 512 * number
        self._word(address + layout.frame_previous, previous)
        self._write(address + layout.frame_owner, bytes([layout.frame_entry_owner]))
        return address

    def from_c(self, frame: int) -> None:
        """Mark a frame as called by C code (3.11)."""
        if self.interpreter.layout.frame_is_entry != ABSENT:
            self._write(frame + self.interpreter.layout.frame_is_entry, b"\x01")

    def generator(
        self, offset: int, saved: int, previous: int, executes: bool = True, address: int = HEAP, value: int = 0
    ) -> int:
        """Make a generator, which iterates over `value`; return the address of the object."""
        layout = self.interpreter.layout
        frame = self.frame(address + layout.generator_frame, self["generator"], offset, saved, previous, value)
        self._write(frame + layout.frame_owner, b"\x01")
        state = layout.generator_executing if executes else layout.generator_executing - 1
        self._write(address + layout.generator_state, struct.pack("<b", state))
        return address

    def end(self, generator: int) -> None:
        """Let a generator have ended: from 3.14 on its frame has lost its code, but not its instruction."""
        layout = self.interpreter.layout
        self._write(generator + layout.generator_state, struct.pack("<b", layout.generator_executing + 1))
        self._word(generator + layout.generator_frame + layout.frame_previous, 0)
        if not self.interpreter.indexed:
            self._word(generator + layout.generator_frame + layout.frame_code, 0)

    def run(self, generator: int) -> None:
        """Let the thread state say that a generator executes."""
        layout = self.interpreter.layout
        self._word(THREAD + layout.thread_exc_info, generator + layout.generator_exc_state)
        if layout.thread_frame != ABSENT:
            self._word(THREAD + layout.thread_frame, generator + layout.generator_frame)

    def current(self, frame: int) -> None:
        """Let the thread state call a frame the current one (3.13 and later)."""
        self._word(THREAD + self.interpreter.layout.thread_frame, frame)

    def stack(self) -> list[str]:
        """Return the names of the one stack that the core sees, outermost first."""
        table = opcodes_of(self.interpreter.version)
        sampler = Sampler(
            0, self.interpreter.layout, THREAD, interval_ns=1, caches=table.caches, roles=table.roles,
            recorded={address: bytes(data) for address, data in self.memory.items()},
        )  # fmt: skip
        while not sampler.counters["samples"]:
            sampler.run(time.monotonic_ns() + 1_000_000)
            assert not sampler.counters["failed"], sampler.counters
        (stack,) = stacks_of(sampler)
        return [seen.name for seen in reversed(stack)]

    # What a code object needs

    def _code(self, address: int, function: Function) -> int:
        layout = self.interpreter.layout
        self.memory[address] = bytearray(layout.code_instructions + len(function.bytecode) + 64)
        self._word(address + layout.object_type, TYPE)
        self._word(address + layout.var_size, len(function.bytecode) // 2)
        for name in ("code_name", "code_qualname"):
            self._word(address + getattr(layout, name), self._text(function.name))
        self._word(address + layout.code_filename, self._text("made.py"))
        self._word(address + layout.code_linetable, self._text(""))
        self._write(address + layout.code_locals, struct.pack("<i", function.locals))
        self._write(address + layout.code_stack_size, struct.pack("<i", function.stack_size))
        self._write(address + layout.code_instructions, function.bytecode)
        return address

    def _text(self, text: str) -> int:
        layout, address = self.interpreter.layout, TEXTS + PAGE * len(self.memory)
        self.memory[address] = bytearray(256)
        if text:
            self._word(address + layout.unicode_length, len(text))
            state = 1 << layout.unicode_kind_shift | 1 << layout.unicode_compact_shift | 1 << layout.unicode_ascii_shift
            self._write(address + layout.unicode_state, struct.pack("<I", state))
            self._write(address + layout.unicode_ascii_data, text.encode())
        return address

    def _type(self) -> None:
        self.memory[TYPE] = bytearray(PAGE)
        self._word(TYPE + self.interpreter.layout.type_name, TYPE + PAGE // 2)
        self._write(TYPE + PAGE // 2, b"code\0")

    def _word(self, address: int, value: int) -> None:
        self._write(address, struct.pack("<Q", value))

    def _write(self, address: int, data: bytes) -> None:
        start = max(each for each in self.memory if each <= address)
        self.memory[start][address - start : address - start + len(data)] = data

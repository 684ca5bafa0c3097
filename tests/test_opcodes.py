"""Which instruction every frame is at: the tables, and what a profile says of a running program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from core_support import PROGRAMS, line_of
from support import READY_TIMEOUT_SECONDS, ROOT, spawn_target

from tachyscope import Profile, UsageError, attach
from tachyscope.cli.output import Output
from tachyscope.cli.parser import parse
from tachyscope.profile.model import Instruction
from tachyscope.target.layouts import KNOWN
from tachyscope.target.opcodes import opcodes_of

Told = dict[str, dict[str, str]]
SAMPLES = 500


def test_tables_are_what_the_interpreter_says(python: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "generate_opcodes.py", "--check", "--python", python]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=READY_TIMEOUT_SECONDS)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("minor", KNOWN)
def test_every_version_has_a_table(minor: int) -> None:
    opcodes = opcodes_of((3, minor))
    assert len(opcodes.caches) == 256
    names = {name for name, _ in opcodes.names.values()}
    assert {"RETURN_VALUE", "BINARY_OP" if minor >= 11 else "BINARY_ADD"} <= names
    assert {base for _, base in opcodes.names.values()} <= names


def profile_of(python: Path, opcodes: bool) -> tuple[Profile, Told, Told]:
    """Return a profile, and the names of the instructions of each function at each offset, also as specialised."""
    with spawn_target(python, PROGRAMS / "instructions.py") as target:
        told, specialised = json.loads(line_of(target))
        with attach(target.pid, interval_us=500, opcodes=opcodes) as session:
            while session.sample(0.3) < SAMPLES:
                pass
            return session.profile(), told, specialised


def test_every_frame_is_at_an_instruction_of_its_function(python: Path) -> None:
    profile, told, specialised = profile_of(python, opcodes=True)
    assert profile.accuracy.failed == 0
    seen: Counter[tuple[str, Instruction]] = Counter()
    for _, stack, count in profile.stacks():
        for frame in stack:
            if frame.function.name in told and frame.instruction is not None:
                seen[frame.function.name, frame.instruction] += count
    assert {name for name, _ in seen} == set(told)
    for name, instruction in seen:
        assert instruction.base == told[name][str(instruction.offset)]
    # Some are specialised once more, or back, while this goes on; a prefix belongs to the instruction that follows.
    same = sum(count for (name, each), count in seen.items() if each.name == specialised[name][str(each.offset)])
    assert same > 0.9 * seen.total()
    called = {each.base for name, each in seen if name == "middle"}
    assert called & {"CALL", "CALL_FUNCTION"}
    names = {each.name for _, each in seen}
    if told == specialised:  # up to 3.10 there are none
        assert names <= {name for each in told.values() for name in each.values()}
    else:
        assert any(name.startswith(("FOR_ITER_RANGE", "BINARY_OP_")) for name in names)


def test_no_instructions_unless_wanted(python: Path) -> None:
    profile, _, _ = profile_of(python, opcodes=False)
    assert all(frame.instruction is None for _, stack, _ in profile.stacks() for frame in stack)


@pytest.mark.parametrize("form", ["--pstats", "--collapsed"])
def test_formats_that_show_no_instructions_refuse(form: str) -> None:
    with pytest.raises(UsageError, match=f"--opcodes has no meaning with {form}"):
        Output(parse(["attach", "--opcodes", form, "1"]))

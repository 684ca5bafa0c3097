"""One test per mark that CPython leaves in frames, for each version that has it, with that version's own bytecode."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_process import HEAP, PAGE, RUNS, Function, Interpreter, Made, ask
from support import INTERPRETERS

from tachyscope.target.layouts import ABSENT

CALLS = ("CALL", "CALL_FUNCTION", "PRECALL")
RETURNS = ("RETURN_VALUE", "RETURN_CONST")

_asked: dict[Path, Interpreter] = {}


@pytest.fixture(params=[pytest.param(path, id=f"py{name}") for name, path in INTERPRETERS.items()])
def made(request: pytest.FixtureRequest) -> Made:
    """A made-up thread of each version that keeps its frames on a data stack."""
    path: Path = request.param
    if path not in _asked:
        _asked[path] = ask(path)
    if _asked[path].version < (3, 11):
        pytest.skip("its frames are objects")
    return Made(_asked[path])


def in_call(made: Made, function: Function) -> int:
    """Return where a frame in a call says to be: to 3.12 at the end of the call's cache."""
    place = function.at("CALL")
    return place if made.interpreter.version >= (3, 13) else function.behind("CALL") - 2


def put_caller(made: Made, runs: bool = False, previous: int | None = None) -> Function:
    """Put a frame in a call of another function, or running C code: the outermost one if nothing else is said."""
    caller = made["caller"]
    link = made.entry(0) if previous is None else previous
    made.push(caller, in_call(made, caller), RUNS if runs else caller.locals + 1, previous=link)
    return caller


def put_callee(made: Made, offset: int, saved: int | None = None, previous: int | None = None) -> None:
    callee = made["callee"]
    if saved is None:
        saved = RUNS if made.interpreter.indexed else callee.locals + 1
    made.push(callee, offset, saved, previous)


def inside(function: Function) -> int:
    """Return a place in the middle of a function where it neither calls nor leaves."""
    return function.at("STORE_FAST")


def test_who_runs_is_the_leaf(made: Made) -> None:
    put_caller(made)
    put_callee(made, inside(made["callee"]))
    assert made.stack() == ["caller", "callee"]


def test_who_waits_above_is_the_leaf_while_nobody_runs(made: Made) -> None:
    put_caller(made)
    put_callee(made, inside(made["callee"]), made["callee"].locals + 1)
    assert made.stack() == ["caller", "callee"]


@pytest.mark.parametrize("leaves", [RETURNS, ("RAISE_VARARGS",)], ids=["return", "raise"])
def test_who_leaves_is_no_leaf(made: Made, leaves: tuple[str, ...]) -> None:
    put_caller(made)
    put_callee(made, made["callee"].at(*leaves), made["callee"].locals + 1)
    raises = leaves == ("RAISE_VARARGS",) and not made.interpreter.indexed  # then it loses its code when it is over
    assert made.stack() == (["caller", "callee"] if raises else ["caller"])


def test_who_has_no_locals_any_more_has_left(made: Made) -> None:
    put_caller(made)
    put_callee(made, inside(made["callee"]), 0)
    assert made.stack() == ["caller"]


def test_who_made_a_generator_of_itself_has_left(made: Made) -> None:
    put_caller(made)
    function = made["generator"]
    made.push(function, function.behind("RETURN_GENERATOR"), function.locals)
    assert made.stack() == ["caller"]


def test_who_is_about_to_make_a_generator_still_runs(made: Made) -> None:
    put_caller(made)
    function = made["generator"]
    made.push(function, function.at("RETURN_GENERATOR"), RUNS if made.interpreter.indexed else function.locals)
    assert made.stack() == ["caller", "generator"]


def test_who_has_not_begun_is_no_leaf(made: Made) -> None:
    """From 3.14 on a short function says this through its first instructions."""
    put_caller(made)
    put_callee(made, 0 if made.interpreter.version >= (3, 13) else -2, made["callee"].locals)
    assert made.stack() == (["caller"] if made.interpreter.indexed else ["caller", "callee"])


def test_who_has_not_been_entered_by_c_code_is_no_leaf(made: Made) -> None:
    put_caller(made)
    put_callee(made, inside(made["callee"]), previous=0)
    assert made.stack() == ["caller"]


def test_who_runs_does_not_wait_for_a_call(made: Made) -> None:
    if not made.interpreter.indexed:
        pytest.skip("nobody says that it runs")
    put_caller(made, runs=True)
    put_callee(made, inside(made["callee"]), made["callee"].locals + 1)
    assert made.stack() == ["caller"]


def test_who_runs_in_c_code_waits_for_what_that_calls(made: Made) -> None:
    put_caller(made, runs=made.interpreter.indexed)
    put_callee(made, inside(made["callee"]), previous=made.entry(made.last, 1))
    made.from_c(made.last)
    assert made.stack() == ["caller", "callee"]


@pytest.mark.parametrize("left", [True, False])
def test_a_call_that_raised_leaves_a_frame_that_the_thread_state_tells_of(made: Made, left: bool) -> None:
    """C code called it, and a call in it raised: its stack has been emptied, and it says to be in that call still."""
    if not made.interpreter.indexed or made.interpreter.layout.thread_frame == ABSENT:
        pytest.skip("no such mark, or it is not in the thread state which frame is current")
    outer = put_caller(made, runs=True)
    below = made.last
    address = made.push(outer, in_call(made, outer), outer.locals, previous=made.entry(below, 1))
    made.current(below if left else address)
    assert made.stack() == ["caller"] * (1 if left else 2)


def test_remains_above_the_leaf_do_not_count(made: Made) -> None:
    """A frame that was left, with another one above it that it called."""
    put_caller(made)
    put_callee(made, made["callee"].at(*RETURNS), made["callee"].locals + 1)
    callee = made["callee"]
    made.push(callee, callee.at(*RETURNS), 0)
    assert made.stack() == ["caller"]


def put_consumed(made: Made) -> int:
    """A frame is at FOR_ITER with a generator on its stack; returns that."""
    if made.interpreter.version < (3, 12):
        pytest.skip("C code runs its generators")
    caller = made["caller"]
    place = caller.at("FOR_ITER")
    if made.interpreter.version < (3, 13):
        place = caller.behind("FOR_ITER") - 2
    saved = caller.locals + made.interpreter.layout.frame_iterator
    made.push(caller, place, saved, previous=made.entry(0))
    generator = made["generator"]
    runs = RUNS if made.interpreter.indexed else generator.locals + 1
    value = made.generator(generator.at("YIELD_VALUE"), runs, made.last)
    made.frame(made.last, caller, place, saved, made.entry(0), value)
    return value


def test_a_generator_on_the_stack_of_its_consumer_runs(made: Made) -> None:
    put_consumed(made)
    assert made.stack() == ["caller", "generator"]


def test_a_generator_that_is_torn_down_is_its_consumers_time(made: Made) -> None:
    made.end(put_consumed(made))
    assert made.stack() == ["caller"]


def test_a_generator_without_a_link_is_found_from_who_holds_it(made: Made) -> None:
    """It called a function, and was left before it was read; but another one, which runs for the caller, is at it."""
    outer, function = put_consumed(made), made["generator"]
    place = function.at("FOR_ITER") if made.interpreter.version >= (3, 13) else function.behind("FOR_ITER") - 2
    inner = made.generator(function.at("YIELD_VALUE"), function.locals, 0, executes=False, address=HEAP + PAGE // 2)
    saved = function.locals + made.interpreter.layout.frame_iterator
    assert made.generator(place, saved, made.last, value=inner) == outer
    put_callee(made, inside(made["callee"]), previous=inner + made.interpreter.layout.generator_frame)
    assert made.stack() == ["caller", "generator", "generator", "callee"]


def put_driven(made: Made, linked: bool, previous: int | None = None) -> None:
    """C code, called by a frame that runs, runs a generator, or did until just now."""
    put_caller(made, made.interpreter.indexed, previous)
    generator = made["generator"]
    runs = RUNS if made.interpreter.indexed else generator.locals + 1
    link = made.entry(made.last, 1) if linked else 0
    value = made.generator(generator.at("YIELD_VALUE"), runs if linked else generator.locals, link, executes=linked)
    made.from_c(value + made.interpreter.layout.generator_frame)
    made.run(value)


def test_a_generator_that_c_code_runs_is_the_leaf(made: Made) -> None:
    put_driven(made, linked=True)
    assert made.stack() == ["caller", "generator"]


def test_a_generator_without_a_link_has_uncertain_callers(made: Made) -> None:
    put_driven(made, linked=False)
    assert made.stack() == ["<uncertain>", "generator"]


def test_a_generator_that_has_ended_since_c_code_ran_it_is_the_leaf(made: Made) -> None:
    """Its function is known from another frame here; the lost link is no proof of who ran it."""
    function = made["generator"]
    made.push(function, function.at("YIELD_VALUE"), function.locals + 1, previous=made.entry(0, 2))
    put_driven(made, linked=False, previous=made.last)
    made.end(HEAP)
    assert made.stack() == ["<uncertain>", "generator"]

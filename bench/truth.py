"""Which stacks a program of programs/ can have: what the benchmarks of truth check every sample against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bench.profilers import Recording, Stack

Possible = Callable[[Stack], bool]


def _prefixes(*chain: str) -> set[Stack]:
    return {chain[:length] for length in range(len(chain) + 1)}


_ALTERNATING = {
    ("<module>", "main", *rest)
    for chain in "ab"
    for rest in _prefixes(f"{chain}1", f"{chain}2", f"{chain}3", f"leaf_{chain}")
} | {("<module>",)}


def alternating(stack: Stack) -> bool:
    """Two chains that never mix."""
    return stack in _ALTERNATING


def churn(stack: Stack) -> bool:
    """caller_7 calls callee_7 and nothing else; both are called by the program's own functions."""
    callers = [(place, name) for place, name in enumerate(stack) if name.startswith("caller_")]
    callees = [(place, name) for place, name in enumerate(stack) if name.startswith("callee_")]
    if len(callers) > 1 or len(callees) > 1:
        return False
    if callees:
        return bool(callers) and _are_a_pair(callers[0], callees[0]) and callees[0][0] == len(stack) - 1
    return not callers or callers[0][0] == len(stack) - 1


def _are_a_pair(caller: tuple[int, str], callee: tuple[int, str]) -> bool:
    return callee[0] == caller[0] + 1 and callee[1] == caller[1].replace("caller", "callee")


RECURSION_DEPTHS = (3, 40, 7, 25, 12, 60, 1, 33)


def recursion(stack: Stack) -> bool:
    """Even and odd in turn, the leaf only where one of the depths is reached."""
    calls = stack[2:]
    if stack[:2] != ("<module>", "main")[: len(stack)]:
        return False
    has_leaf = calls[-1:] == ("leaf",)
    levels = len(calls) - has_leaf
    in_turn = all(name == ("even", "odd")[place % 2] for place, name in enumerate(calls[:levels]))
    return in_turn and (levels - 1 in RECURSION_DEPTHS if has_leaf else levels - 1 <= max(RECURSION_DEPTHS))


WAYS = (
    "cacbaddaabcdddbbc",
    "cdaddabbabaabccccbaacbbbaaccb",
    "dbcdbbdabdcbaabdbbaacacddabad",
    "aaaaccacaabbababcbdcadabbbbac",
    "dbaddabbcdacbccb",
    "acadccddaadbaa",
)
_MUTUAL = set[Stack]().union(*(_prefixes("<module>", "main", *way, "end", "leaf") for way in WAYS)) - {()}


def mutual(stack: Stack) -> bool:
    """A beginning of one of the ways: one that mixes two of them cannot be."""
    return stack in _MUTUAL


_GENERATORS = (
    _prefixes("<module>", "main", "nested", "outer", "inner", "item")
    | _prefixes("<module>", "main", "summed", "<genexpr>", "item")
) - {()}


def generators(stack: Stack) -> bool:
    """A generator is called by who asks it for an item, and by nobody else."""
    return stack in _GENERATORS


_STREAMS = (
    {("<module>", "main", "split")}  # it makes the generator
    | _prefixes("<module>", "main", "count", "stem")
    | _prefixes("<module>", "main", "count", "split", "clean", "<genexpr>")
    | _prefixes("<module>", "main", "count", "__missing__")
    | _prefixes("<module>", "main", "count", "__init__", "update")  # of Counter, as is __missing__
) - {()}


def streams(stack: Stack) -> bool:
    """Words are counted as they come out of the generators."""
    return stack in _STREAMS


def deep(depth: int) -> Possible:
    """All frames there: the module, `depth` + 1 levels of down, work, and what it calls."""
    base = ("<module>", *["down"] * (depth + 1), "work")
    possible = {base, *(base + ("swing",) * levels for levels in range(1, 8)), base + ("swing",) * 7 + ("leaf",)}
    return lambda stack: stack in possible


def impossible(recording: Recording, possible: Possible) -> Counter[Stack]:
    """The stacks that cannot have been, with how often they were seen. Empty stacks are no stacks, and garbage may be
    collected anywhere."""
    wrong = Counter[Stack]()
    for stack, count in recording.stacks.items():
        of_program = stack[:-1] if stack[-1:] == ("<GC>",) else stack
        if of_program and not possible(of_program):
            wrong[stack] += count
    return wrong

"""Context managers: made of generators and of classes, nested, contextlib's suppress and ExitStack, exceptions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType

NOTHING: dict[int, int] = {}
log: list[str] = []


@contextlib.contextmanager
def tag(name: str) -> Iterator[str]:
    log.append(name)
    try:
        yield name
    finally:
        log.pop()


class Guard:
    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        return kind is ValueError


def work(number: int) -> int:
    return number * number


def nested(number: int) -> None:
    with tag("outer"), Guard():
        work(number)
        with contextlib.suppress(KeyError):
            del NOTHING[number]
        raise ValueError


def stacked(number: int) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(tag("inner"))
        stack.callback(work, number)
        stack.enter_context(Guard())


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for number in range(1200):
            nested(number)
            stacked(number)

    return iterate

"""Plain calls, decorators, lambdas, comprehensions, executed code, calls over several lines."""

import contextlib
import functools

from _point import point


def inner(value):
    point()
    return value


def outer(
    first,
    second=2,
):
    return inner(
        first + second + inner(second),
    )


def plain(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def with_argument(times):
    def decorate(function):
        @functools.wraps(function)
        def repeated(*args):
            for _ in range(times):
                function(*args)

        return repeated

    return decorate


@plain
@with_argument(2)
@plain
def decorated():
    point()


def comprehensions():
    values = [
        inner(each)
        for each in range(2)
        if each
    ]  # fmt: skip
    values += {inner(each): [inner(other) for other in range(1)] for each in range(1)}
    return values, {inner(each) for each in (1,)}


def closures():
    free = 3

    def closure():
        nonlocal free
        free += 1
        return (lambda value: (lambda: point(value, free))())(free)

    return closure()


@contextlib.contextmanager
def managed():
    point()
    try:
        yield 1
    finally:
        point()


def handlers():
    with managed() as value, managed():
        try:
            raise ValueError(value)
        except ValueError:
            point()
        finally:
            point()


def executed():
    source = "\n\n\ndef made():\n    here()\n\n\nmade(\n)\n"
    exec(compile(source, "<executed source>", "exec"), {"here": point})
    exec("point()")
    eval("\n(\npoint\n(\n)\n)")


def defaults(value=point()):  # noqa: B008
    for each in (
        inner(value),
        inner(value),
    ):
        while each:
            each = not point()


class Body:
    point()
    attribute = tuple(point() for _ in range(1))


outer(1)
decorated()
comprehensions()
closures()
handlers()
executed()
defaults()
(lambda: point())()
point()

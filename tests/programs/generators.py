"""Generators: nested `yield from`, expressions, driven from several places, thrown into, closed."""

from _point import point


def leaf(count):
    for each in range(count):
        point()
        yield each
    return count


def middle(count):
    result = yield from leaf(count)
    point()
    yield from (each for each in leaf(result))


def top(count):
    yield from middle(count)
    yield from nested(3)


def nested(depth):
    if depth:
        yield from nested(depth - 1)
    else:
        point()
        yield "end"


class Iterable:
    def __iter__(self):
        yield point()
        yield from self.more()

    def more(self):
        yield point()


def expressions():
    inner = (point() for _ in range(1))
    outer = (each for each in inner)
    return sum(each for each in outer) + len(list(Iterable()))


def suspicious():
    try:
        while True:
            try:
                point((yield 1))
            except ValueError:
                point()
    finally:
        point()


def driven():
    generator = suspicious()
    next(generator)
    generator.send(2)
    generator.throw(ValueError())
    generator.close()


def taken_over(generator):
    next(generator)
    return generator


for value in top(1):
    point(value)
print_later = taken_over(leaf(3))
(lambda: taken_over(print_later))()
first, *rest = leaf(2)
expressions()
driven()
for pair in zip(leaf(1), middle(1)):  # noqa: B905
    point(pair)

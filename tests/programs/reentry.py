"""C code that calls back into Python: builtins, regular expressions, ctypes, slots, finalizers."""

import ctypes
import functools
import gc
import re
import weakref

from _point import point


def key(value):
    point()
    return value


def builtins_again(depth):
    if depth:
        return sorted([depth], key=lambda each: builtins_again(each - 1))
    return list(map(key, [1])) + list(filter(key, [1])) + [max([1], key=key)]


def reduced():
    return functools.reduce(lambda total, each: total + key(each), [1, 2])


def substituted():
    return re.sub("a", lambda match: str(key(match.group())), "ab")


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
def compare(first, second):
    key(first[0])
    return first[0] - second[0]


def quicksorted():
    numbers = (ctypes.c_int * 2)(2, 1)
    ctypes.CDLL(None).qsort(numbers, len(numbers), ctypes.sizeof(ctypes.c_int), compare)


class Slots:
    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return key(self.value < other.value)

    def __hash__(self):
        return key(1)

    def __eq__(self, other):
        return bool(key(True))

    def __getattr__(self, name):
        return key(name)

    def __repr__(self):
        key(0)
        return "slots"

    def __call__(self, value):
        return key(value)

    def __len__(self):
        return key(1)

    def __del__(self):
        key(0)

    def __format__(self, spec):
        return str(key(spec))

    def __iter__(self):
        return iter([key(1)])

    def __enter__(self):
        return key(self)

    def __exit__(self, *error):
        key(0)


def slots():
    one, two = Slots(1), Slots(2)
    sorted([one, two])
    {one: 1, two: 2}  # noqa: B018
    one.missing  # noqa: B018
    f"{one!r:>3}{two:x}"
    functools.partial(one, 1)()
    len(two)
    [*one]  # noqa: B018
    with one:
        pass


def collected():
    cycle = []
    cycle.append((cycle, Slots(3)))
    watched = Slots(4)
    weakref.finalize(watched, key, 5)
    del cycle, watched
    gc.collect()


@functools.lru_cache(maxsize=None)  # noqa: UP033
def cached(depth):
    return cached(depth - 1) if depth else key(depth)


builtins_again(3)
reduced()
substituted()
quicksorted()
slots()
collected()
cached(3)

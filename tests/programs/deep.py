"""Recursion over several chunks of the data stack, in the main thread and in another one, and back again."""

import functools
import sys
import threading

from _point import point

DEPTH = int(sys.argv[1])
sys.setrecursionlimit(DEPTH + 500)


def down(depth, a=1, b=2, c=3):
    if depth == 0:
        point()
    else:
        other(depth - 1, a, b=b)
        if depth == DEPTH // 2:
            point()


def other(depth, *args, **kwargs):
    local = [depth, args, kwargs]
    if depth == 0:
        point()
        return
    down(local[0] - 1)


def through_c(depth):
    """Every other call goes through C code."""
    return functools.reduce(lambda _, each: through_c(each - 1), [depth], 0) if depth else point()


down(DEPTH)
down(DEPTH + 1 if DEPTH % 2 else DEPTH - 1)
through_c(min(DEPTH, 900) // 12)
threading.stack_size(64 << 20)
thread = threading.Thread(target=down, args=(DEPTH,))
thread.start()
thread.join()
down(3)

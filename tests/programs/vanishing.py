"""Its data stacks, frames, code and thread state come and go, and vanish while they are in use; until it is killed.

Arguments: the library made of vanishing.c, and a copy of it to be loaded and unloaded. Begins with a line of input.
"""

import _ctypes
import ctypes
import random
import sys
import threading
from pathlib import Path

# Unlike CDLL this keeps the GIL, so no Python runs while something has vanished.
vanish = ctypes.PyDLL(sys.argv[1]).vanish
vanish.argtypes, vanish.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long), None
current_thread = ctypes.pythonapi.PyThreadState_Get
current_thread.restype = ctypes.c_void_p
libc = ctypes.CDLL(None)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
FRAME_OF_FRAME_OBJECT = 24  # 3.11+: PyFrameObject.f_frame
WIDE_LOCALS = 9000
MAX_NANOSECONDS = 300_000

chance = random.Random(1)


def wide_generator():
    """A function whose generators are large enough to be mapped one by one."""
    names = "".join(f"    x{number} = 0\n" for number in range(WIDE_LOCALS))
    namespace = {}
    exec("def wide(inner):\n    if inner is None:\n        return\n" + names + "    yield from inner\n", namespace)
    return namespace["wide"]


def down(depth, bottom):
    return down(depth - 1, bottom) if depth else bottom()


def work():
    return sum(range(200))


def generate(wide):
    generators = wide(wide(wide(iter(range(3)))))
    for _ in generators:
        work()


def in_threads():
    threads = [threading.Thread(target=down, args=(chance.randrange(2000), work)) for _ in range(3)]
    for thread in threads:
        thread.start()
    down(chance.randrange(3000), work)
    for thread in threads:
        thread.join()


def wait_until_alone():
    """A thread that was joined may still be about to free its memory, without the GIL."""
    while len(list(Path("/proc/self/task").iterdir())) > 1:
        pass


def frame_at(frame):
    if sys.version_info < (3, 11):
        return id(frame)
    return ctypes.c_void_p.from_address(id(frame) + FRAME_OF_FRAME_OBJECT).value


def take_away():
    for _ in range(chance.randrange(20)):
        frame = sys._getframe(chance.randrange(6))
        work()
        victims = [(frame_at(frame), chance.randrange(2)), (id(frame.f_code), 0), (current_thread(), 0)]
        address, unmap = chance.choice(victims)
        vanish(address, unmap, chance.randrange(MAX_NANOSECONDS))


def main():
    libc.mallopt(M_TRIM_THRESHOLD, 0)
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 16)
    sys.setrecursionlimit(10_000)
    wide = wide_generator()
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        in_threads()
        generate(wide)
        _ctypes.dlclose(_ctypes.dlopen(sys.argv[2], 2))
        wait_until_alone()
        down(chance.randrange(8, 300), take_away)


main()

"""Threads that wait at different places, each with a name; and some that run, if asked for.

Tells its threads as a line of JSON: {name: [pthread id, kernel id, names of functions, root first]}.
"""

import json
import os
import sys
import threading

waiting, running = int(sys.argv[1]), int(sys.argv[2])
over = threading.Event()
parked = threading.Barrier(waiting + running + 1)


def down(depth):
    if depth:
        return down(depth - 1)
    parked.wait()
    return over.wait()


def leaf(count):
    total = 0
    for each in range(count):
        total += each
    return total


def work():
    parked.wait()
    while True:
        leaf(300)


def stack_of(ident):
    names, frame = [], sys._current_frames()[ident]
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names[::-1]


threads = [threading.Thread(target=down, args=(3 + i % 5,), name=f"waits {i}", daemon=True) for i in range(waiting)]
threads += [threading.Thread(target=work, name=f"works {i}", daemon=True) for i in range(running)]
for thread in threads:
    thread.start()
parked.wait()
while any(stack_of(thread.ident)[-3:] != ["down", "wait", "wait"] for thread in threads[:waiting]):
    pass
while any(stack_of(thread.ident)[-1] not in ("work", "leaf") for thread in threads[waiting:]):
    pass
told = {thread.name: [thread.ident, thread.native_id, stack_of(thread.ident)] for thread in threads}
print("ready", flush=True)
print(json.dumps(told), flush=True)
os.read(0, 1)

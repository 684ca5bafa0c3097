"""Threads that begin and end all the time: each runs a `body_N` that calls `inner_N`, nothing else."""

import threading


def make(number):
    source = f"def inner_{number}():\n    return sum(range(2000))\n\n\ndef body_{number}():\n"
    source += f"    for _ in range(20):\n        inner_{number}()\n"
    namespace = {}
    exec(compile(source, "coming.py", "exec"), namespace)
    return namespace[f"body_{number}"]


bodies = [make(number) for number in range(4)]
print("ready", flush=True)
while True:
    threads = [threading.Thread(target=body, name=body.__name__) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

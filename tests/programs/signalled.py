"""Computes in several threads, makes new ones all the time, and answers each SIGUSR1 with a line."""

import os
import signal
import sys
import threading

THREADS = int(sys.argv[1])


def leaf(count):
    total = 0
    for each in range(count):
        total += each
    return total


def work():
    while True:
        leaf(300)


def come_and_go():
    while True:
        thread = threading.Thread(target=leaf, args=(100,))
        thread.start()
        thread.join()


def answer(number, frame):
    os.write(1, b"answer\n")


signal.signal(signal.SIGUSR1, answer)
for _ in range(THREADS):
    threading.Thread(target=work, daemon=True).start()
threading.Thread(target=come_and_go, daemon=True).start()
print("ready", flush=True)
work()

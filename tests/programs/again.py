"""Works for some moments and executes itself again, with each interpreter that is named; then it becomes /bin/sleep.

Begins when its input is closed.
"""

import os
import random
import sys
import time

LONGEST_S = 0.1


def work():
    return sum(range(300))


def main(interpreters):
    end = time.time() + random.random() * LONGEST_S
    while time.time() < end:
        work()
    if interpreters:
        os.execv(interpreters[0], [interpreters[0], __file__, *interpreters[1:]])
    os.execv("/bin/sleep", ["sleep", "0.05"])


sys.stdin.read()
main(sys.argv[1:])

"""Works for some moments (of CPU time), executes itself again with each interpreter named, then becomes /bin/sleep.

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
    end = time.process_time() + random.random() * LONGEST_S
    while time.process_time() < end:
        work()
    if interpreters:
        os.execv(interpreters[0], [interpreters[0], __file__, *interpreters[1:]])
    os.execv("/bin/sleep", ["sleep", "0.05"])


sys.stdin.read()
main(sys.argv[1:])

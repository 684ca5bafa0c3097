"""Functions made and dropped all the time: `f_N`, called only by `g_N`, at line 10 * (N % 1000) + 1 of the file N."""

import sys

SOURCE = """{gap}def f_{number}(count):
    return [each for each in range(count)]


def g_{number}(count):
    for _ in range(30):
        f_{number}(count)
"""
LINES_APART = 10


def made(number):
    namespace = {}
    gap = "\n" * (LINES_APART * (number % 1000))
    exec(compile(SOURCE.format(gap=gap, number=number), str(number), "exec"), namespace)
    return namespace[f"g_{number}"]


def main(rounds):
    print("ready", flush=True)
    number = 0
    while True:
        function = made(number)
        for _ in range(rounds):
            function(20)
        number += 1


main(int(sys.argv[1]))

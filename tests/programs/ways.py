"""Four functions that call each other along the ways given, such as `acdb`, in turn: python ways.py WAY..."""

import sys


def leaf():
    for _ in range(20):
        pass


def a(steps, level):
    steps[level](steps, level + 1)


def b(steps, level):
    steps[level](steps, level + 1)


def c(steps, level):
    steps[level](steps, level + 1)


def d(steps, level):
    steps[level](steps, level + 1)


def end(steps, level):
    leaf()


def main():
    ways = [[globals()[name] for name in way] + [end] for way in sys.argv[1:]]
    print("ready", flush=True)
    while True:
        for steps in ways:
            steps[0](steps, 1)


main()

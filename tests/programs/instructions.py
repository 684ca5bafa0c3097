"""Loops in one function and, through another, in a third. Tells their instructions, as `dis` has them, as a line of
JSON: {function: {byte offset: name}}, then the same with the specialised names where there are any."""

import dis
import json
import sys


def inner(count):
    total = 0
    for each in range(count):
        total += each * 3
    return total


def middle(count):
    return inner(count) + inner(count - 1)


def outer(rounds):
    total = 0
    while rounds:
        total += middle(200)
        rounds -= 1
    return total


def instructions(function, **how):
    return {each.offset: each.opname for each in dis.get_instructions(function, **how)}


for _ in range(10):
    outer(500)
how = {"adaptive": True} if sys.version_info >= (3, 11) else {}
functions = {each.__name__: each for each in (inner, middle, outer)}
print("ready", flush=True)
print(
    json.dumps([{name: instructions(each, **more) for name, each in functions.items()} for more in ({}, how)]),
    flush=True,
)
while True:
    outer(1000)

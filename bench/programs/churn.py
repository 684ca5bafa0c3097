"""Functions that come and go: each is called a few times and dropped, so the next one takes over its memory.

The names tell which belong together: caller_7 calls callee_7, and only that.
"""

from types import CodeType
from typing import Any

SOURCE = """
def callee_{0}():
    for _ in range(20):
        pass

def caller_{0}():
    for _ in range(30):
        callee_{0}()
"""
VARIANTS = 500


def main() -> None:
    codes = [compile(SOURCE.format(number), f"churn_{number}.py", "exec") for number in range(VARIANTS)]
    texts = [SOURCE.format(number) for number in range(VARIANTS)]
    number = 0
    while True:
        number = (number + 1) % VARIANTS
        if number % 10:  # code objects that stay, functions that do not
            run(codes[number], number)
        else:  # code objects that are made anew and dropped as well
            run(compile(texts[number], f"churn_{number}.py", "exec"), number)


def run(code: CodeType, number: int) -> None:
    names: dict[str, Any] = {}
    exec(code, names)
    names[f"caller_{number}"]()


print("ready", flush=True)
main()

"""Like churn.py, but every function is compiled anew, so that code objects live for a millisecond or less."""

from typing import Any

SOURCE = """
def callee_{0}():
    for _ in range(20):
        pass

def caller_{0}():
    for _ in range(200):
        callee_{0}()
"""


def main() -> None:
    number = 0
    while True:
        number = (number + 1) % 1000
        names: dict[str, Any] = {}
        exec(SOURCE.format(number), names)
        names[f"caller_{number}"]()


print("ready", flush=True)
main()

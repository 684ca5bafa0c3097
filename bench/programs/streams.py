"""A stream of words through generators, as programs that read files have it.

    main -> count -> split (lives for one text) -> clean -> a generator expression, run by str.join
                  -> stem

The generator expression is made anew for every line, and in between objects of all sizes are, so its frame moves.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator

generator = random.Random(42)
WORDS = ["".join(generator.choice("abcdefghijklmno") for _ in range(generator.randint(4, 10))) for _ in range(4000)]


def make_text() -> list[str]:
    return [" ".join(generator.choice(WORDS) + "," for _ in range(12)).capitalize() for _ in range(2500)]


def clean(line: str) -> str:
    return "".join(letter for letter in line.lower() if letter.isalpha() or letter == " ")


def stem(word: str) -> str:
    for ending in ("no", "ab", "ly", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word


def split(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from clean(line).split()


def count(words: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for word in words:
        counts[stem(word)] += 1
    return counts


def main() -> None:
    text = make_text()
    while True:
        count(split(text))


print("ready", flush=True)
main()

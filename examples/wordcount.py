"""Count the words of a long text, the text being made up on the spot: always the same one.

    python wordcount.py              print the most frequent words
    python wordcount.py 500000       with a text of so many words (default 600,000)
    tachyscope run wordcount.py      see where the time goes

What a profile of it shows: four stages that share the time. Making the text up (`make_text`) is not what the program
is for, yet takes a good part; then come `clean`, `stem` (called for every single word) and `count`.
"""

import random
import sys
from collections import Counter

SYLLABLES = ["ba", "co", "di", "fu", "ga", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "ze"]
ENDINGS = ["", "", "", "s", "ed", "ing", "ly"]
MARKS = ["", "", "", "", ",", ".", "!", "?"]
VOCABULARY = 4000
WORDS_PER_LINE = 12


def make_word(generator):
    """A word of two to four syllables."""
    return "".join(generator.choice(SYLLABLES) for _ in range(generator.randint(2, 4)))


def make_vocabulary(generator):
    return [make_word(generator) for _ in range(VOCABULARY)]


def make_line(generator, vocabulary):
    """Some words of the vocabulary, the first ones most often, as in real languages."""
    words = []
    for _ in range(WORDS_PER_LINE):
        place = int(VOCABULARY * generator.random() ** 3)
        words.append(vocabulary[place] + generator.choice(ENDINGS) + generator.choice(MARKS))
    return " ".join(words).capitalize()


def make_text(word_count):
    generator = random.Random(42)  # a fixed seed: the same text every time
    vocabulary = make_vocabulary(generator)
    return [make_line(generator, vocabulary) for _ in range(word_count // WORDS_PER_LINE)]


def clean(line):
    """Lower case, and nothing but letters and spaces."""
    return "".join(letter for letter in line.lower() if letter.isalpha() or letter == " ")


def stem(word):
    """The word without its ending, so that "walked" and "walking" count as one."""
    for ending in ("ing", "ed", "ly", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word


def split(lines):
    """All words, one by one."""
    for line in lines:
        yield from clean(line).split()


def count(words):
    counts = Counter()
    for word in words:
        counts[stem(word)] += 1
    return counts


def print_table(counts):
    total = sum(counts.values())
    print(f"{total} words, {len(counts)} different ones")
    # Equally frequent words come in the order of the alphabet.
    for word, times in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]:
        print(f"{word:12} {times:6}  {100 * times / total:5.2f} %")


def main(arguments):
    word_count = int(arguments[0]) if arguments else 600_000
    print_table(count(split(make_text(word_count))))


if __name__ == "__main__":
    main(sys.argv[1:])

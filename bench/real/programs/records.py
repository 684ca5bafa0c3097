"""Records in the standard library's Python parts: dataclasses, enum, csv.DictReader, logging, namedtuple, Counter."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter, namedtuple
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import Enum, Flag

NEAR_SYSTEM_CALLS = True  # logging asks for the process id
TEXT = "name,kind,size\n" + "".join(f"item{number},{'bcd'[number % 3]},{number}\n" for number in range(60))


class Kind(Enum):
    BOX = "b"
    CAN = "c"
    DRUM = "d"


class Mark(Flag):
    HEAVY = 1
    ROUND = 2


@dataclass(frozen=True, order=True)
class Item:
    size: int
    name: str
    kind: Kind
    mark: Mark


Line = namedtuple("Line", "name size")


class Ring(logging.Handler):
    """Keeps the last message, formatted."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = self.format(record)


def read() -> list[Item]:
    found = []
    for row in csv.DictReader(io.StringIO(TEXT)):
        size = int(row["size"])
        mark = Mark.HEAVY | Mark.ROUND if size % 2 else Mark.ROUND
        found.append(Item(size, row["name"], Kind(row["kind"]), mark))
    return found


def report(items: list[Item], logger: logging.Logger) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for item in sorted(items, reverse=True):
        bigger = replace(item, size=item.size + 1)
        line = Line(**{key: value for key, value in asdict(bigger).items() if key in ("name", "size")})
        kinds.update([bigger.kind.name])
        if Mark.HEAVY in bigger.mark:
            logger.info("%s weighs %d", line.name, line.size)
    return kinds


def setup() -> Callable[[], object]:
    logger = logging.Logger("records")  # apart from the root logger
    handler = Ring()
    handler.setFormatter(logging.Formatter("%(levelname)s %(asctime)s %(message)s"))
    logger.addHandler(handler)

    def iterate() -> None:
        for _ in range(4):
            report(read(), logger)

    return iterate

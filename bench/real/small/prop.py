"""Two looks at an attribute that is a short Python property, one after the other."""

from __future__ import annotations

from collections.abc import Callable


class Box:
    def __init__(self, content: int) -> None:
        self._content = content

    @property
    def content(self) -> int:
        return self._content


def look(box: Box) -> None:
    for _ in range(1000):
        box.content  # noqa: B018
        box.content  # noqa: B018


def setup() -> Callable[[], object]:
    box = Box(1)

    def iterate() -> None:
        for _ in range(120):
            look(box)

    return iterate

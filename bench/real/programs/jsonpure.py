"""json's Python parts: an indenting encoder (recursive generators), a `default`, an object_hook that C calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def default(value: Any) -> Any:
    if isinstance(value, Money):
        return {"money": value.cents}
    raise TypeError(value)


def hook(found: dict[str, Any]) -> Any:
    return Money(found["money"]) if "money" in found else found


def setup() -> Callable[[], object]:
    orders = [
        {"id": number, "price": Money(199 * number), "tags": [1, 2.5, None, "new\n"], "ship": {"to": {"zip": [number]}}}
        for number in range(200)
    ]

    def iterate() -> None:
        for _ in range(6):
            text = json.dumps(orders, indent=1, sort_keys=True, default=default)
            json.loads(text, object_hook=hook)

    return iterate

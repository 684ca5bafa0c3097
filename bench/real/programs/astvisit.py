"""ast.NodeVisitor over the source of argparse: recursion, dispatch by getattr, generators of fields."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable
from pathlib import Path


class Census(ast.NodeVisitor):
    """Counts names and calls."""

    def __init__(self) -> None:
        self.names = 0
        self.calls = 0

    def visit_Name(self, node: ast.Name) -> None:
        self.names += 1

    def visit_Call(self, node: ast.Call) -> None:
        self.calls += 1
        self.generic_visit(node)


def setup() -> Callable[[], object]:
    tree = ast.parse(Path(argparse.__file__).read_text(encoding="utf-8"))
    return lambda: Census().visit(tree)

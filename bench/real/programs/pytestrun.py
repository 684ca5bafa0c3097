"""pytest runs a tiny suite, this module's tests, in process: plugins, hooks, fixtures, a failing test's report."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PACKAGES = ("pytest",)
OPTIONS = ["-c", os.devnull, "--rootdir", os.path.dirname(__file__), "--import-mode=importlib", "-q", "--capture=sys"]  # noqa: PTH120
OPTIONS += ["-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "no:threadexception"]


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, int]]:
    yield {"one": 1, "two": 2}


@pytest.fixture
def copied(table: dict[str, int]) -> dict[str, int]:
    return dict(table)


@pytest.mark.parametrize("name, number", [("one", 1), ("two", 2)])
def test_table(copied: dict[str, int], name: str, number: int) -> None:
    assert copied.pop(name) == number


class TestText:
    def test_upper(self) -> None:
        assert "tachyscope".upper() == "TACHYSCOPE"

    def test_raises(self, monkeypatch: Any) -> None:
        monkeypatch.setenv("TACHYSCOPE_NOTHING", "1")
        with pytest.raises(ZeroDivisionError, match="division"):
            1 / 0  # noqa: B018

    def test_fails(self, capsys: Any) -> None:
        print("said")
        left, right = {"a": [1, 2, 3]}, {"a": [1, 2, 4]}
        assert left == right


def run() -> int:
    with contextlib.redirect_stdout(io.StringIO()):
        return int(pytest.main([*OPTIONS, __file__]))


def setup() -> Callable[[], object]:
    def iterate() -> None:
        if run() != pytest.ExitCode.TESTS_FAILED:
            raise RuntimeError("the suite did not run as it should")

    return iterate

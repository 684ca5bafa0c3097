"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from support import INTERPRETERS

settings.register_profile("machine", deadline=None)  # how long an example takes depends on what else is running
settings.load_profile("machine")


@pytest.fixture(params=[pytest.param(path, id=f"py{name}") for name, path in INTERPRETERS.items()])
def python(request: pytest.FixtureRequest) -> Path:
    """Each interpreter of this machine in turn."""
    path: Path = request.param
    return path

"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings
from support import INTERPRETERS

settings.register_profile("machine", deadline=None)  # how long an example takes depends on what else is running
settings.load_profile("machine")

# A shell starts what runs in its background, and nohup everything, with signals ignored; programs that tests start
# would inherit that, and not end when they are told to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for each in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, signal.SIG_DFL)


@pytest.fixture(params=[pytest.param(path, id=f"py{name}") for name, path in INTERPRETERS.items()])
def python(request: pytest.FixtureRequest) -> Path:
    """Each interpreter of this machine in turn."""
    path: Path = request.param
    return path

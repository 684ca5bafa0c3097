"""tachyscope: a sampling profiler that watches running CPython programs from the outside.

    from tachyscope import attach, export, launch

    with attach(4321) as session:                # a process that runs already
        session.sample(seconds=5)
        profile = session.profile()

    with launch(["python", "train.py"]) as session:
        session.sample()                         # until it ends
        export(session.profile(), "collapsed", "train.txt")

A `Profile` is walked with `profile.stacks()` (thread, stack root first, samples), or read with `summarize`.
All errors that a user can cause are `TachyscopeError`s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tachyscope.errors import (
    CorruptTarget,
    NotPython,
    OutputError,
    PermissionDenied,
    TachyscopeError,
    TargetGone,
    TargetNotFound,
    UnsupportedPython,
    UsageError,
)

if TYPE_CHECKING:
    from tachyscope.api import Session, attach, export, launch
    from tachyscope.profile.model import (
        Accuracy,
        Frame,
        Function,
        Profile,
        StackTree,
        TargetInfo,
        ThreadInfo,
    )

__all__ = [
    "Accuracy",
    "CorruptTarget",
    "Frame",
    "Function",
    "NotPython",
    "OutputError",
    "PermissionDenied",
    "Profile",
    "Session",
    "StackTree",
    "TachyscopeError",
    "TargetGone",
    "TargetInfo",
    "TargetNotFound",
    "ThreadInfo",
    "UnsupportedPython",
    "UsageError",
    "attach",
    "export",
    "launch",
]

_API = ("Session", "attach", "export", "launch")
_MODEL = ("Accuracy", "Frame", "Function", "Profile", "StackTree", "TargetInfo", "ThreadInfo")


def __getattr__(name: str) -> object:
    """Import on first use, so that `tachyscope --help` does not load what it does not need."""
    if name in _API:
        from tachyscope import api

        return getattr(api, name)
    if name in _MODEL:
        from tachyscope.profile import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The errors of tachyscope: one small family, each message naming the cause and the remedy.

    TachyscopeError
    ├── UsageError             options that contradict each other or have no meaning   exit status 2
    ├── TargetNotFound         no such process, script or module                        exit status 1
    ├── TargetGone             the process ended or became another program              exit status 1
    ├── PermissionDenied       the system does not let us read the process              exit status 1
    ├── NotPython              the process runs no CPython that can be found            exit status 1
    ├── UnsupportedPython      a CPython whose memory layout is not known               exit status 1
    ├── CorruptTarget          what the process says about itself makes no sense        exit status 1
    └── OutputError            the result cannot be written where it was asked for      exit status 1

Errors are chosen by errno or by type, never by the text of another message.
"""

from __future__ import annotations


class TachyscopeError(Exception):
    """Base of all errors that a user can cause; `str()` is one line for a person."""

    exit_status = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}: {remedy}" if remedy else cause)
        self.cause = cause
        self.remedy = remedy


class UsageError(TachyscopeError):
    """Options that contradict each other, or a value without meaning."""

    exit_status = 2


class TargetNotFound(TachyscopeError):
    """There is no such process, script or module."""


class TargetGone(TachyscopeError):
    """The process has ended, or has become another program."""


class PermissionDenied(TachyscopeError):
    """The operating system does not let this user read the process's memory."""


class NotPython(TachyscopeError):
    """No CPython interpreter was found in the process."""


class UnsupportedPython(TachyscopeError):
    """A CPython version or build whose memory layout is not known."""


class CorruptTarget(TachyscopeError):
    """What the process says about its own layout fails validation."""


class OutputError(TachyscopeError):
    """The result cannot be written where it was asked for."""

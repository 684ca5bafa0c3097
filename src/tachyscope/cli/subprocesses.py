"""What `run` and `attach` do with `--subprocesses` and `--merge-subprocesses`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tachyscope.cli import messages
from tachyscope.cli.options import sampling
from tachyscope.cli.output import Output
from tachyscope.errors import TachyscopeError

if TYPE_CHECKING:
    from tachyscope.family import Family
    from tachyscope.profile.model import Profile


@contextmanager
def following(options: argparse.Namespace, pid: int) -> Iterator[Family | None]:
    """Follow the descendants of a process, if that is asked for; they are no longer sampled after the context."""
    if not (options.subprocesses or options.merge_subprocesses):
        yield None
        return
    from tachyscope.family import Family

    family = Family(pid, sampling(options))
    family.start()
    try:
        yield family
    finally:
        family.stop()


def write_all(options: argparse.Namespace, output: Output, profile: Profile, family: Family | None) -> None:
    """Write the profile of the process that was asked for, and those of its descendants, and say so."""
    sampled = [member.recorder.profile() for member in family.members if member.sampled] if family else []
    if options.merge_subprocesses:
        from tachyscope.profile.merge import merge

        profile = merge([profile, *sampled])
    together = options.merge_subprocesses and family is not None
    try:
        if profile.samples or not sampled:  # what only starts others, such as a shell, has nothing to report
            messages.say_result(profile, output.write(profile), processes=1 + len(sampled) if together else 1)
            if options.mode == "wall" and not together:
                from tachyscope.cli.hints import hint

                messages.say_if(hint(profile, follows_children=family is not None))
    finally:
        for each in sampled if not together else ():
            _write_descendant(output, each)
        if family is not None:
            _say_skipped(family)


def _write_descendant(output: Output, profile: Profile) -> None:
    path: Path | None = None
    try:
        path = output.write_descendant(profile)
    except TachyscopeError as error:  # the others are still wanted
        messages.say_failure(error)
        return
    messages.say_result(profile, path)


def _say_skipped(family: Family) -> None:
    """List what was not sampled: no Python, or none that can be read."""
    problems = [(member, member.problem) for member in family.members if member.problem and not member.sampled]
    for member, problem in problems:
        messages.say(f"process {member.recorder.pid} was not sampled: {problem}")
    others = [member for member in family.members if not member.sampled and not member.problem]
    if others:
        names = ", ".join(f"{member.recorder.pid} ({member.name or 'ended at once'})" for member in others[:10])
        more = f" and {len(others) - 10:,} more" if len(others) > 10 else ""
        what = "process" if len(others) == 1 else "processes"
        messages.say(f"{len(others):,} {what} ran no Python that could be seen: {names}{more}")

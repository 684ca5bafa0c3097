"""What `run` and `attach` do with `--subprocesses` and `--merge-subprocesses`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tachyscope.cli import messages
from tachyscope.cli.output import Output
from tachyscope.errors import TachyscopeError

if TYPE_CHECKING:
    from tachyscope.profile.model import Profile
    from tachyscope.sampling.descendants import Descendant
    from tachyscope.sampling.session import Session


def write_all(options: argparse.Namespace, output: Output, profiles: list[Profile], session: Session) -> None:
    """Write the profile of the process that was asked for, and those of its descendants, and say so."""
    profile, *others = profiles
    follows = session.sampling.subprocesses
    if options.merge_subprocesses:
        from tachyscope.profile.merge import merge

        profile = merge(profiles)
    try:
        if profile.samples or not others:  # what only starts others, such as a shell, has nothing to report
            written = output.write(profile)
            messages.say_result(profile, written, processes=len(profiles) if options.merge_subprocesses else 1)
            if options.mode == "wall" and not options.merge_subprocesses:
                from tachyscope.cli.hints import hint

                messages.say_if(hint(profile, follows_children=follows))
    finally:
        for each in others if not options.merge_subprocesses else ():
            _write_descendant(output, each)
        if follows:
            _say_skipped(session.descendants)


def _write_descendant(output: Output, profile: Profile) -> None:
    path: Path | None = None
    try:
        path = output.write_descendant(profile)
    except TachyscopeError as error:  # the others are still wanted
        messages.say_failure(error)
        return
    messages.say_result(profile, path)


def _say_skipped(descendants: list[Descendant]) -> None:
    """List what was not sampled: no Python, or none that can be read."""
    for each in descendants:
        if each.problem and not each.sampled:
            messages.say(f"process {each.process.pid} was not sampled: {each.problem}")
    others = [each for each in descendants if not each.sampled and not each.problem]
    if others:
        names = ", ".join(f"{each.process.pid} ({each.name or 'ended at once'})" for each in others[:10])
        more = f" and {len(others) - 10:,} more" if len(others) > 10 else ""
        what = "process" if len(others) == 1 else "processes"
        messages.say(f"{len(others):,} {what} ran no Python that could be seen: {names}{more}")

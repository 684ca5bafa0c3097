"""File names as short as they stay unambiguous among all files of a profile."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from tachyscope.profile.model import Profile

NO_FILE = ("", "~")
"""File names of frames that are no code of the target, such as `<GC>`."""


class ShortPaths:
    """The shortest end of each path, in whole components, that no other path of the set ends with.

    A path that is itself the end of another one, and a name in angle brackets such as `<string>`, is kept
    whole. Different paths have different short forms.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        reversed_parts = sorted(path.split("/")[::-1] for path in set(paths))
        needed = [1] * len(reversed_parts)
        # Paths that share most are neighbours in this order, so each needs one part more than they share.
        for index, (left, right) in enumerate(pairwise(reversed_parts)):
            different = _common(left, right) + 1
            needed[index] = max(needed[index], different)
            needed[index + 1] = different
        self._needed = {
            "/".join(reversed(parts)): min(count, len(parts))
            for parts, count in zip(reversed_parts, needed, strict=True)
        }

    def short(self, path: str, at_least: int = 1) -> str:
        """Return the short form, with `at_least` that many components if the path has them."""
        parts = path.split("/")
        if path.startswith("<") and path.endswith(">"):
            return path
        count = max(self._needed.get(path, len(parts)), at_least)
        return "/".join(parts[-count:]) or path[path[:-1].rfind("/") + 1 :]


def of_profile(profile: Profile) -> ShortPaths:
    """Return the short paths of all files in a profile."""
    return ShortPaths({frame.function.filename for frame in profile.tree.frames if frame is not None})


def _common(left: list[str], right: list[str]) -> int:
    """Return how many parts two lists have in common at their beginning."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count

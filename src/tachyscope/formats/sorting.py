"""The orders of the pstats table, apart from it so that the parser can name them without loading it."""

from __future__ import annotations

from typing import Literal, get_args

Sort = Literal["nsamples", "tottime", "cumtime", "sample-pct", "cumul-pct", "nsamples-cumul", "name"]

SORT_KEYS: tuple[str, ...] = get_args(Sort)

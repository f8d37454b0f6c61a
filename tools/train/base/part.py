"""A run in parts: whoever lends a machine for nine minutes still gets a world, after a few of them.

Owns the moment at which a part is over. Whoever works in a loop asks it, stores what it has, and leaves.
"""

from __future__ import annotations

import math
import time


class PartOverError(Exception):
    """The part's time is over and everything is stored. Not a failure."""


class Part:
    """Begins when it is made. `seconds`: of wall time; without it, never over."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end_s = math.inf if seconds is None else time.monotonic() + seconds

    def over(self) -> bool:
        return time.monotonic() >= self._end_s

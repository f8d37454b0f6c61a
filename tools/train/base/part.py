"""A run in parts: on a machine that is there for nine minutes at a time a world is still made, after a few of them.

A loop asks whether its part is over, stores what it has, and leaves.
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

"""What may be done to a world between the commit of a tick and the next tick: the loop's seam for it."""

from __future__ import annotations

from typing import Protocol

from ..core import TickEvent


class Aftercare(Protocol):
    """Called by the loop after each commit; what it takes counts as part of the commit."""

    def after_commit(self, tick: int) -> TickEvent | None:
        """May change the world. What was done, as an event of this tick; None on almost every one."""
        ...


class NullAftercare:
    def after_commit(self, tick: int) -> TickEvent | None:
        return None

"""What may be done to a world between the commit of a tick and the next tick, and how a recording says that it was.

Owns the loop's seam for it, the names in recorded events, and doing the same again when a tick is played again. Knows
nothing of why something was done: that is decided live (`nextframe.runtime.session.parts.drift`) and never again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..core import ReplayError, World

DRIFT_EVENT = "drift:"
LOG = "log"
"""The action that changes nothing: its event is the whole of it."""


class Aftercare(Protocol):
    """Called by the loop after each commit; what it takes counts as part of the commit."""

    def after_commit(self, tick: int) -> str | None:
        """May change the world. What was done, as an event of this tick; None on almost every one."""
        ...


class NullAftercare:
    def after_commit(self, tick: int) -> str | None:
        return None


@runtime_checkable
class MendableWorld(Protocol):
    """A world that something can be done to when it drifts."""

    def mend(self, action: str) -> None:
        """Carry out the action of that name between two ticks."""
        ...


def drift_action(event: str | None) -> str | None:
    """The drift action in a recorded event, None when there is none in it."""
    for part in (event or "").split(","):
        if part.startswith(DRIFT_EVENT):
            return part.removeprefix(DRIFT_EVENT)
    return None


def mend_as_recorded(world: World, event: str | None) -> str | None:
    """Do what the event of a tick says was done after it; returns the action's name.

    Raises `ReplayError` for a world that cannot.
    """
    action = drift_action(event)
    if action is None or action == LOG:
        return action
    if not isinstance(world, MendableWorld):
        raise ReplayError(
            f"the session was changed by {DRIFT_EVENT}{action}, which {world.info.name}, as it is played here, cannot "
            "do; play it with the world that was recorded"
        )
    world.mend(action)
    return action


class RecordedAftercare:
    """Of a playback: does what was recorded, at its tick. `events`: of the recording's ticks, in order."""

    def __init__(self, world: World, events: Sequence[str | None]) -> None:
        self._world, self._events = world, events

    def after_commit(self, tick: int) -> str | None:
        action = mend_as_recorded(self._world, self._events[tick]) if tick < len(self._events) else None
        return None if action is None else f"{DRIFT_EVENT}{action}"

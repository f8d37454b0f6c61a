"""The actions of a recording as a controller: what was played then, under whatever conditions the loop has now.

To play a recording exactly as it was, resets and events included, use `nextframe.runtime.recording.playback`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..runtime.core import Action, PlayedTick


class Recording(Protocol):
    """What is needed of a `nextframe.runtime.recording.format.Replay`."""

    @property
    def ticks(self) -> Sequence[PlayedTick]: ...


class ReplayController:
    """Yields the recorded actions by tick, and idles past their end."""

    def __init__(self, replay: Recording) -> None:
        self._actions = tuple(tick.action for tick in replay.ticks)
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        return self._actions[tick] if 0 <= tick < len(self._actions) else Action()

    def close(self) -> None:
        pass

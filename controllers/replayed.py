"""Plays a recording back: the recorded actions, and beside them the quality to force and the checksums to expect.

Owns nothing but the order of what was recorded. Knows nothing of files: it takes what
`nextframe.runtime.recording.facade` has read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..runtime.core import Action


class RecordedTick(Protocol):
    @property
    def action(self) -> Action: ...

    @property
    def steps_applied(self) -> int: ...

    @property
    def checksum(self) -> int | None: ...


class Recording(Protocol):
    """What is needed of a `nextframe.runtime.recording.facade.Replay`."""

    @property
    def ticks(self) -> Sequence[RecordedTick]: ...


class ReplayController:
    """Yields the recorded actions by tick, and idles past their end.

    `steps`: denoise steps by tick, to be forced. `checksums`: tick -> checksum, for the ticks that have one.
    """

    def __init__(self, replay: Recording) -> None:
        self._actions = tuple(tick.action for tick in replay.ticks)
        self.steps = tuple(tick.steps_applied for tick in replay.ticks)
        self.checksums = {n: tick.checksum for n, tick in enumerate(replay.ticks) if tick.checksum is not None}
        self.last_input_ns: int | None = None

    def __len__(self) -> int:
        return len(self._actions)

    def poll(self, tick: int) -> Action:
        return self._actions[tick] if 0 <= tick < len(self._actions) else Action()

    def close(self) -> None:
        pass

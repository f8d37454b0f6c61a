"""What `--ahead` adds to a session: ticks begun on guessed input while the loop would only wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ...ahead.counts import GuessCounts
from ...ahead.world import AheadWorld, Peek
from ...core import Action, Clock, World
from .part import SessionPart


class PlayerPeek:
    """Looks at a player through the `peek` of their controller, on the machine's own clock."""

    def __init__(self, look: Callable[[], Action]) -> None:
        self._look = look

    def action(self) -> Action:
        return self._look()

    def doze_until(self, time_ns: int) -> None:
        time.sleep(max(0, time_ns - time.monotonic_ns()) / 1e9)


class AheadPart(SessionPart):
    """`ceiling` (None for a forced quality), `peek`: see `AheadWorld`.

    `wrap` raises ConfigError for a world whose ticks cannot be begun ahead.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ceiling: Callable[[], int] | None = None,
        peek: Peek | None = None,
        warmup_ticks: int = 0,
    ) -> None:
        self._clock, self._ceiling, self._peek = clock, ceiling, peek
        self._counts = GuessCounts(warmup_ticks)
        self.observer = self._counts

    def wrap(self, world: World) -> World:
        self.ahead = world = AheadWorld(world, self._clock, ceiling=self._ceiling, peek=self._peek)
        return world

    def as_report(self) -> dict[str, Any]:
        return {"ahead": self._counts.as_json()}

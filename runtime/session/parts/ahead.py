"""What `--ahead` adds to a session: the world the loop runs, what it is told while it waits, and a part of the report.

Owns the order of the wrappers: load inside, so that work done ahead pays it too. Part of the composition of a session;
imports no world.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ...ahead.counts import GuessCounts
from ...ahead.loaded import loaded
from ...ahead.world import AheadWorld, Peek
from ...core import Action, Clock, World
from ...load.shapes import LoadShape


class PlayerPeek:
    """Looks at a player through the `peek` of their controller, on the machine's own clock."""

    def __init__(self, look: Callable[[], Action]) -> None:
        self._look = look

    def action(self) -> Action:
        return self._look()

    def doze_until(self, time_ns: int) -> None:
        time.sleep(max(0, time_ns - time.monotonic_ns()) / 1e9)


class AheadPart:
    """`wanted`: whether ticks are begun ahead at all. `ceiling` (None for a forced quality), `peek`: see `AheadWorld`.

    `loaded`: the world under its load. `world`: what the loop runs. `seam`: the loop's `ahead`. `counts`: an observer.
    ConfigError where ticks cannot be begun ahead.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        *,
        wanted: bool,
        shape: LoadShape | None = None,
        ceiling: Callable[[], int] | None = None,
        peek: Peek | None = None,
        warmup_ticks: int = 0,
    ) -> None:
        self.loaded = loaded(world, shape, clock, stepwise=wanted)
        self.seam = AheadWorld(self.loaded, clock, ceiling=ceiling, peek=peek) if wanted else None
        self.world: World = self.seam or self.loaded
        self.counts = GuessCounts(warmup_ticks)

    def as_report(self) -> dict[str, Any]:
        """`ahead` of the report, nothing where it was not asked for."""
        return {} if self.seam is None else {"ahead": self.counts.as_json()}

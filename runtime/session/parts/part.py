"""What a session may have beside a world, a controller and a governor: the contract of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ...core import Clock, World
from ...loop import Observer, period_ns
from ...tick.aftercare import Aftercare
from ...tick.controls import SessionControls
from ...tick.guess import Ahead


@dataclass(frozen=True)
class Setting:
    """What a session is played in. `deadline_ns`: from release to the first frame presented. `seed`: of later resets
    that name none."""

    clock: Clock
    tick_period_ns: Fraction
    deadline_ns: int
    seed: int = 0
    controls: SessionControls = field(default_factory=SessionControls)

    @classmethod
    def at(
        cls,
        tick_hz: Fraction,
        clock: Clock,
        *,
        deadline_ms: float | None = None,
        seed: int = 0,
        controls: SessionControls | None = None,
    ) -> Setting:
        """At that rate; the deadline is a whole tick period when not given, the controls are new ones."""
        period = period_ns(tick_hz)
        deadline_ns = int(period) if deadline_ms is None else round(deadline_ms * 1e6)
        return cls(clock, period, deadline_ns, seed, controls or SessionControls())


class SessionPart:
    """One thing that a session has; this one does nothing.

    A part is chosen from options before anything loads (see `chosen`), made once the world is there, wraps the world
    the loop runs, and may watch ticks, change the world after a commit and use the time the loop would only wait. The
    first three fields are read after `wrap`. `load_ms`: put into each tick so far, None for a part that puts in none. A
    part's line of the summary is a function `summary` of its module.
    """

    observer: Observer | None = None
    aftercare: Aftercare | None = None
    ahead: Ahead | None = None
    load_ms: Sequence[float] | None = None

    def wrap(self, world: World) -> World:
        """The world that the next part sees, and at last the loop."""
        return world

    def as_report(self) -> dict[str, Any]:
        """Its keys of the session's report."""
        return {}

    def check(self) -> None:
        """Raises NextframeError if the session ended because of this part; called once everything is written."""

"""How much an audit does. Each number has its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ....runtime.core import Clock, MonotonicClock, NextframeError
from ..targets.contract import TargetFactory

HORIZON_S = 4.5
"""How long an answer is waited for: twice the delay of a streamer that makes two seconds ahead, and a little."""
HORIZON_TICKS = 90
"""The same for a target without a rate."""
MOST_HORIZON_TICKS = 300


@dataclass(frozen=True)
class AuditOptions:
    """`quick`: about a minute instead of five, at the tick cost of a small world. `clock`: the auditor's.

    `truth`: makes a simulator under the same controls and seeds, where there is one. `repeats`: moments in which each
    control is tried; 0 as many as `quick` says. `seconds`: of each script of the frame rate test; 0 likewise.
    """

    quick: bool = True
    seed: int = 0
    clock: Clock = field(default_factory=MonotonicClock)
    truth: TargetFactory | None = None
    repeats: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.repeats and self.repeats < 5:
            raise NextframeError(f"audit: expected at least 5 repeats, got {self.repeats}: fewer prove nothing at 1 %")
        if self.seed < 0:
            raise NextframeError(f"audit: expected a seed of at least 0, got {self.seed}")

    @property
    def moments(self) -> int:
        """6 are the fewest of which a permutation test can tell 8 controls from chance at 1 %."""
        return self.repeats or (6 if self.quick else 12)

    @property
    def most_controls(self) -> int:
        return 8 if self.quick else 20

    @property
    def script_s(self) -> float:
        return self.seconds or (4.0 if self.quick else 15.0)

    @property
    def memory_ticks(self) -> int:
        """How far the memory probe looks."""
        return 40 if self.quick else 240

    @property
    def flips(self) -> int:
        """Of the statistical test."""
        return 60 if self.quick else 160

    def horizon_ticks(self, tick_hz: float | None) -> int:
        return min(MOST_HORIZON_TICKS, round(HORIZON_S * tick_hz)) if tick_hz else HORIZON_TICKS

    def seed_of(self, session: int) -> int:
        return self.seed * 1009 + session

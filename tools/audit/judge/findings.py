"""The few numbers that verdicts rest on, each with the range it may lie in.

Thresholds are in `verdict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Estimate:
    """A measured number and the range in which it lies, both in the unit of its field; `how` says where the range
    comes from. Without spread low = value = high."""

    value: float
    low: float
    high: float
    count: int = 1
    how: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"estimate: expected low <= value <= high, got {self.low}, {self.value}, {self.high}")


def exactly(value: float, count: int = 1, how: str = "") -> Estimate:
    return Estimate(value, value, value, count, how)


@dataclass(frozen=True)
class Findings:
    """What is None was not measured; `missing` says why, by field name.

    `responds`: a control changed the picture within `horizon_frames`. `response_frames` and `response_ms`: usual value,
    and as `high` the slow end of the trials (95th percentile). Frame 1 is the first one after the control.
    `fps*` count new pictures only. `unique_share` is the share of shown frames that were new. Shares are in [0, 1].
    """

    target: str = ""
    tick_hz: float | None = None
    responds: bool | None = None
    horizon_frames: int | None = None
    response_frames: Estimate | None = None
    response_ms: Estimate | None = None
    overlay_only: bool = False
    fps_interacting: Estimate | None = None
    fps_idle: Estimate | None = None
    unique_share: Estimate | None = None
    miss_rate: Estimate | None = None
    jitter_ms: Estimate | None = None
    ttff_ms: Estimate | None = None
    memory_ticks: Estimate | None = None
    survives_prompt_change: bool | None = None
    breadth: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def memory_s(self) -> Estimate | None:
        if self.memory_ticks is None or not self.tick_hz:
            return None
        ticks, hz = self.memory_ticks, self.tick_hz
        return Estimate(ticks.value / hz, ticks.low / hz, ticks.high / hz, ticks.count, ticks.how)

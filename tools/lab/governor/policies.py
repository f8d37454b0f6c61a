"""The ways to choose a quality that are compared, each behind the loop's `Governor` protocol.

Other engines' rules with their published constants, on our ladder, and an oracle that has read the trace. Each sees a
tick's timings one tick late, as ours does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ....runtime.core import ManualClock, TickPlan, always_open
from ....runtime.governor.adaptive import AdaptiveGovernor, FixedGovernor
from ....runtime.loop import Governor
from ....runtime.tick.record import TickRecord
from .simulate import MakeGovernor, to_ns
from .traces import CostTrace

OURS, ORACLE = "nextframe", "oracle"


class ValveRules:
    """Adaptive quality of The Lab's renderer (ValveCamera.cs): thresholds on the last frames' share of the period.

    Over 90 %: down two rungs, or one from rung 2, counted from 0. Over 85 % and rising past 90 %: the same. Under
    70 % for three frames: up one. After a change it waits for the two frames of its timings' latency and one, two or
    three more.
    """

    HIGH, RISING, LOW = 0.90, 0.85, 0.70
    LATENCY_TICKS = 2

    def __init__(self, ladder: Sequence[int]) -> None:
        self._ladder = tuple(ladder)
        self._rung = len(ladder) - 1
        self._shares: list[float] = []
        self._ticks_since_change = 100

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        return TickPlan(self._ladder[self._rung], deadline_ns, "Valve's rules")

    def observe(self, record: TickRecord) -> None:
        period_ns = record.deadline_ns - record.release_ns
        self._shares = [*self._shares, record.response_ns / period_ns][-3:]
        self._ticks_since_change += 1
        waited = self._ticks_since_change - self.LATENCY_TICKS
        last = self._shares[-1]
        too_high = waited >= 1 and last > self.HIGH
        rising = waited >= 2 and last > self.RISING and self._extrapolated() > self.HIGH
        if too_high or rising:
            self._drop()
        elif waited >= 3 and len(self._shares) == 3 and max(self._shares) < self.LOW:
            self._move_to(self._rung + 1)

    def _extrapolated(self) -> float:
        """The next share along the steeper of the slopes over one frame and over two."""
        last = self._shares[-1]
        slopes = [(last - earlier) / back for back, earlier in enumerate(reversed(self._shares[:-1]), start=1)]
        return last + max(slopes, default=0.0)

    def _drop(self) -> None:
        self._move_to(self._rung - (1 if self._rung == 2 else 2))

    def _move_to(self, rung: int) -> None:
        rung = min(max(rung, 0), len(self._ladder) - 1)
        if rung != self._rung:
            self._rung, self._ticks_since_change = rung, 0


class UnityDefaults:
    """Unity HDRP's default dynamic resolution (HDDynamicResolution.cs): slow means, large moves.

    Frame times are averaged in groups of 15. Four groups over the target in a row: down by half of the range. Eight
    under it: up by a fifth.
    """

    GROUP_TICKS, BAD_GROUPS, GOOD_GROUPS = 15, 4, 8

    def __init__(self, ladder: Sequence[int]) -> None:
        self._ladder = tuple(ladder)
        self._scale = 1.0
        self._group_ns: list[int] = []
        self._bad = self._good = 0

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        wanted = self._ladder[0] + self._scale * (self._ladder[-1] - self._ladder[0])
        steps = max(rung for rung in self._ladder if rung <= wanted + 1e-9)
        return TickPlan(steps, deadline_ns, "Unity HDRP's defaults")

    def observe(self, record: TickRecord) -> None:
        self._group_ns.append(record.response_ns)
        if len(self._group_ns) < self.GROUP_TICKS:
            return
        mean_ns = sum(self._group_ns) / self.GROUP_TICKS
        self._group_ns = []
        over = mean_ns > record.deadline_ns - record.release_ns
        self._bad, self._good = (self._bad + 1, 0) if over else (0, self._good + 1)
        if self._bad == self.BAD_GROUPS:
            self._scale, self._bad = max(0.0, self._scale - 1 / 2), 0
        elif self._good == self.GOOD_GROUPS:
            self._scale, self._good = min(1.0, self._scale + 1 / 5), 0


class Oracle:
    """Has read the trace: the highest rung whose picture meets this deadline and whose commit fits the period."""

    def __init__(self, trace: CostTrace, clock: ManualClock) -> None:
        self._trace, self._clock = trace, clock

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        return TickPlan(self._highest(tick, deadline_ns - self._clock.now_ns()), deadline_ns, "oracle")

    def _highest(self, tick: int, left_ns: int) -> int:
        trace = self._trace
        commit_ms = trace.commit_ms[tick]
        fitting = [r for r in trace.ladder if to_ns(trace.picture_ms(tick, r) + commit_ms) <= left_ns]
        return max(fitting, default=trace.ladder[0])

    def observe(self, record: TickRecord) -> None:
        pass


class WithoutGate:
    """Another governor, its mid-tick checkpoint taken out: what the planning alone is worth."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        return replace(self._governor.plan(tick, release_ns, deadline_ns), gate=always_open)

    def observe(self, record: TickRecord) -> None:
        self._governor.observe(record)


def ours(trace: CostTrace, clock: ManualClock) -> AdaptiveGovernor:
    return AdaptiveGovernor(trace.ladder, clock, tick_deadline_ns=to_ns(trace.deadline_ms))


POLICIES: Mapping[str, MakeGovernor] = {
    "fixed top": lambda trace, clock: FixedGovernor(trace.ladder[-1]),
    "Unity HDRP": lambda trace, clock: UnityDefaults(trace.ladder),
    "Valve": lambda trace, clock: ValveRules(trace.ladder),
    "no mid-tick gate": lambda trace, clock: WithoutGate(ours(trace, clock)),
    OURS: ours,
    ORACLE: Oracle,
}

"""Plays a cost trace through the real loop on a clock that only costs move. Nothing is computed, nothing sleeps.

The late policy, the release times and the records are those of `nextframe.runtime.loop` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from ....controllers.bots import IdleController
from ....runtime.core import Action, ActionSpace, Frame, ManualClock, Snapshot, StatePart, TickPlan, TickResult
from ....runtime.core import WorldInfo as Info
from ....runtime.display.null import NullDisplay
from ....runtime.loop import Governor
from ....runtime.session.builder import Session
from ....runtime.session.parts.part import Setting
from ....runtime.tick.record import TickRecord
from ..kept import Kept
from .traces import CostTrace

MakeGovernor: TypeAlias = Callable[[CostTrace, ManualClock], Governor]


def to_ns(duration_ms: float) -> int:
    return round(duration_ms * 1e6)


class TraceWorld:
    """Shows one grey pixel and spends what the trace says. Asks the gate at the rungs of its ladder, as worlds do."""

    def __init__(self, trace: CostTrace, clock: ManualClock) -> None:
        self._trace, self._clock, self._tick = trace, clock, 0
        self._frame: Frame = np.zeros((1, 1, 3), np.uint8)
        rate_hz = Fraction(1000) / Fraction(trace.deadline_ms)
        self.info = Info(trace.world, 1, 1, rate_hz, trace.ladder, ActionSpace(), "", "")
        self.prompt = ""

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        tick, trace = self._tick, self._trace
        self._tick += 1
        tail_ns = to_ns(trace.tail_ms[tick])
        head_ns = max(0, to_ns(trace.fixed_ms[tick]) - tail_ns)
        self._clock.advance_ns(head_ns)
        step_ns: list[int] = []
        while len(step_ns) < plan.denoise_steps:
            if len(step_ns) in trace.ladder and not plan.gate(len(step_ns)):
                break
            step_ns.append(to_ns(trace.step_ms[tick][len(step_ns)]))
            self._clock.advance_ns(step_ns[-1])
        self._clock.advance_ns(tail_ns)
        return TickResult(
            frames=[self._frame],
            steps_applied=len(step_ns),
            stage_ns={"condition": head_ns, "denoise": sum(step_ns), "decode": tail_ns},
            step_ns=tuple(step_ns),
            commit=lambda: self._clock.advance_ns(to_ns(trace.commit_ms[tick])),
        )

    def reset(self, seed: int) -> Frame:
        return self._frame

    def snapshot(self) -> Snapshot:
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        pass

    def checksum(self) -> int:
        return 0

    def state_inventory(self) -> list[StatePart]:
        return []

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass


def simulate(trace: CostTrace, make_governor: MakeGovernor) -> list[TickRecord]:
    """The record of every tick of the trace under this governor."""
    clock, seen = ManualClock(), Kept()
    deadline_ns = to_ns(trace.deadline_ms)
    loop = Session(TraceWorld(trace, clock), Setting(clock, Fraction(deadline_ns), deadline_ns)).loop(
        IdleController(),
        NullDisplay(clock),
        make_governor(trace, clock),
        observers=(seen,),
        checksum_every=0,
    )
    loop.run(trace.ticks)
    return seen.records

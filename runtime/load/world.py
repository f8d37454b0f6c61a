"""Load on purpose: a world that costs more than it does, in a shape one can name.

The wrapper makes a tick cost what a shape says (`shapes`, written as in `text`).

The cost is real work on a real clock, the clock's own step on a `ManualClock`, and refused on a clock on which work
takes no time. It changes no pixel and no state, so at equal quality checksums are the same with and without it.

Time in a shape is wall time on the session's clock since its first tick, not world time: a load comes from outside,
and slow ticks do not make it last longer.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ..core import (
    Action,
    Clock,
    ConfigError,
    FixedClock,
    ManualClock,
    StepGate,
    TickPlan,
    TickResult,
    World,
)
from ..tick.forwarding import ForwardingWorld
from .shapes import LoadShape
from .text import parse_load

__all__ = ["Burn", "LoadShape", "LoadedWorld", "burner", "parse_load"]

Burn: TypeAlias = Callable[[int], int]
"""Spends that many ns and returns how many passed on the clock."""

SPIN_VALUES = 4096
"""Square roots between two looks at the clock: about 10 us, and long enough for numpy to let other threads run."""
ALONE_TICKS = 15
"""`scale` multiplies the median of this many ticks, so that a hiccup is not multiplied too."""


def burner(clock: Clock) -> Burn:
    """What spends time on this clock. ConfigError for one on which work takes no time."""
    if isinstance(clock, ManualClock):
        return _Stepper(clock)
    if isinstance(clock, FixedClock):
        raise ConfigError("load: on the fixed clock work takes no time, so a load would do nothing; use --clock real")
    return _Spinner(clock)


class _Stepper:
    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def __call__(self, cost_ns: int) -> int:
        self._clock.advance_ns(max(0, cost_ns))
        return max(0, cost_ns)


class _Spinner:
    """CPU time of this thread, not wall time: while another program has the core, the load waits like any work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        fine = time.get_clock_info("thread_time").resolution < 1e-4  # 16 ms on Windows
        self._cpu_ns = time.thread_time_ns if fine else time.monotonic_ns
        self._values = np.ones(SPIN_VALUES)

    def __call__(self, cost_ns: int) -> int:
        if cost_ns <= 0:
            return 0
        began_ns, end_cpu_ns = self._clock.now_ns(), self._cpu_ns() + cost_ns
        while self._cpu_ns() < end_cpu_ns:
            np.sqrt(self._values, out=self._values)
        return self._clock.now_ns() - began_ns


class LoadedWorld(ForwardingWorld):
    """Another world under load. Everything but time is the other world's.

    `clock`: the clock the world and the loop use. Load on `denoise` is paid step by step: for the first rung before
    the world begins, for later ones when the plan's gate lets them go on, so a tick cut short does not pay for steps
    it never took. `warm_up` runs without load. ConfigError for a clock on which work takes no time.
    """

    def __init__(self, world: World, shape: LoadShape, clock: Clock) -> None:
        super().__init__(world)
        self.shape = shape
        self._clock, self._burn = clock, burner(clock)
        self._first_ns: int | None = None
        self._time_s = 0.0
        self._before_s: float | None = None
        self._tick = -1
        self._spent_ns = 0
        self._alone_ns: dict[str, deque[float]] = {}

    @property
    def load_ms(self) -> float:
        """Load injected into the newest tick, its commit included once that is done."""
        return self._spent_ns / 1e6

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        self._begin_tick()
        condition_ns = self._strike("condition")
        steps = _PaidSteps(self.info.ladder, self._cost_ns("denoise"), self._spend)
        first_ns = steps.pay(min(self.info.ladder[0], plan.denoise_steps))
        result = self._world.advance(action, replace(plan, gate=steps.gate(plan)))
        late_ns = steps.pay(result.steps_applied - len(steps.paid_ns))  # a world that did not ask
        decode_ns = self._strike("decode")

        own_steps_ns, own_denoise_ns = sum(result.step_ns), result.stage_ns.get("denoise", 0)
        self._learn("condition", result.stage_ns.get("condition", 0))
        self._learn("decode", result.stage_ns.get("decode", 0))
        self._learn("denoise", (own_steps_ns or max(0, own_denoise_ns - steps.in_gate_ns)) / result.steps_applied)
        # A world times its denoise stage around the gate, where the load of later steps has already been paid.
        denoise_ns = max(own_denoise_ns, own_steps_ns + steps.in_gate_ns) + first_ns + late_ns
        return replace(
            result,
            stage_ns={
                **result.stage_ns,
                "condition": result.stage_ns.get("condition", 0) + condition_ns,
                "denoise": denoise_ns,
                "decode": result.stage_ns.get("decode", 0) + decode_ns,
            },
            step_ns=tuple(own + paid for own, paid in zip(result.step_ns, steps.paid_ns, strict=False)),
            commit=self._loaded_commit(result),
        )

    def _loaded_commit(self, result: TickResult) -> Callable[[], None]:
        def commit() -> None:
            self._strike("commit")
            began_ns = self._clock.now_ns()
            result.commit()
            self._learn("commit", self._clock.now_ns() - began_ns)

        return commit

    def _begin_tick(self) -> None:
        """Time and tick go on over resets and restored snapshots: the load comes from outside."""
        now_ns = self._clock.now_ns()
        if self._first_ns is None:
            self._first_ns = now_ns
        else:
            self._before_s = self._time_s
        self._time_s = (now_ns - self._first_ns) / 1e9
        self._tick += 1
        self._spent_ns = 0

    def _cost_ns(self, stage: str, *, collector: bool = False) -> int:
        alone = self._alone_ns.get(stage)
        cost_ms = self.shape.cost_ms(
            self._time_s,
            self._tick,
            before_s=self._before_s,
            stage=stage,
            alone_ms=statistics.median(alone) / 1e6 if alone else 0.0,
            collector=collector,
        )
        return round(cost_ms * 1e6)

    def _strike(self, stage: str) -> int:
        """The load of a whole stage; returns the ns it took."""
        return self._spend(self._cost_ns(stage)) + self._collect(self._cost_ns(stage, collector=True))

    def _spend(self, cost_ns: int) -> int:
        spent_ns = self._burn(cost_ns) if cost_ns > 0 else 0
        self._spent_ns += spent_ns
        return spent_ns

    def _collect(self, cost_ns: int) -> int:
        """A real collection of the youngest objects, held up for that long, as a callback of the collector sees it."""
        if cost_ns <= 0:
            return 0
        began_ns, caller = self._clock.now_ns(), threading.get_ident()

        def hold(phase: str, info: Mapping[str, int]) -> None:
            if phase == "start" and threading.get_ident() == caller:
                self._burn(cost_ns)

        gc.callbacks.append(hold)
        try:
            gc.collect(0)
        finally:
            gc.callbacks.remove(hold)
        spent_ns = self._clock.now_ns() - began_ns
        self._spent_ns += spent_ns
        return spent_ns

    def _learn(self, stage: str, own_ns: float) -> None:
        self._alone_ns.setdefault(stage, deque(maxlen=ALONE_TICKS)).append(own_ns)


class _PaidSteps:
    """The load of one tick's denoise steps. `paid_ns`: by step; `in_gate_ns`: what was paid inside the gate."""

    def __init__(self, ladder: Sequence[int], step_cost_ns: int, spend: Burn) -> None:
        self._ladder, self._step_cost_ns, self._spend = ladder, step_cost_ns, spend
        self.paid_ns: list[int] = []
        self.in_gate_ns = 0

    def pay(self, steps: int) -> int:
        if steps <= 0:
            return 0
        spent_ns = self._spend(steps * self._step_cost_ns)
        share_ns, rest_ns = divmod(spent_ns, steps)
        self.paid_ns += [share_ns + rest_ns] + [share_ns] * (steps - 1)
        return spent_ns

    def gate(self, plan: TickPlan) -> StepGate:
        """The plan's gate; where it lets the tick go on, the steps up to the next place to stop are paid for."""

        def paying_gate(steps_done: int) -> bool:
            if not plan.gate(steps_done):
                return False
            next_stop = min((rung for rung in self._ladder if rung > steps_done), default=plan.denoise_steps)
            self.in_gate_ns += self.pay(min(next_stop, plan.denoise_steps) - len(self.paid_ns))
            return True

        return paying_gate

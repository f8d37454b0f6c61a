"""Chooses how many denoise steps a tick may take, so that frames come on time.

Owns the cost model, the rules for going down and up the ladder, and the mid-tick gate. Knows nothing of worlds,
devices or frames: it reads tick records and returns plans.

Cost of a tick at k steps: C(k) = F + k*S, learned from stage timings one tick late (no device is ever waited for).
The predictor takes the worse of a p95 (hiccups that keep coming back) and of the last four ticks (a load that just
rose). In simulation this missed less than mean-of-15 rules and switched less than last-frame rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from runtime.controls import SessionControls
from runtime.core import Clock, StepGate, TickPlan
from runtime.loop import TickRecord

WINDOW_TICKS = 64
RECENT_TICKS = 4
CLIP = 3.0
"""Samples count at most this many times the window mean: one page fault must not cost a rung for 64 ticks."""
BUDGET = 0.95
"""Share of the deadline that plans may fill; the rest is for what no model sees coming."""
RAISE_AFTER_TICKS = 30
DWELL_TICKS = 3
PANIC_MISSES = 2


class CostWindow:
    """The last 64 samples of one cost, in ns, and what to expect of the next."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=WINDOW_TICKS)

    def add(self, sample_ns: float) -> None:
        self._samples.append(max(0.0, sample_ns))

    def predict_ns(self) -> float:
        """max(p95 of the window, mean of its last four), clipped; 0 while nothing is known."""
        if not self._samples:
            return 0.0
        limit = CLIP * sum(self._samples) / len(self._samples)
        clipped = [min(sample, limit) for sample in self._samples]
        recent = clipped[-RECENT_TICKS:]
        return max(_p95(clipped), sum(recent) / len(recent))


def _p95(values: Sequence[float]) -> float:
    """numpy's linear percentile, without its 50 us per call."""
    ordered = sorted(values)
    position = 0.95 * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


class CostModel:
    """C(k) = F + k*S for one world on one device.

    `tail`: the part of F after the last denoise step (decode, present). `commit` comes after the picture, but the
    next tick cannot start before its end.
    """

    def __init__(self) -> None:
        self._fixed, self._step, self._tail, self._commit = (CostWindow() for _ in range(4))
        self.fixed_ns = self.step_ns = self.tail_ns = self.commit_ns = 0.0

    def learn(self, record: TickRecord) -> None:
        denoise_ns = sum(record.step_ns) or record.stage_ns.get("denoise", 0)
        commit_ns = record.stage_ns.get("commit", 0)
        self._step.add(denoise_ns / record.steps_applied)
        self._fixed.add(record.present_ns - record.poll_ns - denoise_ns)
        self._tail.add(record.present_ns - record.emit_ns + record.stage_ns.get("decode", 0))
        self._commit.add(commit_ns)
        self.fixed_ns, self.step_ns = self._fixed.predict_ns(), self._step.predict_ns()
        self.tail_ns, self.commit_ns = self._tail.predict_ns(), self._commit.predict_ns()

    def response_ns(self, steps: int) -> float:
        return self.fixed_ns + steps * self.step_ns


def checked_ladder(ladder: Sequence[int]) -> tuple[int, ...]:
    """The ladder as a tuple; ValueError unless it ascends from at least 1."""
    if not ladder or ladder[0] < 1 or any(low >= high for low, high in pairwise(ladder)):
        raise ValueError(f"ladder: expected ascending denoise step counts from 1 up, got {tuple(ladder)}")
    return tuple(ladder)


class AdaptiveGovernor:
    """Down at once and as far as needed, up one rung after 30 ticks that would have fitted.

    `tick_deadline_ns`: from release to picture. `tick_period_ns`: picture and commit together must fit in it, or
    each tick would start later than the one before; the deadline when not given. `controls`: the player's lock.
    """

    def __init__(
        self,
        ladder: Sequence[int],
        clock: Clock,
        *,
        tick_deadline_ns: int,
        tick_period_ns: int | None = None,
        controls: SessionControls | None = None,
    ) -> None:
        self._ladder = checked_ladder(ladder)
        self._clock = clock
        self._deadline_ns = tick_deadline_ns
        self._period_ns = tick_deadline_ns if tick_period_ns is None else tick_period_ns
        self._controls = controls or SessionControls()
        self._cost = CostModel()
        self._rung = len(self._ladder) - 1
        self._misses_in_a_row = 0
        self._fitting_ticks = 0
        self._ticks_since_change = DWELL_TICKS
        self._reason = f"start at the top: {self._ladder[-1]} steps"

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        locked = self._controls.locked_quality
        if locked is not None:
            steps = max((rung for rung in self._ladder if rung <= locked), default=self._ladder[0])
            return TickPlan(steps, deadline_ns, f"{steps} steps, locked by the player")
        steps = self._ladder[self._rung]
        return TickPlan(steps, deadline_ns, self._reason, self._gate(steps, deadline_ns))

    def observe(self, record: TickRecord) -> None:
        """Learn from a tick and decide the rung of the next. A tick with a clock gap teaches nothing."""
        if record.clock_gap:
            return
        self._cost.learn(record)
        self._misses_in_a_row = self._misses_in_a_row + 1 if record.missed else 0
        self._ticks_since_change += 1
        if self._rung + 1 < len(self._ladder) and self._fits(self._ladder[self._rung + 1]):
            self._fitting_ticks += 1
        else:
            self._fitting_ticks = 0
        self._choose()

    def _choose(self) -> None:
        steps = self._ladder[self._rung]
        predicted = f"{self._needed_ns(steps) / 1e6:.1f} ms of {BUDGET * self._deadline_ns / 1e6:.1f}"
        if self._misses_in_a_row >= PANIC_MISSES:
            self._move_to(0, f"{self._misses_in_a_row} misses in a row: lowest rung")
        elif self._ticks_since_change < DWELL_TICKS:
            self._reason = f"{steps} steps held: changed {self._ticks_since_change} ticks ago"
        elif not self._fits(steps):
            self._move_to(self._highest_fit(), f"{steps} steps would need {predicted}")
        elif self._fitting_ticks >= RAISE_AFTER_TICKS:
            self._move_to(self._rung + 1, f"{self._ladder[self._rung + 1]} steps fitted for {RAISE_AFTER_TICKS} ticks")
        else:
            self._reason = f"{steps} steps fit: {predicted}"

    def _move_to(self, rung: int, reason: str) -> None:
        self._reason = reason
        if rung != self._rung:
            self._rung, self._ticks_since_change, self._fitting_ticks = rung, 0, 0

    def _needed_ns(self, steps: int) -> float:
        """Predicted response, stretched to the deadline's scale where picture and commit fill the period more."""
        response_ns = self._cost.response_ns(steps)
        return max(response_ns, (response_ns + self._cost.commit_ns) * self._deadline_ns / self._period_ns)

    def _fits(self, steps: int) -> bool:
        return self._needed_ns(steps) <= BUDGET * self._deadline_ns

    def _highest_fit(self) -> int:
        return max((rung for rung in range(self._rung) if self._fits(self._ladder[rung])), default=0)

    def _gate(self, plan_steps: int, deadline_ns: int) -> StepGate:
        """The mid-tick checkpoint. The next place to stop is the next rung, so all steps up to it must fit."""
        step_ns, tail_ns = self._cost.step_ns, self._cost.tail_ns

        def still_fits(steps_done: int) -> bool:
            next_stop = min((rung for rung in self._ladder if rung > steps_done), default=plan_steps)
            left_ns = (next_stop - steps_done) * step_ns + tail_ns
            return self._clock.now_ns() + left_ns <= deadline_ns

        return still_fits


class FixedGovernor:
    """Always the same number of denoise steps, whatever it costs."""

    def __init__(self, denoise_steps: int) -> None:
        self._denoise_steps = checked_ladder([denoise_steps])[0]

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        return TickPlan(self._denoise_steps, deadline_ns, f"fixed at {self._denoise_steps} steps")

    def observe(self, record: TickRecord) -> None:
        pass


class TraceGovernor:
    """Quality by tick from a list: what a replay forces, or what a test scripts. The last level holds past its end."""

    def __init__(self, levels: Sequence[int]) -> None:
        if not levels or min(levels) < 1:
            raise ValueError(f"quality trace: expected denoise steps of at least 1 by tick, got {list(levels)[:8]}")
        self._levels = tuple(levels)

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        steps = self._levels[min(tick, len(self._levels) - 1)]
        return TickPlan(steps, deadline_ns, f"{steps} steps, forced by the trace")

    def observe(self, record: TickRecord) -> None:
        pass

"""Chooses how many denoise steps a tick may take, so that frames come on time.

Rules for going down and up the ladder, the mid-tick gate and the hold below the lowest rung;
`nextframe.runtime.governor.cost` says what a tick costs. Reads tick records and returns plans.

docs/governor.md says why each rule is there and what it was measured to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from ..core import Clock, StepGate, TickPlan
from ..tick.controls import SessionControls
from ..tick.record import TickRecord
from .cost import WINDOW_TICKS, CostModel, CostSample, sample_of
from .state import SAMPLE_NUMBERS, GovernorState, state_from_plain

TAKE_BUDGET, KEEP_BUDGET = 0.95, 0.97
"""Shares of the deadline: a rung is taken when it is expected to need no more than the first, and left above the
second. With one number for both, a load that sits on it made 7 switches in 100 ticks; with two it makes none."""
GATE_BUDGET = 0.98
"""What a tick under way may fill. More than a kept rung may need, so that no rung is planned and cut every time."""
RAISE_AFTER_TICKS = 12
MISSES_ALLOWED, MISS_WINDOW_TICKS = 2, 100
CUTS_IN_A_ROW = 3
SLOWDOWN_LIMIT = 3.0
HOLD_ABOVE, HOLD_BELOW = 0.925, 0.85
"""Shares of the deadline at which the hold begins and ends (Valve, The Lab's ValveCamera.cs)."""

Fits: TypeAlias = Callable[[int], bool]
"""Whether this number of denoise steps fits."""


def checked_ladder(ladder: Sequence[int]) -> tuple[int, ...]:
    """The ladder as a tuple; ValueError unless it ascends from at least 1."""
    if not ladder or ladder[0] < 1 or any(low >= high for low, high in pairwise(ladder)):
        raise ValueError(f"ladder: expected ascending denoise step counts from 1 up, got {tuple(ladder)}")
    return tuple(ladder)


def within(ladder: tuple[int, ...], floor_steps: int | None, ceiling_steps: int | None) -> tuple[int, ...]:
    """The rungs from floor to ceiling; ValueError when there is none."""
    low, high = floor_steps or ladder[0], ceiling_steps or ladder[-1]
    rungs = tuple(rung for rung in ladder if low <= rung <= high)
    if not rungs:
        raise ValueError(f"quality limits: expected a rung of {ladder} from {low} to {high} steps, got none")
    return rungs


def in_words(steps: int) -> str:
    return f"{steps} step" if steps == 1 else f"{steps} steps"


class AdaptiveGovernor:
    """Down at once and as far as needed, up after 12 ticks that would have fitted, cut mid-tick when one runs late.

    `tick_deadline_ns`: from release to picture. `tick_period_ns`: picture and commit together must fit in it, or
    each tick would start later than the one before; the deadline when not given. `controls`: the player's lock.
    `floor_steps`, `ceiling_steps`: rungs outside are never chosen. `warm_start`: what a tick cost the last time, from
    `CostModel.typical`; it chooses the first rung, which is the top otherwise.
    """

    name = "adaptive"

    def __init__(
        self,
        ladder: Sequence[int],
        clock: Clock,
        *,
        tick_deadline_ns: int,
        tick_period_ns: int | None = None,
        controls: SessionControls | None = None,
        floor_steps: int | None = None,
        ceiling_steps: int | None = None,
        warm_start: CostSample | None = None,
    ) -> None:
        self._world_ladder = checked_ladder(ladder)
        self._ladder = within(self._world_ladder, floor_steps, ceiling_steps)
        self._clock = clock
        self._deadline_ns = tick_deadline_ns
        self._period_ns = tick_deadline_ns if tick_period_ns is None else tick_period_ns
        self._controls = controls or SessionControls()
        self.cost = CostModel()
        self._rung = len(self._ladder) - 1
        self._ticks_since_change = 0
        self._cuts_in_a_row = 0
        self._avoidable_misses: deque[bool] = deque(maxlen=MISS_WINDOW_TICKS)
        self._holding = False
        self._reason = f"start at the top: {in_words(self._ladder[-1])}"
        if warm_start is not None:
            self.cost.learn(warm_start)
            self._rung = self._highest(self._takes)
            self._reason = f"warm start: {self._expectation(self._ladder[self._rung])}"

    @property
    def holding(self) -> bool:
        """Even the lowest rung is too dear, so the last frame stays on the screen while a tick is late."""
        return self._holding

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        locked = self._controls.locked_quality
        if locked is not None:
            steps = max((rung for rung in self._world_ladder if rung <= locked), default=self._world_ladder[0])
            return TickPlan(steps, deadline_ns, f"{in_words(steps)}, locked by the player")
        steps = self._ladder[self._rung]
        return TickPlan(steps, deadline_ns, self._reason, self._gate(steps, deadline_ns))

    def observe(self, record: TickRecord) -> None:
        """Learn from a tick and decide the rung of the next. A tick with a clock gap teaches nothing."""
        if record.clock_gap:
            return
        sample = sample_of(record)
        self.cost.learn(sample)
        locked = self._controls.locked_quality is not None
        avoidable = record.missed and not locked and sample.response_ns(self._ladder[0]) <= self._deadline_ns
        self._avoidable_misses.append(avoidable)
        cut = record.steps_applied < record.plan.denoise_steps
        self._cuts_in_a_row = self._cuts_in_a_row + 1 if cut else 0
        self._ticks_since_change += 1
        if not (self._go_down(record, sample) or self._go_up()):
            self._stay()
        self._update_hold()

    # --- saved and loaded -----------------------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, object]:
        """All that later decisions come from, as plain data; see `nextframe.runtime.governor.state`."""
        cost = self.cost
        return GovernorState(
            deadline_ns=self._deadline_ns,
            period_ns=self._period_ns,
            samples=np.array(cost.samples, np.float64).reshape(-1, SAMPLE_NUMBERS),
            marks_ns=np.array([cost.head_ns, cost.step_ns, cost.tail_ns], np.float64),
            steps=self._ladder[self._rung],
            ticks_since_change=self._ticks_since_change,
            cuts_in_a_row=self._cuts_in_a_row,
            avoidable_misses=np.array(self._avoidable_misses, np.bool_),
            holding=self._holding,
            reason=self._reason,
        ).as_plain()

    def restore(self, plain: Mapping[str, object]) -> None:
        """Decide on as the governor that was saved. Raises `ConfigError` for what none has written.

        Costs are costs whatever they were decided for. With another deadline, period or rungs than here the rung is
        chosen anew by them, and nothing else is taken over.
        """
        state = state_from_plain(plain)
        self.cost.go_on_with([CostSample(*costs) for costs in state.samples.tolist()], state.marks_ns.tolist())
        same = (state.deadline_ns, state.period_ns) == (self._deadline_ns, self._period_ns)
        if not same or state.steps not in self._ladder:
            if state.samples.size:
                self._move_to(self._highest(self._takes), "")
                self._stay()
            return
        self._rung = self._ladder.index(state.steps)
        self._ticks_since_change, self._cuts_in_a_row = state.ticks_since_change, state.cuts_in_a_row
        self._avoidable_misses = deque(state.avoidable_misses.tolist(), maxlen=MISS_WINDOW_TICKS)
        self._holding, self._reason = state.holding, state.reason

    # --- the rules ------------------------------------------------------------------------------------------------

    def _go_down(self, record: TickRecord, sample: CostSample) -> bool:
        """Whether a rule asks for a lower rung; the first that does decides."""
        steps = self._ladder[self._rung]
        if self._rung == 0:
            return False
        if self._avoidable_misses[-1]:
            if sum(self._avoidable_misses) >= MISSES_ALLOWED:
                return self._move_to(0, f"{MISSES_ALLOWED} misses in {MISS_WINDOW_TICKS} ticks: lowest rung")
            budget_ns = TAKE_BUDGET * self._deadline_ns
            rung = min(self._rung - 1, self._highest(lambda rung: sample.response_ns(rung) <= budget_ns))
            return self._move_to(rung, f"missed: {in_words(self._ladder[rung])} would have been in time")
        if self._needed_ns(steps) > KEEP_BUDGET * self._deadline_ns:
            rung = min(self._rung - 1, self._highest(self._takes))
            return self._move_to(rung, f"{in_words(steps)} would need {self._of_budget(steps, KEEP_BUDGET)}")
        if self._cuts_in_a_row >= CUTS_IN_A_ROW:
            rung = min(self._rung - 1, self._highest(lambda rung: rung <= record.steps_applied))
            return self._move_to(rung, f"cut mid-tick {CUTS_IN_A_ROW} times in a row")
        return False

    def _go_up(self) -> bool:
        """Whether the last 12 ticks, all but one of them, would have fitted a higher rung, and misses do not forbid."""
        if self._ticks_since_change < RAISE_AFTER_TICKS or sum(self._avoidable_misses) >= MISSES_ALLOWED:
            return False
        rung = self._highest(lambda steps: self._takes(steps, RAISE_AFTER_TICKS))
        if rung <= self._rung:
            return False
        self.cost.forget_all_but(RAISE_AFTER_TICKS)
        return self._move_to(rung, f"{in_words(self._ladder[rung])} would have fitted for {RAISE_AFTER_TICKS} ticks")

    def _stay(self) -> None:
        if self._rung + 1 < len(self._ladder) and sum(self._avoidable_misses) >= MISSES_ALLOWED:
            self._reason = f"no higher: {MISSES_ALLOWED} misses in the last {MISS_WINDOW_TICKS} ticks"
        else:
            self._reason = self._expectation(self._ladder[self._rung])

    def _move_to(self, rung: int, reason: str) -> bool:
        self._reason, self._rung = reason, rung
        self._ticks_since_change = self._cuts_in_a_row = 0
        return True

    def _update_hold(self) -> None:
        lowest = self._ladder[0]
        share = HOLD_BELOW if self._holding else HOLD_ABOVE
        self._holding = self._rung == 0 and self._needed_ns(lowest) > share * self._deadline_ns
        if self._holding:
            needed = self._of_budget(lowest, HOLD_ABOVE)
            self._reason = f"below the lowest rung: {in_words(lowest)} would need {needed}, the last frame is held"

    def _needed_ns(self, steps: int, last_ticks: int = WINDOW_TICKS) -> float:
        """Expected response, stretched to the deadline's scale where picture and commit fill the period more."""
        picture_ns, whole_ns = self.cost.expected_ns(steps, last_ticks)
        return max(picture_ns, whole_ns * self._deadline_ns / self._period_ns)

    def _takes(self, steps: int, last_ticks: int = WINDOW_TICKS) -> bool:
        return self._needed_ns(steps, last_ticks) <= TAKE_BUDGET * self._deadline_ns

    def _highest(self, fits: Fits) -> int:
        """The highest rung whose steps fit, the lowest if none does."""
        return max((rung for rung, steps in enumerate(self._ladder) if fits(steps)), default=0)

    def _of_budget(self, steps: int, share: float) -> str:
        return f"{self._needed_ns(steps) / 1e6:.1f} of {share * self._deadline_ns / 1e6:.1f} ms"

    def _expectation(self, steps: int) -> str:
        return f"{in_words(steps)} need {self._of_budget(steps, KEEP_BUDGET)}"

    def _gate(self, plan_steps: int, deadline_ns: int) -> StepGate:
        """The mid-tick checkpoint. The next place to stop is the next rung, so all steps up to it must fit.

        A tick that is slower so far than any expected is taken to stay so: a load that just rose is seen in the very
        tick in which it rises, before the model has learned of it.
        """
        head_ns, step_ns, tail_ns = self.cost.head_ns, self.cost.step_ns, self.cost.tail_ns
        began_ns, limit_ns = self._clock.now_ns(), deadline_ns - round((1 - GATE_BUDGET) * self._deadline_ns)

        def still_fits(steps_done: int) -> bool:
            if steps_done < self._ladder[0]:
                return True
            further = min((rung for rung in self._ladder if rung > steps_done), default=plan_steps) - steps_done
            now_ns = self._clock.now_ns()
            expected_so_far_ns = head_ns + steps_done * step_ns
            if expected_so_far_ns > 0:
                slowdown = min(max(1.0, (now_ns - began_ns) / expected_so_far_ns), SLOWDOWN_LIMIT)
                left_ns = (further * step_ns + tail_ns) * slowdown
            else:  # the first tick: all that is known is how long its own steps took
                left_ns = further * (now_ns - began_ns) / steps_done
            return now_ns + left_ns <= limit_ns

        return still_fits


class FixedGovernor:
    """Always the same number of denoise steps, whatever it costs."""

    def __init__(self, denoise_steps: int) -> None:
        self._denoise_steps = checked_ladder([denoise_steps])[0]
        self.name = f"fixed:{denoise_steps}"

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        return TickPlan(self._denoise_steps, deadline_ns, f"fixed at {in_words(self._denoise_steps)}")

    def observe(self, record: TickRecord) -> None:
        pass


class TraceGovernor:
    """Quality by tick from a list, such as a test scripts. The last level holds past its end."""

    name = "trace"

    def __init__(self, levels: Sequence[int]) -> None:
        if not levels or min(levels) < 1:
            raise ValueError(f"quality trace: expected denoise steps of at least 1 by tick, got {list(levels)[:8]}")
        self._levels = tuple(levels)

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        steps = self._levels[min(tick, len(self._levels) - 1)]
        return TickPlan(steps, deadline_ns, f"{in_words(steps)}, forced by the trace")

    def observe(self, record: TickRecord) -> None:
        pass

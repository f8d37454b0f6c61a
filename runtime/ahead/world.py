"""Input prediction on one device: the wait before a release is used to begin the next tick on guessed input.

Players hold the same input most of the time, so the next action is mostly the last one (GGPO's rule for the remote
player, turned to a generator); where the player can be looked at before the poll, it is what that look shows. A tick
reads the world's state and never writes it before its commit, so a wrong guess leaves no trace: what was prepared is
dropped and the tick is made with the true action. A job of k denoise steps is rung k whatever comes after, so a right
guess goes on from where it stands. Either way the picture, the state and the recording are those of a loop that waited.

The wait ends at the release: a piece of work is begun only if what it lately cost, at worst, fits before that. A wrong
guess makes its tick later by what its last piece took longer than that, and by nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..core import (
    Action,
    Clock,
    ConfigError,
    Frame,
    Snapshot,
    StepGate,
    TickPlan,
    TickResult,
    World,
    always_open,
)
from ..tick.forwarding import ForwardingWorld
from ..tick.guess import NO_GUESS, Guess, Outcome

REMEMBERED_TICKS = 16
"""The dearest of so many is what a piece of work is taken to cost: under a second at 20 Hz."""


LOOK_AGAIN_NS = 2_000_000
"""Between looks at the input while there is nothing to do: a fifth of what the shipped world needs for a tick."""


class Peek(Protocol):
    """A look at the input before it is polled, for controllers that can tell."""

    def action(self) -> Action:
        """What a poll would return now; nothing is used up."""
        ...

    def doze_until(self, time_ns: int) -> None:
        """Wait without keeping the processor busy; being late by a millisecond does not matter."""
        ...


class TickJob(Protocol):
    """One coming tick in pieces. Reads the world; may be dropped at any time before `result`."""

    @property
    def steps_done(self) -> int: ...

    @property
    def is_current(self) -> bool:
        """The state it was started from is still the world's: no commit, reset or restore came between."""
        ...

    def denoise(self, steps: int, gate: StepGate) -> None:
        """Go on until so many steps are done, or the gate says no at a rung of the ladder."""
        ...

    def decode(self) -> Frame:
        """The frame of the steps done so far, made once."""
        ...

    def result(self) -> TickResult:
        """As `World.advance` returns it, decoded if it was not; the world now waits for its commit."""
        ...


@runtime_checkable
class StepwiseWorld(World, Protocol):
    """A world whose tick can be made in pieces."""

    def start(self, action: Action, steps: int | None = None) -> TickJob:
        """The coming tick, of at most so many denoise steps (the top of the ladder when not given)."""
        ...


class Costs:
    """What a piece of a tick lately cost at worst, in ns."""

    def __init__(self) -> None:
        self._condition_ns: deque[int] = deque(maxlen=REMEMBERED_TICKS)
        self._step_ns: deque[int] = deque(maxlen=REMEMBERED_TICKS)
        self._decode_ns: deque[int] = deque(maxlen=REMEMBERED_TICKS)

    @property
    def known(self) -> bool:
        return bool(self._step_ns)

    def learn(self, result: TickResult) -> None:
        each_ns = result.step_ns or (result.stage_ns.get("denoise", 0) // result.steps_applied,)
        self._condition_ns.append(result.stage_ns.get("condition", 0))
        self._step_ns.append(max(each_ns))
        self._decode_ns.append(result.stage_ns.get("decode", 0))

    @property
    def condition_ns(self) -> int:
        return max(self._condition_ns, default=0)

    @property
    def step_ns(self) -> int:
        return max(self._step_ns, default=0)

    @property
    def decode_ns(self) -> int:
        return max(self._decode_ns, default=0)


@dataclass
class _Prepared:
    """`made_ns`: spent on it before the release. `decoded_steps`: the steps of the frame it has, 0 for none."""

    action: Action
    job: TickJob
    made_ns: int = 0
    decoded_steps: int = 0


def hold(action: Action) -> Action:
    """The guess: what was held stays held; prompts and resets happen once."""
    return Action(action.buttons, action.axes)


class AheadWorld(ForwardingWorld):
    """Another world whose next tick is begun while the loop waits. Give it to the loop as `world` and as `ahead`.

    `peek`: looks at the input of a player who has moved since the last poll; without it the guess is what was held.
    `ceiling`: the most denoise steps that spare time may go to, asked anew for every tick; without it a tick never gets
    more than its plan, which is what a forced quality means. ConfigError for a world that cannot tick in pieces.
    """

    def __init__(
        self, world: World, clock: Clock, *, ceiling: Callable[[], int] | None = None, peek: Peek | None = None
    ) -> None:
        super().__init__(world)
        if not isinstance(world, StepwiseWorld):
            raise ConfigError(
                f"ahead: expected a world that can make its tick in pieces, {world.info.name} as it is played here "
                "cannot; leave out --ahead"
            )
        self._stepwise: StepwiseWorld = world
        self._clock, self._ceiling, self._peek = clock, ceiling, peek
        self._costs = Costs()
        self._last_action = Action()
        self._last_plan_steps = world.info.ladder[-1]
        self._prepared: _Prepared | None = None
        self._dropped, self._wasted_ns = False, 0
        self._guess = NO_GUESS

    # --- ahead of the tick ----------------------------------------------------------------------------------------

    def prepare(self, until_ns: int) -> None:
        """Go on with the guessed tick while its next piece fits. Called again for the same tick, it goes on.

        With a peek it looks again after every piece, and now and then once all is made, and starts anew on news.
        """
        while self._costs.known and self._take_up(self._coming_action(), until_ns):
            began_ns = self._clock.now_ns()
            worked = self._next_piece(self._taken_up(), until_ns)
            self._taken_up().made_ns += max(0, min(self._clock.now_ns(), until_ns) - began_ns)
            if not worked and not self._look_again(until_ns):
                return

    def _coming_action(self) -> Action:
        return hold(self._last_action) if self._peek is None else self._peek.action()

    def _taken_up(self) -> _Prepared:
        assert self._prepared is not None, "nothing is taken up"
        return self._prepared

    def _take_up(self, action: Action, until_ns: int) -> bool:
        """Whether there is a tick begun on that action; it is begun here if there is time for it and a step."""
        prepared = self._prepared
        if prepared is not None and not (prepared.job.is_current and prepared.action == action):
            self._drop()
        if self._prepared is None:
            if not self._fits(self._costs.condition_ns + self._costs.step_ns, until_ns):
                return False
            began_ns = self._clock.now_ns()
            job = self._stepwise.start(action)
            self._prepared = _Prepared(action, job, max(0, min(self._clock.now_ns(), until_ns) - began_ns))
        return True

    def _next_piece(self, prepared: _Prepared, until_ns: int) -> bool:
        """One denoise step, or the picture once no more steps are wanted; False if that is made, or does not fit."""
        job = prepared.job
        if job.steps_done < self._most_steps(self._last_plan_steps):
            if not self._fits(self._steps_to_next_stop(job.steps_done) * self._costs.step_ns, until_ns):
                return False
            before = job.steps_done
            job.denoise(before + 1, always_open)
            return job.steps_done > before  # a tick that was made small for want of room takes no more steps
        if prepared.decoded_steps == job.steps_done or not self._fits(self._costs.decode_ns, until_ns):
            return False
        job.decode()
        prepared.decoded_steps = job.steps_done
        return True

    def _look_again(self, until_ns: int) -> bool:
        """Wait a little for news of the input, if a step could still be made of it."""
        if self._peek is None or not self._fits(
            LOOK_AGAIN_NS + self._costs.condition_ns + self._costs.step_ns, until_ns
        ):
            return False
        self._peek.doze_until(self._clock.now_ns() + LOOK_AGAIN_NS)
        return True

    def _steps_to_next_stop(self, steps_done: int) -> int:
        """One, as long as the plan wants the step anyway. Beyond it only whole rungs: a tick may stop nowhere else."""
        if steps_done < self._last_plan_steps:
            return 1
        return min(rung for rung in self.info.ladder if rung > steps_done) - steps_done

    def _fits(self, cost_ns: int, until_ns: int) -> bool:
        return self._clock.now_ns() + cost_ns <= until_ns

    def _most_steps(self, plan_steps: int) -> int:
        return plan_steps if self._ceiling is None else max(plan_steps, self._ceiling())

    # --- the tick -------------------------------------------------------------------------------------------------

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        """Exactly the other world's tick; on a right guess most of it is there already."""
        most = self._most_steps(plan.denoise_steps)
        prepared, self._prepared = self._prepared, None
        if prepared is not None and self._answers(prepared, action, most):
            prepared.job.denoise(most, plan.gate)
            result = prepared.job.result()
            self._note("hit", prepared.made_ns, max(0, result.steps_applied - plan.denoise_steps))
        else:
            self._prepared = prepared
            self._drop()
            result = self._world.advance(action, plan)
            self._note("miss" if self._dropped else "none")
        self._costs.learn(result)
        self._last_action, self._last_plan_steps = action, plan.denoise_steps
        return result

    def guess(self) -> Guess:
        return self._guess

    def _answers(self, prepared: _Prepared, action: Action, most: int) -> bool:
        """Whether what was prepared is a beginning of this very tick."""
        job = prepared.job
        return prepared.action == action and job.steps_done <= most and job.is_current

    def _note(self, outcome: Outcome, made_ns: int = 0, extra_steps: int = 0) -> None:
        self._guess = Guess(outcome, made_ns, self._wasted_ns, extra_steps)
        self._dropped, self._wasted_ns = False, 0

    def _drop(self) -> None:
        if self._prepared is not None:
            self._wasted_ns += self._prepared.made_ns
            self._prepared, self._dropped = None, True

    # --- what changes the state otherwise -------------------------------------------------------------------------

    def reset(self, seed: int) -> Frame:
        self._drop()
        return self._world.reset(seed)

    def restore(self, snapshot: Snapshot) -> None:
        self._drop()
        self._world.restore(snapshot)

    def warm_up(self) -> None:
        self._drop()
        self._world.warm_up()

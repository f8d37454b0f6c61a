"""Running ahead by several ticks on guessed input, with memory rolled back when a guess was wrong.

Keeps a queue of ticks that were made and committed but not yet asked for. GGPO's rollback, for a pipeline: while tick n
leaves its last stage the first one already works on n + 1, and has to assume an input for it.

What is ahead is invisible: state, snapshot and checksum are those after the last tick that was asked for. A guess that
was wrong costs the ticks behind it; the world is restored to the state before it and goes on with the true action.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from ..core import Action, Clock, Frame, Snapshot, TickPlan, TickResult, World
from ..tick.forwarding import ForwardingWorld
from ..tick.guess import NO_GUESS, Guess, Outcome
from .world import hold


@dataclass(frozen=True)
class _TickAhead:
    """`before`: the state it was made from. `cost_ns`: to make and commit it, snapshot included."""

    action: Action
    denoise_steps: int
    before: Snapshot
    result: TickResult
    cost_ns: int


class RunAhead(ForwardingWorld):
    """Another world, kept up to `depth` ticks ahead of what was asked of it.

    Give it to a loop as `world` and as `ahead`, or call `make_ahead` wherever there is time. Needs of the world only
    what every world has. Every tick ahead holds a snapshot. ValueError for a depth below 1.
    """

    def __init__(self, world: World, depth: int, clock: Clock) -> None:
        if depth < 1:
            raise ValueError(f"run ahead: expected a depth of at least 1 tick, got {depth}")
        super().__init__(world)
        self.depth = depth
        self._clock = clock
        self._ticks: deque[_TickAhead] = deque()
        self._last_action = Action()
        self._last_steps = world.info.ladder[-1]
        self._cost_ns = 0
        self._begun = self._awaits_commit = False
        self._wasted_ns = 0
        self._guess = NO_GUESS

    @property
    def ticks_ahead(self) -> int:
        return len(self._ticks)

    def prepare(self, until_ns: int) -> None:
        """As many further ticks as fit, judged by the dearest that is known."""
        while self._begun and len(self._ticks) < self.depth and self._clock.now_ns() + self._cost_ns <= until_ns:
            self.make_ahead()

    def make_ahead(self) -> None:
        """One more tick on the guess that everything stays held, at the quality planned last."""
        assert not self._awaits_commit, "running ahead between advance and commit"
        began_ns = self._clock.now_ns()
        action, before = hold(self._last_action), self._world.snapshot()
        result = self._world.advance(action, TickPlan(self._last_steps, deadline_ns=0, reason="ahead"))
        result.commit()
        cost_ns = self._clock.now_ns() - began_ns
        self._cost_ns = max(self._cost_ns, cost_ns)
        self._ticks.append(_TickAhead(action, self._last_steps, before, result, cost_ns))

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        assert not self._awaits_commit, "advance before the commit of the tick before"
        ready = self._ticks[0] if self._ticks else None
        if ready is not None and (ready.action, ready.denoise_steps) == (action, plan.denoise_steps):
            self._ticks.popleft()
            result = replace(ready.result, commit=self._confirm)
            self._note("hit", ready.cost_ns)
        else:
            self.roll_back()
            made = self._world.advance(action, plan)

            def commit() -> None:
                made.commit()
                self._confirm()

            result = replace(made, commit=commit)
            self._note("none" if ready is None else "miss")
        self._awaits_commit = self._begun = True
        self._last_action, self._last_steps = action, plan.denoise_steps
        return result

    def roll_back(self) -> int:
        """Undo what is ahead; returns how many ticks that were."""
        undone = len(self._ticks)
        if undone:
            self._world.restore(self._ticks[0].before)
            self._forget()
        return undone

    def guess(self) -> Guess:
        return self._guess

    def _confirm(self) -> None:
        assert self._awaits_commit, "a tick is committed once"
        self._awaits_commit = False

    def _forget(self) -> None:
        self._wasted_ns += sum(tick.cost_ns for tick in self._ticks)
        self._ticks.clear()
        self._awaits_commit = False

    def _note(self, outcome: Outcome, made_ns: int = 0) -> None:
        self._guess = Guess(outcome, made_ns, self._wasted_ns)
        self._wasted_ns = 0

    # --- the state after the last tick that was asked for -----------------------------------------------------------

    def reset(self, seed: int) -> Frame:
        self._forget()
        return self._world.reset(seed)

    def snapshot(self) -> Snapshot:
        assert not self._awaits_commit, "snapshot between advance and commit: half a tick cannot be saved"
        return self._ticks[0].before if self._ticks else self._world.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        self._forget()
        self._world.restore(snapshot)

    def checksum(self) -> int:
        if not self._ticks:
            return self._world.checksum()
        newest = self._world.snapshot()
        self._world.restore(self._ticks[0].before)
        checksum = self._world.checksum()
        self._world.restore(newest)
        return checksum

    def warm_up(self) -> None:
        self.roll_back()
        self._world.warm_up()

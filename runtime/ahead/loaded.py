"""Load on purpose for a world that ticks in pieces: each piece pays its own, also ahead of the tick.

Shapes and how load is spent are in `nextframe.runtime.load.world`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..core import Action, Clock, Frame, StepGate, TickResult, World, always_open
from ..load.shapes import LoadShape
from ..load.world import LoadedWorld
from .world import StepwiseWorld, TickJob


class SteppedLoadedWorld(LoadedWorld):
    """A `LoadedWorld` that can begin a tick ahead. Work that is thrown away has paid its load like any other."""

    def __init__(self, world: StepwiseWorld, shape: LoadShape, clock: Clock) -> None:
        super().__init__(world, shape, clock)
        self._stepwise = world
        self._begun = False

    def start(self, action: Action, steps: int | None = None) -> TickJob:
        return LoadedTick(self, self._stepwise, action, steps)

    def begin(self) -> int:
        """A tick is under way, begun anew or not; returns what the load on `condition` took."""
        self._begin_tick()
        return self._strike("condition")

    def pay_step(self) -> int:
        return self._spend(self._cost_ns("denoise"))

    def pay_decode(self) -> int:
        return self._strike("decode")

    def finished(self, result: TickResult) -> TickResult:
        """The inner world's result, with a commit that pays. What the world itself cost is learnt from it."""
        self._learn("condition", result.stage_ns.get("condition", 0))
        self._learn("decode", result.stage_ns.get("decode", 0))
        self._learn("denoise", sum(result.step_ns) / result.steps_applied)
        return replace(result, commit=self._loaded_commit(result))

    def _begin_tick(self) -> None:
        """Once per tick that is committed: time in a shape does not go faster for work that is thrown away."""
        if not self._begun:
            super()._begin_tick()
        self._begun = True

    def _loaded_commit(self, result: TickResult) -> Callable[[], None]:
        commit = super()._loaded_commit(result)

        def ending() -> None:
            commit()
            self._begun = False

        return ending


class LoadedTick:
    """One coming tick of a loaded world: what each piece pays is added to the world's own time."""

    def __init__(self, world: SteppedLoadedWorld, inner: StepwiseWorld, action: Action, steps: int | None) -> None:
        self._world, self._ladder = world, inner.info.ladder
        self._paid_ns = {"condition": world.begin(), "denoise": 0, "decode": 0}
        self._paid_step_ns: list[int] = []
        self._decoded_steps = 0
        self._job = inner.start(action, steps)

    @property
    def steps_done(self) -> int:
        return self._job.steps_done

    @property
    def is_current(self) -> bool:
        return self._job.is_current

    def denoise(self, steps: int, gate: StepGate) -> None:
        while self.steps_done < steps and (self.steps_done not in self._ladder or gate(self.steps_done)):
            self._paid_step_ns.append(self._world.pay_step())
            self._job.denoise(self.steps_done + 1, always_open)
        self._paid_ns["denoise"] = sum(self._paid_step_ns)

    def decode(self) -> Frame:
        if self._decoded_steps != self.steps_done:
            self._paid_ns["decode"] += self._world.pay_decode()
            self._decoded_steps = self.steps_done
        return self._job.decode()

    def result(self) -> TickResult:
        self.decode()
        made = self._world.finished(self._job.result())
        stage_ns = {stage: made.stage_ns.get(stage, 0) + paid_ns for stage, paid_ns in self._paid_ns.items()}
        step_ns = tuple(own + paid for own, paid in zip(made.step_ns, self._paid_step_ns, strict=True))
        return replace(made, stage_ns={**made.stage_ns, **stage_ns}, step_ns=step_ns)


def loaded(world: World, shape: LoadShape, clock: Clock, *, stepwise: bool) -> LoadedWorld:
    """The world under that load. `stepwise`: able to begin a tick ahead, if the world is."""
    if stepwise and isinstance(world, StepwiseWorld):
        return SteppedLoadedWorld(world, shape, clock)
    return LoadedWorld(world, shape, clock)

"""The toy world, able to tick in pieces; and worlds that run ahead wrongly, to prove that the tests would see it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from nextframe.runtime.ahead.world import AheadWorld
from nextframe.runtime.core import Action, Clock, Controller, Frame, ManualClock, StepGate, TickResult, World
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Governor, Loop
from nextframe.runtime.tick.guess import Ahead
from nextframe.worlds.toy.world import BACKGROUND, FADE, NOISE, Cost, Latent, ToyWorld, decode, draw, move, no_cost
from tests.support.doubles import PERIOD_NS, ListedController, ListObserver, ListRecorder


class ToyTick:
    """One tick of a toy, piece by piece: the same functions as in its `advance`, in the same order."""

    def __init__(self, world: SteppedToy, action: Action) -> None:
        self._world = world
        began_ns = world.clock.now_ns()
        world.cost("condition")
        self._from = world._trail  # a new array after every commit, reset and restore
        self._light = action.prompt if action.prompt in BACKGROUND else world._light
        self._ball = move(world._ball, action)
        self._target = draw(self._ball, world._trail)
        self._noisy = self._target + NOISE * world._noise(step=0)
        self._frame: Frame | None = None
        self._step_ns: list[int] = []
        self._stage_ns = {"condition": world.clock.now_ns() - began_ns, "denoise": 0, "decode": 0}

    @property
    def steps_done(self) -> int:
        return len(self._step_ns)

    @property
    def is_current(self) -> bool:
        return self._from is self._world._trail

    def denoise(self, steps: int, gate: StepGate) -> None:
        began_ns = self._world.clock.now_ns()
        while self.steps_done < steps and (self.steps_done not in self._world.info.ladder or gate(self.steps_done)):
            before_ns = self._world.clock.now_ns()
            self._world.cost("denoise")
            noise = self._world._noise(step=self.steps_done + 1)
            self._noisy = (self._noisy + self._target) / 2 + (NOISE / 32) * noise
            self._step_ns.append(self._world.clock.now_ns() - before_ns)
            self._frame = None
        self._stage_ns["denoise"] += self._world.clock.now_ns() - began_ns

    def decode(self) -> Frame:
        if self._frame is None:
            began_ns = self._world.clock.now_ns()
            self._world.cost("decode")
            self._frame = decode(self._latent(), self._light)
            self._stage_ns["decode"] += self._world.clock.now_ns() - began_ns
        return self._frame

    def result(self) -> TickResult:
        assert self.is_current, "a tick of a state that is gone"
        frame, latent, world = self.decode(), self._latent(), self._world

        def commit() -> None:
            world.cost("commit")
            world._ball, world._light, world._frame = self._ball, self._light, frame
            world._trail = latent * np.float32(FADE)
            world._tick += 1
            world._awaits_commit = False

        world._awaits_commit = True
        return TickResult([frame.copy()], self.steps_done, self._stage_ns, tuple(self._step_ns), commit)

    def _latent(self) -> Latent:
        return np.clip(self._noisy, 0, 1).astype(np.float32)


class SteppedToy(ToyWorld):
    """A toy world that makes its tick in pieces."""

    def __init__(self, clock: Clock | None = None, cost: Cost = no_cost) -> None:
        super().__init__(clock, cost)
        self.clock, self.cost = self._clock, cost

    def start(self, action: Action, steps: int | None = None) -> ToyTick:
        assert not self._awaits_commit
        return ToyTick(self, action)


class CarelessAhead(AheadWorld):
    """Uses what was prepared whatever the action is: the fault that the checksums must show."""

    def _answers(self, prepared: object, action: Action, most: int) -> bool:
        return True


class CrcDisplay:
    """Keeps a number for every frame: ten thousand of them are 90 MB."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.crcs: list[int] = []

    def present(self, frame: Frame) -> int:
        self.crcs.append(zlib.crc32(frame.tobytes()))
        return self._clock.now_ns()

    def close(self) -> None:
        pass


class AheadSession:
    """A loop on a manual clock over a world that may be made ahead, with everything it saw."""

    def __init__(
        self,
        world: World,
        clock: ManualClock,
        actions: Sequence[Action],
        *,
        ahead: Ahead | None = None,
        controller: Controller | None = None,
        governor: Governor | None = None,
        deadline_ns: int = PERIOD_NS,
        checksum_every: int = 1,
    ) -> None:
        self.clock, self.world = clock, world
        self.world.reset(0)
        self.display, self.recorder, self.observer = CrcDisplay(clock), ListRecorder(), ListObserver()
        self.loop = Loop(
            world,
            controller or ListedController(clock, actions),
            self.display,
            governor or FixedGovernor(2),
            clock,
            tick_period_ns=PERIOD_NS,
            deadline_ns=deadline_ns,
            observer=self.observer,
            recorder=self.recorder,
            checksum_every=checksum_every,
            ahead=ahead,
        )

    def run(self, ticks: int) -> AheadSession:
        self.loop.run(ticks)
        return self

    def outcomes(self) -> list[str]:
        return [record.ahead.outcome for record in self.observer.records]


def held_inputs(ticks: int, seed: int, mean_ticks: int = 6) -> list[Action]:
    """Controls held for a random while each, now and then a prompt or a reset."""
    rng = np.random.default_rng(seed)
    actions: list[Action] = []
    while len(actions) < ticks:
        axes = {name: int(rng.integers(-127, 128)) for name in ("steer", "throttle")}
        buttons = frozenset({"brake"} if rng.random() < 0.2 else ())
        for _ in range(int(rng.geometric(1 / mean_ticks))):
            prompt = ("day", "night")[int(rng.integers(2))] if rng.random() < 0.02 else None
            actions.append(Action(buttons, axes, prompt, reset=bool(rng.random() < 0.005)))
    return actions[:ticks]

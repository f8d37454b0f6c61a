"""The circuit's teacher answers to what the network dreams under careless driving (`nextframe.worlds.recipe.clips`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ....model.generator.ticks import RollingGenerator
from ...recipe.clips import OwnEpisodes, own_episodes
from ..teacher.simulator import Controls, Simulator, State
from ..teacher.track import WALL_PX
from .data import Driver, car_of, coming_to_rest, condition, rests

PUSH_PX = 6.0
"""A car deep in a wall comes back by so much a tick: at once, as the teacher would put it, no network can follow."""


class Careless:
    """A seeded driver that never looks: glides between random controls, or holds a wheel against a wall for seconds.

    Some stop and wait, since a dream at rest has to stay there. A third of the others race as the teacher's drivers
    do, so that these episodes are no world of their own.
    """

    def __init__(self, simulator: Simulator, seed: int) -> None:
        self._rng = np.random.Generator(np.random.Philox(key=seed + 23))
        self._driver = Driver(simulator, seed, prompt_rate=0.006)
        self._kind = "rest" if rests(seed) else ("race", "glide", "press")[seed % 3]
        self._held, self._next, self._left, self._length = Controls(), Controls(), 0, 1

    def controls(self, state: State) -> Controls:
        drawn = self._driver.controls(state)  # also draws the prompts
        if self._kind == "race":
            return drawn
        if self._kind == "rest":
            return replace(coming_to_rest(state), weather=drawn.weather, time=drawn.time)
        if self._left <= 0:
            self._choose()
        self._left -= 1
        held = self._held
        if self._kind == "glide":
            part = 1 - self._left / self._length
            part = part * part * (3 - 2 * part)
            steer, throttle, brake = np.add(_axes(self._held), np.subtract(_axes(self._next), _axes(self._held)) * part)
            held = Controls(float(steer), float(throttle), float(brake))
        handbrake = held.handbrake or bool(self._rng.random() < 0.02)
        return replace(held, handbrake=handbrake, weather=drawn.weather, time=drawn.time)

    def _choose(self) -> None:
        rng = self._rng
        if self._kind == "glide":
            self._length = 16
            self._held, self._next = self._next, self._random()
        else:
            self._length = int(rng.integers(10, 160))
            steer = float(rng.choice([-1, -0.4, 0, 0.4, 1]))
            backwards = rng.random() < 0.15
            self._held = Controls(steer, 0.0 if backwards else 1.0, 1.0 if backwards else 0.0)
        self._left = self._length

    def _random(self) -> Controls:
        steer, throttle, brake = self._rng.uniform(-1, 1, 3)
        return Controls(float(steer), float(np.clip(throttle + 0.7, 0, 1)), float(np.clip(brake - 0.9, 0, 1)))


def _axes(controls: Controls) -> tuple[float, float, float]:
    return controls.steer, controls.throttle, controls.brake


def seen(simulator: Simulator, shadow: State, last: Tensor, before: Tensor) -> State:
    """The teacher's state with the cars where the dream shows them; where it hides one, the teacher's goes on."""
    player = car_of(last, before, 0) or shadow.player
    rival = car_of(last, before, 1)
    if rival is None:
        return replace(shadow, player=player)
    index, side = simulator.track.locate(rival.x, rival.y)
    return replace(
        shadow, player=player, rival=rival, rival_index=float(index), rival_speed=rival.speed, rival_offset=side
    )


class CircuitAnswers:
    """The simulator put where a dream has the cars, with careless drivers. `latents_of`: states to true latents.

    Starts are the teacher's; with `off_road` every fourth one is moved up to a car's length beyond the walls.
    """

    def __init__(
        self,
        simulator: Simulator,
        latents_of: Callable[[list[State]], Tensor],
        rows: int,
        seed: int,
        *,
        off_road: bool = True,
    ) -> None:
        self._simulator, self._latents_of = simulator, latents_of
        self._states = [simulator.reset(seed * rows + k) for k in range(rows)]
        if off_road:
            self._states[::4] = [astray(simulator, state, seed * rows + k) for k, state in enumerate(self._states[::4])]
        self._drivers = [Careless(simulator, seed * rows + k) for k in range(rows)]

    def begin(self) -> tuple[Tensor, Tensor]:
        return self._latents_of(self._states), conditions([Controls()] * len(self._states), self._states)

    def answer(self) -> tuple[Tensor, Tensor]:
        controls = [driver.controls(state) for driver, state in zip(self._drivers, self._states, strict=True)]
        self._shadows = [
            gently(state, self._simulator.step(state, c)) for state, c in zip(self._states, controls, strict=True)
        ]
        return conditions(controls, self._shadows), self._latents_of(self._shadows)

    def see(self, generator: RollingGenerator) -> Tensor:
        """The player's depth in a wall, px."""
        self._states = [
            seen(self._simulator, shadow, generator.last[k], generator.before[k])
            for k, shadow in enumerate(self._shadows)
        ]
        return torch.tensor([depth_px(self._simulator, state) for state in self._states])


def make(
    generator: RollingGenerator,
    latents_of: Callable[[list[State]], Tensor],
    simulator: Simulator,
    seed: int,
    ticks: int,
    *,
    settle_ticks: int = 0,
    off_road: bool = True,
) -> OwnEpisodes:
    """Drive all rows of `generator`; as `nextframe.worlds.recipe.clips.own_episodes`."""
    answers = CircuitAnswers(simulator, latents_of, len(generator.last), seed, off_road=off_road)
    return own_episodes(generator, answers, seed=seed, ticks=ticks, settle_ticks=settle_ticks)


def conditions(controls: Sequence[Controls], states: Sequence[State]) -> Tensor:
    """What the network is told on the way into each state, `(rows, condition_dim)`."""
    return torch.from_numpy(np.stack([condition(c, state) for c, state in zip(controls, states, strict=True)]))


def gently(state: State, shadow: State) -> State:
    """The teacher's next state, with a car that it threw out of a wall moved no further than `PUSH_PX`."""
    a, b = state.player, shadow.player
    away = math.hypot(b.x - a.x, b.y - a.y)
    if away <= PUSH_PX:
        return shadow
    part = PUSH_PX / away
    return replace(shadow, player=replace(b, x=a.x + (b.x - a.x) * part, y=a.y + (b.y - a.y) * part))


def astray(simulator: Simulator, state: State, seed: int) -> State:
    """The player somewhere beside the course, standing, at any angle."""
    rng = np.random.Generator(np.random.Philox(key=seed + 31))
    car = state.player
    angle = float(simulator.track.tangent[simulator.track.locate(car.x, car.y)[0]])
    side, turn = float(rng.uniform(-24, 24)), float(rng.uniform(-3.2, 3.2))
    x, y = car.x - math.sin(angle) * side, car.y + math.cos(angle) * side
    return replace(state, player=replace(car, x=x, y=y, heading=car.heading + turn, vx=0.0, vy=0.0))


def depth_px(simulator: Simulator, state: State) -> float:
    """How far the player's middle is beyond where walls stop it."""
    car = state.player
    index, _ = simulator.track.locate(car.x, car.y)
    line = simulator.track.line[index]
    return math.hypot(car.x - line[0], car.y - line[1]) - WALL_PX

"""The road course's teacher answers to what the network dreams, and to cars that nothing stops.

A latent of this world shows nearly everything that decides the next frame, so the teacher can be put exactly where a
dream shows the cars (`nextframe.worlds.recipe.clips`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.generator.ticks import RollingGenerator
from ....model.tokenizers.scenes.chase import (
    LEAN,
    MOOD_DIM,
    POSITION_SCALE_M,
    SCENE_DIM,
    SLIP,
    SLIP_SCALE,
    SPEED,
    SPEED_SCALE,
)
from ....model.tokenizers.scenes.still import SLOT_DIM
from ...recipe.clips import OwnEpisodes, own_episodes
from ..teacher.simulator import Simulator, States, wrap
from ..teacher.track import HEIGHT_M, WALL_M, WIDTH_M
from .data import Drivers, condition, latents_of, none_of

FARTHEST_M = 18.0
"""Where a ghost turns back."""


def seen(simulator: Simulator, shadow: States, last: Tensor, before: Tensor) -> States:
    """The teacher's states with the cars, and the weather, as the dream shows them. `shadow`: what a latent does not
    show, the rival's pace and what was asked for, goes on from here."""
    now, past = last.numpy().astype(float), before.numpy().astype(float)
    x, y, heading, lamp = _slot(now, 0)
    rival_x, rival_y, _, rival_lamp = _slot(now, 1)
    past_x, past_y, _, _ = _slot(past, 1)
    _, along, offset = simulator.track.locate(rival_x, rival_y)
    weather, time = (_weights(now[:, part]) for part in (slice(0, 4), slice(4, MOOD_DIM)))
    return replace(
        shadow, x=x, y=y, heading=heading, braking=lamp, speed=now[:, SPEED] * SPEED_SCALE,
        slip=now[:, SLIP] * SLIP_SCALE, lean=now[:, LEAN], rival_along=along % simulator.track.length_m,
        rival_offset=offset, rival_speed=np.hypot(rival_x - past_x, rival_y - past_y), rival_braking=rival_lamp,
        weather=weather, time=time,
    )  # fmt: skip


def _slot(latents: NDArray, k: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    slot = latents[:, SCENE_DIM + k * SLOT_DIM : SCENE_DIM + (k + 1) * SLOT_DIM]
    x, y = slot[:, 0] * POSITION_SCALE_M + WIDTH_M / 2, slot[:, 1] * POSITION_SCALE_M + HEIGHT_M / 2
    return x, y, np.arctan2(slot[:, 3], slot[:, 2]), (slot[:, 5] > 0).astype(float)


def _weights(values: NDArray) -> NDArray:
    weights = np.clip((values + 1) / 2, 0, 1)
    return weights / np.maximum(weights.sum(1, keepdims=True), 1e-6)


class DriveAnswers:
    """The simulator put where a dream has the cars, with drivers of whom a part never looks."""

    def __init__(self, simulator: Simulator, rows: int, seed: int) -> None:
        self._simulator = simulator
        self._states = simulator.reset([seed * rows + k for k in range(rows)])
        self._drivers = Drivers(simulator, rows, seed, careless=0.4)

    def begin(self) -> tuple[Tensor, Tensor]:
        given = condition(none_of(len(self._states)), self._states)
        return torch.from_numpy(latents_of(self._simulator, self._states)), torch.from_numpy(given)

    def answer(self) -> tuple[Tensor, Tensor]:
        controls = self._drivers.controls(self._states)
        self._shadows = self._simulator.step(self._states, controls)
        given = torch.from_numpy(condition(controls, self._shadows))
        return given, torch.from_numpy(latents_of(self._simulator, self._shadows))

    def see(self, generator: RollingGenerator) -> Tensor:
        """How far the player is beyond the fence, m."""
        self._states = seen(self._simulator, self._shadows, generator.last, generator.before)
        _, _, side = self._simulator.track.locate(self._states.x, self._states.y)
        return torch.from_numpy(np.abs(side) - WALL_M)


def make(
    generator: RollingGenerator, simulator: Simulator, seed: int, ticks: int, *, settle_ticks: int = 0
) -> OwnEpisodes:
    """Drive all rows of `generator`; as `nextframe.worlds.recipe.clips.own_episodes`."""
    answers = DriveAnswers(simulator, len(generator.last), seed)
    return own_episodes(generator, answers, seed=seed, ticks=ticks, settle_ticks=settle_ticks)


class Ghostly(Simulator):
    """The same cars, but neither a fence nor the other car stops them: the worst that a dream could do."""

    def _fence(self, states: States) -> States:
        return states

    def _bump(self, states: States) -> States:
        return states


def unstopped(simulator: Simulator, seed: int, rows: int, ticks: int) -> OwnEpisodes:
    """Cars that go through fences and each other, with the teacher's answer to each tick.

    No network drives, so these cost little and reach every metre of fence, which dreams alone do in days. Each row
    gives way to the teacher by its own share of each answer.
    """
    rng = np.random.Generator(np.random.Philox(key=seed + 41))
    ghostly, track, states = Ghostly(simulator.track), simulator.track, _astray(simulator, rng, seed, rows)
    drivers, yields = Drivers(simulator, rows, seed, careless=0.7), rng.choice([0.0, 0.0, 0.4, 1.0], rows)
    answers, given, kept = states, torch.from_numpy(condition(none_of(rows), states)), []
    for _ in range(ticks):
        _, _, away = track.locate(states.x, states.y)
        history, target = (torch.from_numpy(latents_of(simulator, cars)) for cars in (states, answers))
        kept.append((history, target, given, torch.from_numpy(np.abs(away) - WALL_M)))
        controls = drivers.controls(states)
        answers, ghosts = simulator.step(states, controls), ghostly.step(states, controls)
        given = torch.from_numpy(condition(controls, answers))
        states = _between(ghosts, answers, np.where(np.abs(away) > FARTHEST_M, 1.0, yields))
    return OwnEpisodes.of(kept)


def _astray(simulator: Simulator, rng: np.random.Generator, seed: int, rows: int) -> States:
    """Cars on either side of the fences, at any angle; three in ten beside or inside the rival."""
    states, track = simulator.reset([seed * rows + k for k in range(rows)]), simulator.track
    at = rng.integers(len(track.line), size=rows)
    side, spread = rng.uniform(-17, 17, rows), np.where(rng.random(rows) < 0.3, 3.2, 0.5)
    angle = track.tangent[at]
    places = track.line[at] + np.stack([-np.sin(angle), np.cos(angle)], 1) * side[:, None]
    beside = rng.random(rows) < 0.3
    gap_m = np.where(beside, rng.uniform(-9, 9, rows), rng.uniform(9, track.length_m - 9, rows))
    along = np.asarray((at * track.spacing_m + gap_m) % track.length_m, np.float64)
    return replace(
        states, x=places[:, 0], y=places[:, 1], heading=wrap(angle + rng.normal(0, 1, rows) * spread),
        speed=rng.uniform(-0.3, 2.2, rows) * (rng.random(rows) < 0.9), slip=rng.normal(0, 0.1, rows),
        rival_along=along, rival_offset=np.where(beside, side.clip(-3.5, 3.5), states.rival_offset),
    )  # fmt: skip


def _between(ghosts: States, answers: States, share: NDArray) -> States:
    """The cars `share` of the way from where nothing stops them to where the teacher has them."""
    turn = wrap(answers.heading - ghosts.heading)
    mixed = {
        name: getattr(ghosts, name) + share * (getattr(answers, name) - getattr(ghosts, name))
        for name in ("x", "y", "speed", "slip")
    }
    return replace(answers, heading=wrap(ghosts.heading + share * turn), **mixed)


def beyond_fence(own: OwnEpisodes) -> float:
    """Share of ticks with the player more than a metre beyond the fence."""
    return float((own.astray > 1).float().mean())

"""Episodes that the dynamics itself made, with the teacher's answer to each of its frames.

A latent of this world shows nearly everything that decides the next frame, so the teacher can be put exactly where a
dream shows the cars and say what comes next (DAgger, Ross et al. 2011). What the network learns from its own
mistakes is then true, not the continuation of a drive that it has left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.chase import (
    LEAN,
    MOOD_DIM,
    POSITION_SCALE_M,
    SCENE_DIM,
    SLIP,
    SLIP_SCALE,
    SPEED,
    SPEED_SCALE,
)
from model.generator import Generator
from model.tokenizer import SLOT_DIM
from tools.drive.data import Drivers, condition, latents_of
from worlds.drive.simulator import Controls, Simulator, States
from worlds.drive.track import HEIGHT_M, WALL_M, WIDTH_M


@dataclass(frozen=True)
class OwnEpisodes:
    """`histories`, `targets`: `(episodes, ticks, latent_dim)`; the target of tick t continues the history before it.

    `conditions`: `(episodes, ticks, condition_dim)`. `side_m`: `(episodes, ticks)`, the player's from the line.
    """

    histories: Tensor
    targets: Tensor
    conditions: Tensor
    side_m: Tensor


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


def none_of(sessions: int) -> Controls:
    """Hands off, nothing asked."""
    still, unasked = np.zeros(sessions), np.full(sessions, -1)
    return Controls(still, still, still, unasked, unasked)


@torch.inference_mode()
def make(generator: Generator, simulator: Simulator, seed: int, ticks: int, *, settle_ticks: int = 0) -> OwnEpisodes:
    """Drive all rows of `generator` for `settle_ticks`, which are dropped, and `ticks`, which are kept."""
    rows = len(generator.last)
    states = simulator.reset([seed * rows + k for k in range(rows)])
    drivers = Drivers(simulator, rows, seed, careless=0.4)
    given = torch.from_numpy(condition(none_of(rows), states))
    generator.prefill(torch.from_numpy(latents_of(simulator, states))[:, None], given[:, None])
    kept: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for tick in range(settle_ticks + ticks):
        controls = drivers.controls(states)
        shadows = simulator.step(states, controls)
        given = torch.from_numpy(condition(controls, shadows))
        job = generator.start(given, seed, 1 + tick % 2)
        while job.can_step:
            job.step()
        generator.commit(job.finish(), given)
        states = seen(simulator, shadows, generator.last, generator.before)
        _, _, side = simulator.track.locate(states.x, states.y)
        if tick >= settle_ticks:
            target = torch.from_numpy(latents_of(simulator, shadows))
            kept.append((generator.last.clone(), target, given, torch.from_numpy(side)))
    return OwnEpisodes(*(torch.stack(part, 1).clone() for part in zip(*kept, strict=True)))


def beyond_fence(own: OwnEpisodes) -> float:
    """Share of ticks with the player more than a metre beyond the fence."""
    return float((own.side_m.abs() > WALL_M + 1).float().mean())

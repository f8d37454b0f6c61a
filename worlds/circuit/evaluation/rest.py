"""Does a car that stands stay? Hands off for twelve seconds, from pictures of cars at rest."""

from __future__ import annotations

import math

import torch

from ....model.tokenizers.scenes.still import POSITION_SCALE_PX, SLOT_DIM
from ...recipe.rollout import denoised
from ..recipe.data import HELD_OUT_SEED, coming_to_rest, condition
from ..teacher.simulator import Controls, State
from .rig import PAST_TICKS, Bench

STOPPING_TICKS, IDLE_TICKS = 150, 240
PUSHED_PX = 0.01


@torch.inference_mode()
def idle_drift_px(bench: Bench, rows: int) -> float:
    """How far a standing car's place in the dream moves: the worst of those whom the teacher's rival does not push."""
    pasts = [standing(bench, HELD_OUT_SEED + 500 + k) for k in range(rows)]
    generator = bench.generator(rows)
    latents = torch.stack([bench.encode(generator, bench.frames([state for state, _ in past])) for past in pasts])
    given = torch.stack([torch.stack([torch.from_numpy(condition(c, s)) for s, c in past]) for past in pasts])
    generator.prefill(latents, given)
    states = [past[-1][0] for past in pasts]
    hands_off = torch.stack([torch.from_numpy(condition(Controls(), state)) for state in states])
    before, later = places(generator.last), states
    for _ in range(IDLE_TICKS):
        generator.commit(denoised(generator, hands_off, 2), hands_off)
        later = [bench.simulator.step(state, Controls()) for state in later]
    moved = (places(generator.last) - before).norm(dim=-1) * POSITION_SCALE_PX
    pushed = [
        math.hypot(a.player.x - b.player.x, a.player.y - b.player.y) > PUSHED_PX
        for a, b in zip(states, later, strict=True)
    ]
    return float(moved[~torch.tensor(pushed)].max())


def standing(bench: Bench, seed: int) -> list[tuple[State, Controls]]:
    """The last `PAST_TICKS` of a car that brakes and then waits, with what led into each."""
    state, past = bench.simulator.reset(seed), []
    for _ in range(STOPPING_TICKS):
        controls = coming_to_rest(state)
        state = bench.simulator.step(state, controls)
        past.append((state, controls))
    return past[-PAST_TICKS:]


def places(latents: torch.Tensor) -> torch.Tensor:
    """Where slot 0 is, `(rows, 2)`."""
    return latents[:, -2 * SLOT_DIM : -2 * SLOT_DIM + 2].clone()

"""Make the drift bank of the drive world: bands of latent statistics on real sessions, by mood.

    python -m nextframe.worlds.drive.recipe.drift_bank [--to worlds/drive/drift_bank.safetensors]

Real sessions are the simulator's, as latents; the seeded drivers of the training data are at the wheel, a part of them
careless, and the wandering bot. Needs no trained weights. A bank is made, and its alarm set, as in
`nextframe.worlds.recipe.drift_bank`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from ....controllers.bots import make_bot
from ....model.drift.bank import DriftBank
from ....model.tokenizers.scenes.chase import MOOD_DIM, SCENE_DIM, ChaseConfig
from ....model.tokenizers.scenes.still import SLOT_DIM
from ....runtime.session.registry import find_world
from ...recipe.drift_bank import BANK, FLOOR_LAMP, Session, filled, open_bank, store
from ..teacher.simulator import TIMES, WEATHERS, Simulator
from .data import HELD_OUT_SEED, Drivers, condition, latents_of

MOODS = len(WEATHERS) * len(TIMES)
SESSIONS, TICKS, HELD_OUT_SESSIONS = 48, 600, 192
"""Sessions of each mood, and of any."""
BATCH = 96
BANK_SEED = 600_000
CARELESS = 0.3
CLIP_TICKS = 16
FLOOR, FLOOR_MOOD = 0.02, 0.1
"""Bands reach at least this far on both sides of their middle: 0.3 m for a place. A simulator's weather stands still,
so its band would have no width; it gets a twentieth of the way from none to all."""


def real_sessions(simulator: Simulator, first_seed: int, ticks: int, prompt_rate: float) -> Iterator[Session]:
    """One after the other without end, made many at a time. One in five is the wandering bot's."""
    space = find_world("drive").spec.action_space()
    while True:
        states = simulator.reset([first_seed + row for row in range(BATCH)])
        drivers = Drivers(simulator, BATCH, first_seed, careless=CARELESS, prompt_rate=prompt_rate)
        bots = {row: make_bot("wander", space, first_seed + row) for row in range(1, BATCH, 5)}
        made = []
        for tick in range(ticks):
            controls = drivers.controls(states)
            for row, bot in bots.items():
                action = bot.poll(tick)
                for name in space.axes:
                    getattr(controls, name)[row] = action.axis(name)
            states = simulator.step(states, controls)
            made.append((latents_of(simulator, states), condition(controls, states)))
        latents, conditions = (np.stack(part, 1) for part in zip(*made, strict=True))
        yield from zip(latents, conditions, strict=True)
        first_seed += BATCH


def by_mood(bank: DriftBank, sessions: Iterator[Session], count: int) -> list[list[Session]]:
    """So many sessions of each mood, whatever order they come in; none changes its mood."""
    found: list[list[Session]] = [[] for _ in range(MOODS)]
    for latents, conditions in sessions:
        mood = found[bank.mood_of(conditions[-1])]
        if len(mood) < count:
            mood.append((latents, conditions))
        if all(len(of_mood) == count for of_mood in found):
            break
    return found


def floors(latent_dim: int) -> NDArray[np.float64]:
    """The least reach of each band, `(3, latent_dim)`."""
    floor = np.full((3, latent_dim), FLOOR)
    floor[:, :MOOD_DIM] = FLOOR_MOOD
    floor[:, SCENE_DIM + SLOT_DIM - 1 :: SLOT_DIM] = FLOOR_LAMP
    return floor


def make_bank(sessions: int = SESSIONS, ticks: int = TICKS, held_out: int = HELD_OUT_SESSIONS) -> DriftBank:
    simulator, latent_dim = Simulator(), ChaseConfig().latent_dim
    empty = open_bank(latent_dim, SCENE_DIM, (len(WEATHERS), len(TIMES)))
    moods = by_mood(empty, real_sessions(simulator, BANK_SEED, ticks, 0.0), sessions)
    others = islice(real_sessions(simulator, HELD_OUT_SEED + 60_000, ticks, 0.004), held_out)
    told = track([(of_mood, ()) for of_mood in moods], "moods")
    return filled(empty, told, floors(latent_dim), others, clip_ticks=CLIP_TICKS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--to", type=Path, default=find_world("drive").path / BANK)
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="real sessions of each mood")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store(make_bank(options.sessions), options.to)


if __name__ == "__main__":
    main()

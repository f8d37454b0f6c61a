"""Make the drift bank of the drive world: bands of latent statistics on real sessions, by mood.

    python -m nextframe.worlds.drive.recipe.drift_bank [--to worlds/drive/drift_bank.safetensors]

Real sessions are the simulator's, as latents; the seeded drivers of the training data are at the wheel, a part of them
careless, and the wandering bot. Needs no trained weights. A bank is made, and its alarm set, as in
`nextframe.worlds.circuit.recipe.drift_bank`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file

from ....controllers.bots import make_bot
from ....model.drift.bank import DriftBank, quantile_bands, save_bank
from ....model.drift.monitor import ALARM_AFTER_TICKS
from ....model.tokenizers.scenes.chase import MOOD_DIM, SCENE_DIM, ChaseConfig
from ....model.tokenizers.scenes.still import SLOT_DIM
from ....runtime.session.registry import find_world
from ...circuit.recipe.drift_bank import BANK, LEAST_ALARM_SCORE, chosen_clips, open_bank, scores_of, statistics_of
from ..teacher.simulator import TIMES, WEATHERS, Simulator
from .data import HELD_OUT_SEED, Drivers, condition, latents_of

MOODS = len(WEATHERS) * len(TIMES)
SESSIONS, TICKS, HELD_OUT_SESSIONS = 48, 600, 192
"""Sessions of each mood, and of any."""
BATCH = 96
BANK_SEED = 600_000
CARELESS = 0.3
CLIP_TICKS = 16
FLOOR, FLOOR_MOOD, FLOOR_LAMP = 0.02, 0.1, 2.0
"""Bands reach at least this far on both sides of their middle: 0.3 m for a place. A simulator's weather stands still,
so its band would have no width; it gets a twentieth of the way from none to all. A lamp does as the driver says and is
never drift."""

Session = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Latents `(ticks, latent_dim)` and conditions `(ticks, condition_dim)`."""


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
    empty = open_bank(latent_dim, SCENE_DIM)
    lows, highs, clips = [], [], []
    for of_mood in track(by_mood(empty, real_sessions(simulator, BANK_SEED, ticks, 0.0), sessions), "moods"):
        samples = [np.stack(list(statistics_of(empty, *session))) for session in of_mood]
        cuts = [latents[t : t + CLIP_TICKS] for latents, _ in of_mood for t in range(100, ticks - CLIP_TICKS, 150)]
        low, high = quantile_bands(samples, floors(latent_dim))
        lows.append(low)
        highs.append(high)
        clips.append(chosen_clips(torch.from_numpy(np.stack(cuts)), SCENE_DIM))
    bank = replace(empty, low=np.stack(lows), high=np.stack(highs), clips=np.stack(clips))
    return replace(bank, alarm_score=alarm_of(bank, simulator, ticks, held_out))


def alarm_of(bank: DriftBank, simulator: Simulator, ticks: int, held_out: int) -> float:
    """The lowest alarm that none of so many real sessions raises, as for the circuit."""
    worst = []
    for session in islice(real_sessions(simulator, HELD_OUT_SEED + 60_000, ticks, 0.004), held_out):
        scores = scores_of(bank, *session)
        worst.append(float(np.lib.stride_tricks.sliding_window_view(scores, ALARM_AFTER_TICKS).min(1).max()))
    quantiles = ", ".join(f"{q:g}: {np.quantile(worst, q):.3f}" for q in (0.5, 0.9, 0.95, 0.99, 1.0))
    print(f"score held for {ALARM_AFTER_TICKS} ticks, by session: {quantiles}")
    return max(LEAST_ALARM_SCORE, *worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--to", type=Path, default=find_world("drive").path / BANK)
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="real sessions of each mood")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bank = make_bank(options.sessions)
    save_file(save_bank(bank), options.to)
    print(f"{options.to}: {options.to.stat().st_size / 1024:.0f} KiB, alarm above {bank.alarm_score:.2f}")


if __name__ == "__main__":
    main()

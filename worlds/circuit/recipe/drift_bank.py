"""Make the drift bank of the circuit: bands of latent statistics on real sessions, by mood.

    python -m nextframe.worlds.circuit.recipe.drift_bank [--to worlds/circuit/drift_bank.safetensors]

Real sessions are the simulator's, as latents: from its states for most (what the dynamics was trained on) and from its
pictures through the tokenizer for some (what a session starts from). Who drives: the seeded driver of the training
data, the wandering bot, and drivers who let go. Takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from ....controllers.bots import make_bot
from ....model.drift.bank import DriftBank, Wide
from ....model.tokenizers.scenes.still import SLOT_DIM, SlotTokenizer
from ....runtime.session.registry import find_world
from ...recipe.drift_bank import BANK, FLOOR_LAMP, Session, filled, open_bank, store
from ..teacher.render import Renderer
from ..teacher.simulator import TIMES, WEATHERS, Controls, Simulator, controls_of
from ..world import load_networks
from .clips import Latents
from .data import HELD_OUT_SEED, Driver, Episode, condition
from .dynamics import levels_of

EPISODES, TICKS, DRAWN_EPISODES, HELD_OUT_EPISODES = 48, 600, 1, 192
CLIP_TICKS = 32
BANK_SEED = 400_000
FLOOR_SCENE_LEVELS, FLOOR_SLOT = 1.0, 0.02
"""Bands reach at least this far on both sides of their middle. The scene of a mood stands still in a simulator, so it
gets a grey level; places get 1.3 px."""


def episode(simulator: Simulator, seed: int, ticks: int, mood: tuple[str, str] | None, rate: float) -> Episode:
    """One real session. One in ten lets go of the controls after a while; one in five is the wandering bot's."""
    weather, time = mood or (None, None)
    state = simulator.reset(seed, weather=weather, time=time)
    driver, space = Driver(simulator, seed, prompt_rate=rate), find_world("circuit").spec.action_space()
    bot = make_bot("wander", space, seed)
    lets_go_at = 30 + seed * 37 % (ticks // 2) if seed % 10 == 0 else ticks
    states, conditions = [state], [condition(Controls(), state)]
    for tick in range(ticks):
        controls = driver.controls(state)
        if tick >= lets_go_at:
            controls = Controls(weather=controls.weather, time=controls.time)
        elif seed % 5 == 1:
            action = bot.poll(tick)
            controls = controls_of(
                {name: action.axis(name) for name in space.axes},
                handbrake=bool(action.buttons), weather=controls.weather, time=controls.time,
            )  # fmt: skip
        state = simulator.step(state, controls)
        states.append(state)
        conditions.append(condition(controls, state))
    return Episode(states, np.stack(conditions))


def floors(tokenizer: SlotTokenizer, latent_dim: int) -> Wide:
    """The least reach of each band, `(3, latent_dim)`."""
    levels = levels_of(tokenizer).numpy()
    floor = np.full((3, latent_dim), FLOOR_SLOT)
    floor[:, : len(levels)] = FLOOR_SCENE_LEVELS / np.maximum(levels, 1e-6)
    floor[:, len(levels) + SLOT_DIM - 1 :: SLOT_DIM] = FLOOR_LAMP
    return floor


def make_bank(simulator: Simulator, folder: Path, episodes: int = EPISODES) -> DriftBank:
    """Of the networks in `folder`, whose tokenizer says what a picture is."""
    tokenizer, dynamics = load_networks(folder)
    latents_of, renderer, config = Latents(tokenizer.eval()), Renderer(), dynamics.config
    empty = open_bank(config.latent_dim, config.scene_dim, (len(WEATHERS), len(TIMES)))

    def session(seed: int, mood: tuple[str, str] | None, rate: float = 0.0) -> Session:
        real = episode(simulator, seed, TICKS, mood, rate)
        return latents_of.of(real.states).numpy(), real.conditions

    def read(seed: int, mood: tuple[str, str]) -> Session:
        """The same through pictures."""
        real = episode(simulator, seed, TICKS, mood, 0.0)
        with torch.inference_mode():
            frames = [torch.from_numpy(renderer.draw(state))[None] for state in real.states]
            return torch.cat([tokenizer.encode(frame) for frame in frames]).numpy(), real.conditions

    def moods() -> Iterator[tuple[list[Session], list[Session]]]:
        for at, mood in enumerate(track([(w, t) for w in WEATHERS for t in TIMES], "moods")):
            first = BANK_SEED + at * 1000
            drawn = [read(first + k, mood) for k in range(DRAWN_EPISODES)]
            yield [session(first + k, mood) for k in range(episodes)], drawn

    held_out = (
        session(HELD_OUT_SEED + 40_000 + k, None, rate=0.004) for k in track(range(HELD_OUT_EPISODES), "held out")
    )
    return filled(empty, moods(), floors(tokenizer, config.latent_dim), held_out, clip_ticks=CLIP_TICKS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--to", type=Path, default=find_world("circuit").path / BANK)
    parser.add_argument("--episodes", type=int, default=EPISODES, help="real sessions in each mood")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store(make_bank(Simulator(), find_world("circuit").path, options.episodes), options.to)


if __name__ == "__main__":
    main()

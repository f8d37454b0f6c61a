"""Make the drift bank of the circuit: bands of latent statistics on real sessions, by mood.

    python -m nextframe.worlds.circuit.recipe.drift_bank [--to worlds/circuit/drift_bank.safetensors]

Real sessions are the simulator's, as latents: from its states for most (what the dynamics was trained on) and from its
pictures through the tokenizer for some (what a session starts from). Who drives: the seeded driver of the training
data, the wandering bot, and drivers who let go. Takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file

from ....controllers.bots import make_bot
from ....model.drift.bank import DriftBank, Wide, quantile_bands, save_bank
from ....model.drift.monitor import ALARM_AFTER_TICKS, DriftMonitor
from ....model.tokenizers.scenes.still import SLOT_DIM
from ....runtime.session.registry import find_world
from ..evaluation.rig import Bench
from ..teacher.render import Renderer
from ..teacher.simulator import TIMES, WEATHERS, Controls, Simulator, controls_of
from .clips import Latents
from .data import HELD_OUT_SEED, Driver, Episode, condition
from .dynamics import levels_of

BANK = "drift_bank.safetensors"
GROUPS = (len(WEATHERS), len(TIMES))
WINDOW_TICKS, SETTLE_TICKS = 64, 40
EPISODES, TICKS, DRAWN_EPISODES, HELD_OUT_EPISODES = 48, 600, 1, 192
KEEP_EVERY_TICKS = 8
CLIPS, CLIP_TICKS = 4, 32
BANK_SEED = 400_000
FLOOR_SCENE_LEVELS, FLOOR_SLOT, FLOOR_LAMP = 1.0, 0.02, 2.0
"""Bands reach at least this far on both sides of their middle. The scene of a mood stands still in a simulator, so it
gets a grey level; places get 1.3 px. Brake lamps do as the driver says and are never drift: any lamp is inside."""
LEAST_ALARM_SCORE = 0.25


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


def open_bank(latent_dim: int, scene_dim: int) -> DriftBank:
    """A bank that finds nothing, for gathering statistics."""
    shape = (len(WEATHERS) * len(TIMES), 3, latent_dim)
    low, high = np.full(shape, -1e9, np.float32), np.full(shape, 1e9, np.float32)
    clips = np.zeros((shape[0], 1, 1, latent_dim), np.float32)
    return DriftBank(low, high, clips, GROUPS, scene_dim, WINDOW_TICKS, SETTLE_TICKS, 0.0)


def statistics_of(bank: DriftBank, latents: NDArray[np.float32], conditions: NDArray[np.float32]) -> Iterator[Wide]:
    """The running statistics of one session, every few ticks, once all channels are judged."""
    monitor = DriftMonitor(bank, remember_ticks=1)
    for tick, (latent, given) in enumerate(zip(latents, conditions, strict=True)):
        monitor.observe(latent, given)
        if tick % KEEP_EVERY_TICKS == 0 and monitor.report.judged == bank.latent_dim:
            yield monitor.statistics()[0]


def scores_of(bank: DriftBank, latents: NDArray[np.float32], conditions: NDArray[np.float32]) -> list[float]:
    monitor = DriftMonitor(bank, remember_ticks=1)
    return [monitor.observe(latent, given).score for latent, given in zip(latents, conditions, strict=True)]


def floors(bench: Bench, latent_dim: int) -> Wide:
    """The least reach of each band, `(3, latent_dim)`."""
    levels = levels_of(bench.generator(1).tokenizer).numpy()
    floor = np.full((3, latent_dim), FLOOR_SLOT)
    floor[:, : len(levels)] = FLOOR_SCENE_LEVELS / np.maximum(levels, 1e-6)
    floor[:, len(levels) + SLOT_DIM - 1 :: SLOT_DIM] = FLOOR_LAMP
    return floor


def make_bank(bench: Bench, episodes: int, ticks: int, drawn: int, held_out: int) -> DriftBank:
    generator = bench.generator(1)
    latents_of, config = Latents(generator.tokenizer), generator.config
    empty, floor = open_bank(config.latent_dim, config.scene_dim), floors(bench, config.latent_dim)
    lows, highs, clips = [], [], []
    moods = [(weather, time) for weather in WEATHERS for time in TIMES]
    for at, mood in enumerate(track(moods, "moods")):
        samples, cuts = [], []
        for k in range(episodes):
            real = episode(bench.simulator, BANK_SEED + at * 1000 + k, ticks, mood, rate=0.0)
            latents = latents_of.of(real.states)
            samples.append(np.stack(list(statistics_of(empty, latents.numpy(), real.conditions))))
            cuts += [latents[t : t + CLIP_TICKS] for t in range(100, ticks - CLIP_TICKS, 150)]
            if k < drawn:
                drawn_latents = bench.encode(generator, bench.frames(real.states))
                samples.append(np.stack(list(statistics_of(empty, drawn_latents.numpy(), real.conditions))))
        low, high = quantile_bands(samples, floor)
        lows.append(low)
        highs.append(high)
        clips.append(chosen_clips(torch.stack(cuts), config.scene_dim))
    bank = replace(empty, low=np.stack(lows), high=np.stack(highs), clips=np.stack(clips))
    return replace(bank, alarm_score=alarm_of(bank, bench, latents_of, HELD_OUT_SEED + 40_000, held_out))


def alarm_of(bank: DriftBank, bench: Bench, latents_of: Latents, first_seed: int, sessions: int) -> float:
    """The lowest alarm that none of so many real sessions raises: the highest score that one of them stays above for
    as long as an alarm needs. Prints how the sessions lie."""
    worst = []
    for k in track(range(sessions), "held out"):
        real = episode(bench.simulator, first_seed + k, TICKS, None, rate=0.004)
        scores = scores_of(bank, latents_of.of(real.states).numpy(), real.conditions)
        worst.append(float(np.lib.stride_tricks.sliding_window_view(scores, ALARM_AFTER_TICKS).min(1).max()))
    quantiles = ", ".join(f"{q:g}: {np.quantile(worst, q):.3f}" for q in (0.5, 0.9, 0.95, 0.99, 1.0))
    print(f"score held for {ALARM_AFTER_TICKS} ticks, by session: {quantiles}")
    return max(LEAST_ALARM_SCORE, *worst)


def chosen_clips(cuts: torch.Tensor, scene_dim: int) -> NDArray[np.float32]:
    """A few clips, `(clips, ticks, latent_dim)`: both cars in sight at the end, ends far from each other."""
    ends = cuts[:, -1, scene_dim:].unflatten(-1, (2, SLOT_DIM))
    usable = cuts[(ends[..., 4] > 0).all(-1)]
    ends = usable[:, -1, scene_dim:]
    picked = [0]
    while len(picked) < CLIPS:
        away = torch.cdist(ends, ends[picked]).min(1).values
        picked.append(int(away.argmax()))
    return usable[picked].numpy().copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--to", type=Path, default=find_world("circuit").path / BANK)
    parser.add_argument("--episodes", type=int, default=EPISODES, help="real sessions in each mood")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(Simulator(), Renderer(), find_world("circuit").path)
    bank = make_bank(bench, options.episodes, TICKS, DRAWN_EPISODES, HELD_OUT_EPISODES)
    save_file(save_bank(bank), options.to)
    print(f"{options.to}: {options.to.stat().st_size / 1024:.0f} KiB, alarm above {bank.alarm_score:.2f}")


if __name__ == "__main__":
    main()

"""Free ticks under the actions that were really taken, against what the game showed: is it still the same road?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..teacher.driver import VIEW_ROWS, Explorer, road_mask
from ..teacher.game import Controls, Game
from .look import Frames, psnr
from .rollouts import Dreamer

TICKS = (4, 16, 64)
SEEDS = 900_200_000


def episodes(count: int, history: int) -> tuple[Frames, NDArray[np.float32]]:
    """Frames `(count, history + last tick, 64, 64, 3)` and the actions between them, of exploring drivers."""
    frames: list[Frames] = []
    actions: list[NDArray[np.float32]] = []
    seed = 0
    while len(frames) < count:
        game, driver = Game(), Explorer(np.random.default_rng((seed, 78)))
        seen, goes_on = [game.reset(SEEDS + seed)], True
        given: list[Controls] = []
        while goes_on and len(given) < history + TICKS[-1] - 1:
            given.append(driver(seen[-1], game.pose.speed_m_s))
            frame, goes_on = game.tick(given[-1])
            seen.append(frame)
        seed += 1
        if goes_on:
            frames.append(np.stack(seen))
            actions.append(np.stack(given))
    return np.stack(frames), np.stack(actions)


def road_overlap(frames: Frames, truth: Frames) -> float:
    """Intersection over union of the road, above the gauges, pooled."""
    ours, theirs = (np.stack([road_mask(one[:VIEW_ROWS]) for one in part]) for part in (frames, truth))
    return float((ours & theirs).sum() / max(1, (ours | theirs).sum()))


def play_on(dreamer: Dreamer, frames: Frames, actions: NDArray[np.float32], history: int, steps: int) -> Frames:
    """`(n, ticks, 64, 64, 3)` after so many true frames."""
    net, past = dreamer.net, dreamer.net.config.past
    random, memory = torch.Generator().manual_seed(0), dreamer.remember(len(frames))
    latents = [dreamer.commit(memory, net.pack(torch.from_numpy(frames[:, at]))) for at in range(history)]
    made = []
    for tick in range(TICKS[-1]):
        at = history + tick
        given = torch.from_numpy(actions[:, at - past : at])
        image = dreamer.next_frames(torch.stack(latents[-past:], 1), given, dreamer.recall(memory), steps, random)
        latents.append(dreamer.commit(memory, image))
        made.append(net.unpack(image).numpy())
    return np.stack(made, 1)


def measure_open_loop(dreamer: Dreamer, count: int, history: int) -> dict[str, dict[str, dict[str, float]]]:
    """By condition and tick: PSNR in dB and the road's overlap; beside them the start frame held."""
    frames, actions = episodes(count, history)
    made = {f"rung_{steps}": play_on(dreamer, frames, actions, history, steps) for steps in (1, 4)}
    made["rung_4_without_memory"] = play_on(replace(dreamer, window=0), frames, actions, history, 4)
    made["start_held"] = np.repeat(frames[:, history - 1 : history], TICKS[-1], 1)
    return {
        name: {
            str(tick): {
                "psnr_db": psnr(film[:, tick - 1], frames[:, history + tick - 1]),
                "road_overlap": road_overlap(film[:, tick - 1], frames[:, history + tick - 1]),
            }
            for tick in TICKS
        }
        for name, film in made.items()
    }  # fmt: skip

"""Sessions of the network by the same driver as in the game: many at a time, since a core does 16 rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.diffusion.levels import Scales, Schedule, step
from ....model.dynamics.unet import Given, Remembered, UNet, estimate
from ....model.memory.past import gather
from ....model.memory.rolling import RollingKVMemory
from ..teacher.driver import RoadDriver, wheels_on_road
from ..teacher.game import Game
from .look import Frames


class Film(NamedTuple):
    """`frames (ticks, sessions, 64, 64, 3)` uint8 and `on_road (ticks, sessions)`, by the picture."""

    frames: Frames
    on_road: NDArray[np.bool_]


@dataclass(frozen=True)
class Dreamer:
    """The network over several sessions. The state machine of `ImageGenerator`, with a row for each session; noise is
    drawn, not addressed. `window`: 0 leaves the memory unread."""

    net: UNet
    schedule: Schedule
    dtype: torch.dtype
    window: int | None = None

    @torch.inference_mode()
    def next_frames(self, seen: Tensor, actions: Tensor, past: Sequence[Remembered | None], steps: int,
                    random: torch.Generator) -> Tensor:  # fmt: skip
        """Rung `steps`, `(n, *latent_shape)`, from latents `seen (n, past, *latent)` and `actions (n, past, A)`."""
        net, sigmas, n = self.net, self.schedule.sigmas, len(seen)
        base = seen[:, -1].contiguous(memory_format=torch.channels_last)
        flat = seen.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        given = Given(base, net.trunk.past_in(flat.to(self.dtype)), past)
        noisy = base + torch.randn(base.shape, generator=random) * sigmas[0]
        image = base
        for k in range(steps):
            if k > 0:
                noisy = step(noisy, image, sigmas[k - 1], sigmas[k])
            scales = Scales.at(torch.full((n,), sigmas[k]), net.config.change)
            numbers = net.embedding(scales.noise, actions)
            image = estimate(net.trunk, noisy, scales, given, net.embedding.split(numbers, self.dtype)).clamp(-1, 1)
        return image

    def remember(self, rows: int) -> RollingKVMemory:
        return RollingKVMemory(self.net.config.memory_spec(rows), limit=self.window)

    @torch.inference_mode()
    def commit(self, memory: RollingKVMemory, latents: Tensor) -> Tensor:
        """The latents as shown, written."""
        shown = self.net.pack(self.net.unpack(latents))
        keys, values = self.net.trunk.writer(shown.to(self.dtype))
        memory.write(keys.float(), values.float())
        return shown

    def recall(self, memory: RollingKVMemory) -> Sequence[Remembered | None]:
        past, tokens = gather(memory, self.net.rotary), self.net.config.tokens
        if self.window == 0:
            return [None] * self.net.config.middle
        mask = torch.zeros(1, 1, 1, past.keys[0].shape[2] - tokens, dtype=self.dtype)
        return [Remembered(k[..., :-tokens, :].to(self.dtype), v[..., :-tokens, :].to(self.dtype), mask)
                for k, v in zip(past.keys, past.values, strict=True)]  # fmt: skip


def drive_the_network(dreamer: Dreamer, frames: Frames, controls: NDArray[np.float32], *, steps: int, ticks: int,
                      seed: int = 0) -> Film:  # fmt: skip
    """The road driver at the wheel of so many free ticks, from pasts `frames (n, t, ...)` and `controls (n, t, 3)`."""
    net, n, past = dreamer.net, len(frames), dreamer.net.config.past
    random = torch.Generator().manual_seed(seed)
    drivers = [RoadDriver(np.random.default_rng((seed, row))) for row in range(n)]
    memory = dreamer.remember(n)
    latents = [dreamer.commit(memory, net.pack(torch.from_numpy(frames[:, at]))) for at in range(frames.shape[1])]
    given = [torch.from_numpy(controls[:, at]) for at in range(controls.shape[1])]
    shown, film, on_road = frames[:, -1], [], []
    for _ in range(ticks):
        chosen = np.stack([driver(frame) for driver, frame in zip(drivers, shown, strict=True)])
        given.append(torch.from_numpy(chosen))
        seen, actions = torch.stack(latents[-past:], 1), torch.stack(given[-past:], 1)
        image = dreamer.next_frames(seen, actions, dreamer.recall(memory), steps, random)
        latents = [*latents[-past + 1 :], dreamer.commit(memory, image)]
        given = given[-past + 1 :]
        shown = net.unpack(image).numpy()
        film.append(shown)
        on_road.append([wheels_on_road(frame) for frame in shown])
    return Film(np.stack(film), np.array(on_road))


def drive_the_game(seeds: Sequence[int], *, ticks: int, warm_ticks: int = 8) -> Film:
    """The same driver in the game; a session that ends with a lap is filled up with its last frames."""
    films, roads = [], []
    for seed in seeds:
        game, driver = Game(), RoadDriver(np.random.default_rng((0, seed)))
        frame = game.reset(seed)
        film, goes_on = [], True
        for tick in range(warm_ticks + ticks):
            if goes_on:
                frame, goes_on = game.tick(driver(frame))
            if tick >= warm_ticks:
                film.append(frame)
        films.append(np.stack(film))
        roads.append([wheels_on_road(one) for one in film])
    return Film(np.stack(films, 1), np.array(roads).T)

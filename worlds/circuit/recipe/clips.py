"""What the circuit's dynamics learns from: the teacher's drives as latents, the network's own, and clips of both.

Owns how states become latents and how a batch is drawn. Knows nothing of losses or optimisers.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.dynamics.slots import Dynamics
from ....model.generator.ticks import RollingGenerator
from ....model.tokenizers.scenes.still import POSITION_SCALE_PX, SLOT_DIM, SlotTokenizer
from ...recipe.clips import Clips, Episodes, OwnEpisodes, Pool, clips_at, last_replaced
from ..teacher.art import load_art
from ..teacher.render import CAR_LENGTH_PX, CAR_WIDTH_PX
from ..teacher.simulator import Car, Simulator, State
from ..teacher.track import HEIGHT_PX, WIDTH_PX
from .data import VISIBLE_SHARE, drive
from .on_policy import make

CLIP_TICKS = 40
TOGETHER_TICKS = 12
"""Both cars were hidden at some tick of the last so many."""


def visible_share(cars: Tensor, open_sky: Tensor) -> Tensor:
    """The part of each car no roof hides, from a grid of points over it. `cars`: `(..., 4)` x, y, cos, sin."""
    along, across = torch.meshgrid(
        torch.linspace(-0.46, 0.46, 9) * CAR_LENGTH_PX, torch.linspace(-0.42, 0.42, 5) * CAR_WIDTH_PX, indexing="ij"
    )
    along, across = along.flatten(), across.flatten()
    x = cars[..., 0:1] + cars[..., 2:3] * along - cars[..., 3:4] * across
    y = cars[..., 1:2] + cars[..., 3:4] * along + cars[..., 2:3] * across
    return open_sky[y.long().clamp(0, HEIGHT_PX - 1), x.long().clamp(0, WIDTH_PX - 1)].mean(-1)


class Latents:
    """Turns states of the teacher into latents, without drawing: scene codes blend linearly, as backgrounds do."""

    def __init__(self, tokenizer: SlotTokenizer) -> None:
        art = load_art()
        self.tokenizer = tokenizer
        self.open_sky = torch.from_numpy(1 - art.cover)
        flat = torch.from_numpy(art.backgrounds.reshape(-1, HEIGHT_PX, WIDTH_PX, 3))
        with torch.no_grad():
            self.codes = tokenizer.scene(flat.permute(0, 3, 1, 2).float() / 255)

    def of(self, states: list[State]) -> Tensor:
        """`(len(states), latent_dim)`, canonical."""
        weights = np.array([np.outer(s.weather, s.time).ravel() for s in states], np.float32)
        scene = torch.from_numpy(weights) @ self.codes
        rows = [[self._row(s.player), self._row(s.rival)] for s in states]
        cars = torch.tensor(rows, dtype=torch.float32)
        seen = (visible_share(cars[..., :4], self.open_sky) > VISIBLE_SHARE).float()
        place = (cars[..., :2] - torch.tensor([WIDTH_PX / 2, HEIGHT_PX / 2])) / POSITION_SCALE_PX
        slots = torch.cat([place, cars[..., 2:4], 2 * seen[..., None] - 1, 2 * cars[..., 4:] - 1], -1)
        return self.tokenizer.canonical(torch.cat([scene, slots.flatten(1)], -1))

    @staticmethod
    def _row(car: Car) -> tuple[float, ...]:
        return (car.x, car.y, math.cos(car.heading), math.sin(car.heading), float(car.braking > 0.5))


def make_episodes(latents: Latents, count: int, ticks: int, first_seed: int) -> Episodes:
    simulator = Simulator()
    rows, conditions = [], []
    for k in track(range(count), "driving"):
        rate = 0.004 if k % 3 else 0.03
        episode = drive(simulator, first_seed + k, ticks - 1, prompt_rate=rate)
        rows.append(latents.of(episode.states))
        conditions.append(torch.from_numpy(episode.conditions))
    return Episodes(torch.stack(rows), torch.stack(conditions))


def load_episodes(path: Path, latents: Latents, count: int, ticks: int, first_seed: int) -> Episodes:
    if not path.exists():
        made = make_episodes(latents, count, ticks, first_seed)
        save_file({"latents": made.latents, "conditions": made.conditions}, path)
    stored = load_file(path)
    return Episodes(stored["latents"], stored["conditions"])


class Returns(NamedTuple):
    """Episode and tick, `(n, 2)`, of each return of a car from under a roof: of all, and of those that were hidden with
    the other car. One in ten is of the second kind, and with both out of sight no picture shows which touched which."""

    all: Tensor
    together: Tensor


def returns(episodes: Episodes) -> Returns:
    hidden = episodes.latents[..., 4 - 2 * SLOT_DIM :: SLOT_DIM] < 0
    both = hidden.all(-1).float()
    lately = F.max_pool1d(F.pad(both, (TOGETHER_TICKS, 0)), TOGETHER_TICKS + 1, 1) > 0
    found = (hidden[:, :-1] & ~hidden[:, 1:]).any(-1).nonzero()
    found = found[(found[:, 1] >= CLIP_TICKS) & (found[:, 1] < episodes.latents.shape[1] - CLIP_TICKS)]
    return Returns(found, found[lately[found[:, 0], found[:, 1]]])


def sample_clips(episodes: Episodes, batch: int, returning: Returns | None = None) -> Clips:
    """Clips of `CLIP_TICKS`; given `returns`, a car comes back from under a roof in every second one, and in half of
    those both were there."""
    count, ticks, _ = episodes.latents.shape
    which = torch.randint(count, (batch,))
    start = torch.randint(ticks - CLIP_TICKS, (batch,))
    if returning is not None and len(returning.all):
        some = batch // 2
        picked = returning.all[torch.randint(len(returning.all), (some,))]
        if len(returning.together):
            picked[::2] = returning.together[torch.randint(len(returning.together), (len(picked[::2]),))]
        which[:some] = picked[:, 0]
        start[:some] = picked[:, 1] - torch.randint(24, CLIP_TICKS - 2, (some,))
    return clips_at(episodes, which[:, None], start[:, None] + torch.arange(CLIP_TICKS))


class Dreams:
    """A pool of the network's own episodes: the newest `POOL`, one more every `FRESH_S` of training."""

    POOL, FRESH_S, ROWS, TICKS, SETTLE_TICKS = 5, 240.0, 64, 200, 150

    def __init__(self, tokenizer: SlotTokenizer, dynamics: Dynamics) -> None:
        """`dynamics`: whose dreams they are, as it is when one is made."""
        self._tokenizer, self._dynamics = tokenizer, dynamics
        self._latents, self._simulator = Latents(tokenizer), Simulator()
        self._pool = Pool(self._make, least=2, most=self.POOL, every_s=self.FRESH_S)

    def at(self, spent_s: float) -> list[OwnEpisodes]:
        return self._pool.at(spent_s)

    def mixed(self, clips: Clips, share: float, spent_s: float) -> Clips:
        """The last `share` of the batch replaced by clips of the network's own episodes."""
        return last_replaced(clips, self._pool.any(spent_s), share)

    def _make(self, seed: int, number: int) -> OwnEpisodes:
        generator = RollingGenerator(self._tokenizer, copy.deepcopy(self._dynamics).cpu(), rows=self.ROWS)
        settle_ticks = self.SETTLE_TICKS * (number % 3)
        fresh = make(generator, self._latents.of, self._simulator, seed, self.TICKS, settle_ticks=settle_ticks)
        deep = 100 * float((fresh.astray > 2).float().mean())
        print(f"own episodes, {deep:.1f} % of ticks deep in a wall", flush=True)
        return fresh

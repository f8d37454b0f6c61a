"""The shipped keep and the game it learned from, side by side: what everything that measures it stands on.

Owns how both are set to the same place and given the same actions. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.generator.ticks import RollingGenerator
from ...evaluation.measures import Image
from ...recipe.rollout import denoised, pictures
from .. import world as keep
from ..recipe.walks import CONDITION_DIM, HELD_OUT_SEED, anywhere
from ..teacher.keep_game import HEIGHT_PX, WIDTH_PX, KeepGame
from ..teacher.script import Script
from ..teacher.walk import LOOK_DEGREES, TICS_A_TICK, Steps, Walk, Walkers

PAST_TICKS = keep.WINDOW


class KeepBench:
    """The shipped world and the game it learned from: a `Bench` of `place`, and more."""

    window, degrees, size_px = PAST_TICKS, LOOK_DEGREES * TICS_A_TICK, (HEIGHT_PX, WIDTH_PX)

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows, self.walk = folder, rows, Walk()
        self.game = KeepGame()

    def generator(self, rows: int) -> RollingGenerator:
        return keep.new_generator(*keep.load_networks(self.folder), rows)

    def starts(self, rows: int, seed: int = 0) -> Walkers:
        return anywhere(self.walk, np.random.Generator(np.random.Philox(key=HELD_OUT_SEED + seed)), rows)

    def both(self, script: Script) -> tuple[Tensor, Tensor]:
        """Real frames from the last true one on, `(rows, ticks + 1, h, w, 3)` uint8, and the dreamt ones after it, one
        fewer, under the same actions."""
        frames, latents = self.played(script.actions, self.starts(self.rows))
        given = torch.from_numpy(told(script.actions)).expand(self.rows, -1, -1)
        generator = self.generator(self.rows)
        generator.prefill(latents[:, : script.context], given[:, : script.context])
        dreamt = []
        for tick in range(script.context, given.shape[1]):
            generator.commit(denoised(generator, given[:, tick], 2), given[:, tick])
            dreamt.append(torch.from_numpy(np.stack(pictures(generator, generator.last))))
        return frames[:, script.context - 1 :], torch.stack(dreamt, 1)

    def played(self, actions: NDArray[np.float32], starts: Walkers) -> tuple[Tensor, Tensor]:
        """Frames `(rows, ticks, h, w, 3)` and latents `(rows, ticks, latent_dim)` of the game. `actions`: of all,
        `(ticks, n)`, or of each, `(rows, ticks, n)`, of which the first three are the axes."""
        frames, latents = [], []
        every = np.broadcast_to(actions, (len(starts), *actions.shape[-2:]))
        for row in range(len(starts)):
            self.game.put(starts.x[row], starts.y[row], starts.angle[row])
            shown, been = [], []
            for action in every[row]:
                look, aside, ahead = (np.array([float(value)]) for value in action[:3])
                self.game.step(Steps(look, aside, ahead))
                shown.append(self.game.frame())
                been.append(keep.latents_of(self.game.walkers())[0])
            frames.append(np.stack(shown))
            latents.append(np.stack(been))
        return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(latents))

    def shown_at(self, latents: Tensor) -> list[Image]:
        """The game's pictures from where latents `(rows, latent_dim)` are, all lamps lit."""
        return shown_in(self.game, latents)

    def dreaming(self, starts: Walkers) -> RollingGenerator:
        """A generator that begins at rest there."""
        generator = self.generator(len(starts))
        latents = torch.from_numpy(keep.latents_of(starts))[:, None].expand(-1, PAST_TICKS, -1)
        generator.prefill(latents, torch.zeros(len(starts), PAST_TICKS, CONDITION_DIM))
        return generator


def shown_in(game: KeepGame, latents: Tensor) -> list[Image]:
    """A game's pictures from where latents are."""
    found = []
    w = keep.walkers_of(latents.numpy())
    for x, y, angle in zip(w.x, w.y, w.angle, strict=True):
        game.put(float(x), float(y), float(angle))
        found.append(game.frame())
    return found


def told(axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Axes `(..., 3)` as the network is told them, no button pressed."""
    return np.pad(axes, [(0, 0)] * (axes.ndim - 1) + [(0, CONDITION_DIM - axes.shape[-1])])


@contextmanager
def bench_of(folder: Path, rows: int) -> Iterator[KeepBench]:
    bench = KeepBench(folder, rows)
    try:
        yield bench
    finally:
        bench.game.close()

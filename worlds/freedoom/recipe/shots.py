"""Pictures of the keep with their poses, from all over it. Needs ViZDoom.

python -m nextframe.worlds.freedoom.recipe.shots --out runs/freedoom --frames 6000
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..teacher.keep_game import HEIGHT_PX, WIDTH_PX, KeepGame
from ..teacher.plan import LAMPS
from ..teacher.walk import Walk
from ..world import latents_of
from .walks import anywhere

A_GAME, OUT = 100, 0.45
"""Pictures with the same lamps, and the share of lamps that are out in every second game."""


def shoot(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Frames `(count, height, width, 3)` and latents `(count, latent_dim)`; half of them with all lamps lit."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    frames, latents = np.empty((count, HEIGHT_PX, WIDTH_PX, 3), np.uint8), []
    for first in range(0, count, A_GAME):
        out = rng.random(len(LAMPS)) < OUT
        game = KeepGame([] if first % (2 * A_GAME) == 0 else out.nonzero()[0].tolist())
        many = min(A_GAME, count - first)
        where = anywhere(Walk(), rng, many)
        try:
            for k in range(many):
                game.put(where.x[k], where.y[k], where.angle[k])
                frames[first + k] = game.frame()
                latents.append(latents_of(game.walkers())[0])
        finally:
            game.close()
    return frames, np.stack(latents)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextframe.worlds.freedoom.recipe.shots", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/freedoom"))
    parser.add_argument("--frames", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    frames, latents = shoot(asked.frames, asked.seed)
    np.save(asked.out / "frames.npy", frames)
    np.save(asked.out / "latents.npy", latents)
    print(f"{len(frames)} frames in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

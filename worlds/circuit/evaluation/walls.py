"""Do walls hold? The dream is driven without looking, and asked how deep in walls it shows the car."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe.clips import Latents
from ..recipe.data import HELD_OUT_SEED
from ..recipe.on_policy import make
from .rig import Bench

DEEP_PX = 2.0
"""The teacher's walls stop the middle of a car to the pixel; two more are a scrape that does not show."""


def careless_drive(bench: Bench, rows: int, ticks: int) -> dict[str, Any]:
    """Free runs under `Careless`, from the road: the share of ticks deep in a wall, and of starts that ever are for
    a whole second."""
    generator = bench.generator(rows)
    seed = HELD_OUT_SEED // rows + 1
    episodes = make(generator, Latents(generator.tokenizer).of, bench.simulator, seed, ticks, off_road=False)
    deep = episodes.astray.numpy() > DEEP_PX
    second = [bool(np.convolve(row, np.ones(20), "valid").max() >= 20) for row in deep]
    return {
        "rows": rows, "ticks": ticks, "deep_share": float(deep.mean()), "stuck_rows": int(sum(second)),
        "deepest_px": float(episodes.astray.max()),
    }  # fmt: skip

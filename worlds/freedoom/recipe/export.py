"""Put trained weights where the keep is played from: `worlds/freedoom/`, safetensors, texels in float16.

    python -m nextframe.worlds.freedoom.recipe.export --run runs/freedoom

Also makes the seed clips that sessions start from: eight ticks of standing somewhere, as latents.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ....model.base.checkpoint import half, load_tensors
from .. import world as keep
from ..teacher.walk import Walk, Walkers
from .walks import CONDITION_DIM, anywhere

CLIPS, CLIP_TICKS = 48, 8
FIRST_START = (470.0, 260.0, 2.4)
"""In the court, looking over it: x, y in units, angle in radians."""
STORED_HALF = ("looks", "sky", "trunk")


def seed_clips() -> dict[str, torch.Tensor]:
    """The first is in the court, the others anywhere. `origins`: x, y, angle of each."""
    drawn = anywhere(Walk(), np.random.Generator(np.random.Philox(key=11)), CLIPS - 1)
    x, y, angle = (
        np.concatenate([[one], many]) for one, many in zip(FIRST_START, (drawn.x, drawn.y, drawn.angle), strict=True)
    )
    still = np.zeros(CLIPS)
    latents = torch.from_numpy(keep.latents_of(Walkers(x, y, angle, still, still)))
    return {
        "latents": latents[:, None].expand(-1, CLIP_TICKS, -1).contiguous(),
        "conditions": torch.zeros(CLIPS, CLIP_TICKS, CONDITION_DIM),
        "origins": torch.from_numpy(np.stack([x, y, angle], 1)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextframe.worlds.freedoom.recipe.export", description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/freedoom"))
    parser.add_argument("--to", type=Path, default=Path("worlds/freedoom"))
    options = parser.parse_args()
    tokenizer = load_tensors(options.run / "looks.safetensors")
    if (options.run / "reader.safetensors").exists():
        reader = load_tensors(options.run / "reader.safetensors")
        tokenizer |= {name: value for name, value in reader.items() if name.startswith("trunk.")}
    save_file(half(tokenizer, STORED_HALF), options.to / keep.TOKENIZER)
    save_file(half(load_tensors(options.run / keep.DYNAMICS), ()), options.to / keep.DYNAMICS)
    save_file(seed_clips(), options.to / keep.SEEDS)
    for name in (keep.TOKENIZER, keep.DYNAMICS, keep.SEEDS):
        print(f"{options.to / name}: {(options.to / name).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()

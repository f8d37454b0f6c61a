"""Put trained weights where the keep is played from: `worlds/freedoom/`, safetensors, texels in float16.

    python -m nextframe.worlds.freedoom.recipe.export --run runs/freedoom

Also makes the seed clips that sessions start from: eight ticks of standing somewhere, as latents.
"""

from __future__ import annotations

import numpy as np
import torch

from ...recipe.export import CLIP_TICKS, CLIPS, export, joined
from .. import world as keep
from ..teacher.walk import Walk, Walkers
from .walks import CONDITION_DIM, anywhere

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


def main(arguments: list[str] | None = None) -> None:
    export(
        "freedoom", __doc__, tensors=lambda run: joined(run, "looks", "reader", ("trunk.",)), maps=STORED_HALF,
        seeds=lambda to: seed_clips(), arguments=arguments,
    )  # fmt: skip


if __name__ == "__main__":
    main()

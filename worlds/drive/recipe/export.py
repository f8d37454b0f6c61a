"""Put trained weights where the world plays from: `worlds/drive/`, safetensors, maps in float16.

    python -m nextframe.worlds.drive.recipe.export --run runs/drive

Also makes the seed clips that sessions start from: eight ticks each of the teacher's drives, as latents.
"""

from __future__ import annotations

import torch

from ...recipe.export import CLIP_TICKS, CLIPS, export, joined, mood_of
from ..teacher.simulator import Controls, Simulator
from ..teacher.world import SEED_THROTTLE
from .data import condition, latents_of

MAPS = ("land", "far_land", "panorama", "textures", "screen")


def seed_clips() -> dict[str, torch.Tensor]:
    """The first is a clear day; then all twelve moods in turn. Starts on the road."""
    simulator = Simulator()
    latents, conditions, origins = [], [], []
    for number in range(CLIPS):
        seed = number + 1
        weather, time = mood_of(number)
        states = simulator.reset([seed], weather=weather, time=time)
        rows, given = [], []
        for _ in range(CLIP_TICKS):
            controls = Controls.of(throttle=SEED_THROTTLE)
            states = simulator.step(states, controls)
            rows.append(torch.from_numpy(latents_of(simulator, states))[0])
            given.append(torch.from_numpy(condition(controls, states))[0])
        latents.append(torch.stack(rows))
        conditions.append(torch.stack(given))
        origins.append([seed, weather, time, CLIP_TICKS])
    return {
        "latents": torch.stack(latents), "conditions": torch.stack(conditions), "origins": torch.tensor(origins),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    export(
        "drive", __doc__, tensors=lambda run: joined(run, "decoder", "encoder", ("trunk.", "find.")), maps=MAPS,
        seeds=lambda to: seed_clips(), arguments=arguments,
    )  # fmt: skip


if __name__ == "__main__":
    main()

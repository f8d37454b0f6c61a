"""Put trained weights where the world plays from: `worlds/drive/`, safetensors, maps in float16.

    python -m nextframe.worlds.drive.recipe.export --run runs/drive

Also makes the seed clips that sessions start from: eight ticks each of the teacher's drives, as latents.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from ....model.base.checkpoint import half, load_tensors
from .. import world as drive
from ..teacher.simulator import Controls, Simulator
from ..teacher.world import SEED_THROTTLE
from .data import condition, latents_of

CLIPS, CLIP_TICKS = 48, 8
MAPS = ("land", "far_land", "panorama", "textures", "screen")


def seed_clips() -> dict[str, torch.Tensor]:
    """The first is a clear day; then all twelve moods in turn. Starts on the road."""
    simulator = Simulator()
    latents, conditions, origins = [], [], []
    for number in range(CLIPS):
        seed = number + 1
        weather = number // 3 % 4 if number % 2 else 0
        time = number % 3 if number % 4 == 3 else 0
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/drive"))
    parser.add_argument("--to", type=Path, default=Path("worlds/drive"))
    options = parser.parse_args()
    decoder, encoder = (load_tensors(options.run / f"{part}.safetensors") for part in ("decoder", "encoder"))
    tokenizer = decoder | {name: value for name, value in encoder.items() if name.startswith(("trunk.", "find."))}
    save_file(half(tokenizer, MAPS), options.to / drive.TOKENIZER)
    save_file(half(load_tensors(options.run / drive.DYNAMICS), ()), options.to / drive.DYNAMICS)
    save_file(seed_clips(), options.to / drive.SEEDS)
    for name in (drive.TOKENIZER, drive.DYNAMICS, drive.SEEDS):
        print(f"{options.to / name}: {(options.to / name).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()

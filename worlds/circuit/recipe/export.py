"""Put trained weights where the world plays from: `worlds/circuit/`, safetensors, maps in float16.

    python -m nextframe.worlds.circuit.recipe.export --run runs/circuit

Also makes the seed clips: eight true frames each, read by the tokenizer, that sessions start from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ....model.base.checkpoint import half, load_tensors
from .. import world as circuit
from ..teacher.render import Renderer
from ..teacher.simulator import SEED_CONTROLS, TIMES, WEATHERS, Simulator
from .data import condition

CLIPS, CLIP_TICKS = 48, 8


def seed_clips(folder: Path) -> dict[str, torch.Tensor]:
    """The first is a clear day; then all twelve moods in turn. Starts with both cars in the open."""
    tokenizer, _ = circuit.load_networks(folder)
    tokenizer.eval()
    simulator, renderer = Simulator(), Renderer()
    latents: list[torch.Tensor] = []
    conditions: list[torch.Tensor] = []
    origins: list[list[int]] = []
    seed = 0
    while len(latents) < CLIPS:
        seed += 1
        number = len(latents)
        weather = WEATHERS[number // 3 % 4] if number % 2 else "clear"
        time = TIMES[number % 3] if number % 4 == 3 else "day"
        state = simulator.reset(seed, weather=weather, time=time)
        states, rows = [], []
        for _ in range(CLIP_TICKS):
            controls = SEED_CONTROLS
            state = simulator.step(state, controls)
            states.append(state)
            rows.append(condition(controls, state))
        if any(simulator.covered(car) for s in states for car in (s.player, s.rival)):
            continue
        with torch.no_grad():
            frames = torch.from_numpy(np.stack([renderer.draw(s) for s in states]))
            latents.append(tokenizer.encode(frames))
        conditions.append(torch.from_numpy(np.stack(rows)))
        origins.append([seed, WEATHERS.index(weather), TIMES.index(time), CLIP_TICKS])
    return {
        "latents": torch.stack(latents), "conditions": torch.stack(conditions),
        "origins": torch.tensor(origins),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/circuit"))
    parser.add_argument("--to", type=Path, default=Path("worlds/circuit"))
    options = parser.parse_args()
    tokenizer = load_tensors(options.run / circuit.TOKENIZER)
    save_file(half(tokenizer, ("mean", "basis", "ground", "open_sky", "project")), options.to / circuit.TOKENIZER)
    save_file(half(load_tensors(options.run / circuit.DYNAMICS), ()), options.to / circuit.DYNAMICS)
    save_file(seed_clips(options.to), options.to / circuit.SEEDS)
    for name in (circuit.TOKENIZER, circuit.DYNAMICS, circuit.SEEDS):
        print(f"{options.to / name}: {(options.to / name).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()

"""Put trained weights where the world plays from: `worlds/circuit/`, safetensors, maps in float16.

    python -m nextframe.worlds.circuit.recipe.export --run runs/circuit

Also makes the seed clips: eight true frames each, read by the tokenizer, that sessions start from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ....model.base.checkpoint import load_tensors
from ...recipe.export import CLIP_TICKS, CLIPS, export, mood_of
from .. import world as circuit
from ..teacher.render import Renderer
from ..teacher.simulator import SEED_CONTROLS, TIMES, WEATHERS, Simulator
from .data import condition

MAPS = ("mean", "basis", "ground", "open_sky", "project")


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
        weather, time = mood_of(len(latents))
        state = simulator.reset(seed, weather=WEATHERS[weather], time=TIMES[time])
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
        origins.append([seed, weather, time, CLIP_TICKS])
    return {
        "latents": torch.stack(latents), "conditions": torch.stack(conditions),
        "origins": torch.tensor(origins),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    export(
        "circuit", __doc__, tensors=lambda run: load_tensors(run / circuit.TOKENIZER), maps=MAPS, seeds=seed_clips,
        arguments=arguments,
    )  # fmt: skip


if __name__ == "__main__":
    main()

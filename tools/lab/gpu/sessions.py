"""Sessions of the shipped circuit on a device, for checks and measurements: the same inputs every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....model.base.checkpoint import load_tensors
from ....model.generator.graphs import CudaGraphs, GraphedGenerator, NoGraphs, Recorder
from ....model.generator.ticks import RollingGenerator
from ....worlds.circuit.world import SEEDS, load_networks
from .queue import ROOT

FOLDER = ROOT / "worlds" / "circuit"
SEED = 7


def recorder_for(device: torch.device) -> Recorder:
    return CudaGraphs(device) if device.type == "cuda" else NoGraphs()


def generator(device: torch.device, kind: str = "eager", **options: Any) -> RollingGenerator:
    """`eager` gathers what it sees; `fixed` reads whole memory at one place; `graphs` replays."""
    tokenizer, dynamics = load_networks(FOLDER, str(device))
    if kind == "graphs":
        return GraphedGenerator(tokenizer, dynamics, recorder_for(device), **options)
    return RollingGenerator(tokenizer, dynamics, fixed_shape=kind == "fixed", **options)


def conditions(ticks: int, rows: int = 1) -> Tensor:
    """Careless driving, weather and hour now and then, `(ticks, rows, condition_dim)`."""
    rng = np.random.Generator(np.random.Philox(key=11))
    made = np.zeros((ticks, rows, 11), np.float32)
    for row in range(rows):
        steer, throttle, weather, hour = 0.0, 1.0, 0, 0
        for tick in range(ticks):
            if rng.random() < 0.1:
                steer, throttle = float(rng.integers(-1, 2)), float(rng.random() < 0.8)
            if rng.random() < 0.02:
                weather, hour = int(rng.integers(4)), int(rng.integers(3))
            made[tick, row, :3] = steer, throttle, 1 - throttle
            made[tick, row, [4 + weather, 8 + hour]] = 1
    return torch.from_numpy(made)


def prefill(one: RollingGenerator) -> None:
    seeds, rows = load_tensors(FOLDER / SEEDS), len(one.last)
    one.prefill(seeds["latents"][:1].expand(rows, -1, -1), seeds["conditions"][:1].expand(rows, -1, -1))


@torch.inference_mode()
def play(one: RollingGenerator, ticks: int, steps: int = 4) -> tuple[Tensor, Tensor]:
    """Committed latents `(ticks, rows, latent_dim)` and frames, on the host."""
    prefill(one)
    latents, frames = [], []
    for given in conditions(ticks, len(one.last)):
        latent = tick(one, given.to(one.device), steps)
        frames.append(one.decode(latent).cpu())
        latents.append(latent.cpu())
    return torch.stack(latents), torch.stack(frames)


def tick(one: RollingGenerator, condition: Tensor, steps: int) -> Tensor:
    job = one.start(condition, SEED, steps)
    while job.can_step:
        job.step()
    latent = job.finish()
    one.commit(latent, condition)
    return latent


def psnr_db(a: Tensor, b: Tensor) -> float:
    """Of uint8 frames; 99 where they are the same."""
    error = float((a.float() - b.float()).square().mean())
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def info() -> Any:
    """What a `NeuralWorld` is given; not from the world's file, whose checks need more packages than this queue."""
    from fractions import Fraction

    from ....runtime.core import ActionSpace, WorldInfo

    prompts = {"weather": ("clear", "rain", "snow", "fog"), "time": ("day", "dusk", "night")}
    space = ActionSpace(("handbrake",), ("steer", "throttle", "brake"), prompts)
    return WorldInfo("circuit", 256, 192, Fraction(20), (1, 2, 4), space, "", "")

"""The evaluation's rig: the teacher, its pictures and the networks, and the few moves every measurement shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....model.generator.ticks import RollingGenerator
from ....model.tokenizers.scenes.still import POSITION_SCALE_PX, SLOT_DIM
from .. import world as circuit
from ..teacher.render import Renderer
from ..teacher.simulator import Car, Simulator, State
from ..teacher.track import HEIGHT_PX, WIDTH_PX

LADDER = (1, 2, 4)


PAST_TICKS = 32


NDArrayFrames = Any


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: the teacher, its pictures, the networks."""

    simulator: Simulator
    renderer: Renderer
    folder: Path

    def generator(self, rows: int, window: int | None = None) -> RollingGenerator:
        tokenizer, dynamics = circuit.load_networks(self.folder)
        return RollingGenerator(tokenizer, dynamics, rows=rows, window=window)

    def frames(self, states: list[State]) -> NDArrayFrames:
        return np.stack([self.renderer.draw(state) for state in states])

    def encode(self, generator: RollingGenerator, frames: NDArrayFrames) -> Tensor:
        with torch.inference_mode():
            return torch.cat(
                [
                    generator.tokenizer.encode(torch.from_numpy(part))
                    for part in np.array_split(frames, max(1, len(frames) // 32))
                ]
            )


def denoise(generator: RollingGenerator, given: Tensor, steps: int, seed: int = 7) -> Tensor:
    job = generator.start(given, seed, steps)
    while job.can_step:
        job.step()
    return job.finish()


def car_of(last: Tensor, before: Tensor, slot: int) -> Car | None:
    """The car a latent shows, with its speed from the latent before; None while hidden."""
    a, b = (z[-2 * SLOT_DIM :].view(2, SLOT_DIM)[slot].tolist() for z in (last, before))
    if a[4] < 0:
        return None
    x, y = a[0] * POSITION_SCALE_PX + WIDTH_PX / 2, a[1] * POSITION_SCALE_PX + HEIGHT_PX / 2
    heading = math.atan2(a[3], a[2])
    if b[4] < 0:
        return Car(x, y, heading, 3 * math.cos(heading), 3 * math.sin(heading), float(a[5] > 0))
    return Car(x, y, heading, (a[0] - b[0]) * POSITION_SCALE_PX, (a[1] - b[1]) * POSITION_SCALE_PX, float(a[5] > 0))

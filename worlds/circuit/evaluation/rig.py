"""The evaluation's rig: the teacher, its pictures and the networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....model.generator.ticks import RollingGenerator
from .. import world as circuit
from ..teacher.render import Renderer
from ..teacher.simulator import Simulator, State

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

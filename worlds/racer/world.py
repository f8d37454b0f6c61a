"""The race track as a playable world: its network, at its size, filled from the shipped weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...model.base.checkpoint import CheckpointError, load_into, load_tensors, sha256
from ...model.diffusion.levels import Schedule
from ...model.dynamics.unet import UNet, UNetConfig
from ...model.generator.images import ImageGenerator
from ...model.generator.protocol import Start
from ...runtime.core import Clock, WeightsError, WorldInfo
from ..neural.world import NeuralWorld

RacerWorld: TypeAlias = NeuralWorld[ImageGenerator]

NETWORK, SEEDS = "network.safetensors", "seeds.safetensors"
SCHEDULE = Schedule()


@dataclass(frozen=True)
class FrameClips:
    """Short true pasts that sessions start from. `frames`: `(clips, ticks, height, width, 3)` uint8. `controls`:
    `(clips, ticks, 3)` float32, those that led into each frame."""

    frames: NDArray[np.uint8]
    controls: Tensor

    def start(self, seed: int) -> Start:
        clip = seed % len(self.frames)
        return Start(frames=self.frames[clip], controls=self.controls[clip])


def network_config() -> UNetConfig:
    return UNetConfig(height=64, width=64, condition_dim=3)


def weights_sha256(folder: Path) -> str:
    try:
        return sha256([folder / NETWORK, folder / SEEDS])
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def load_network(folder: Path) -> UNet:
    """The network from a folder with its safetensors file."""
    net = UNet(network_config())
    try:
        load_into(net, folder / NETWORK)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return net


def load_seeds(folder: Path) -> FrameClips:
    path = folder / SEEDS
    try:
        stored = load_tensors(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in stored.items()}
    config = network_config()
    frames, controls = stored.get("frames"), stored.get("controls")
    if (
        frames is None or controls is None or frames.dtype != torch.uint8 or frames.dim() != 5
        or frames.shape[2:] != (config.height, config.width, 3) or frames.shape[1] < config.past
        or controls.shape != (*frames.shape[:2], config.condition_dim)
    ):  # fmt: skip
        raise WeightsError(
            f"{path}: expected frames (clips, {config.past} or more, {config.height}, {config.width}, 3) uint8 and "
            f"controls (clips, as many, {config.condition_dim}), got {found}"
        )
    return FrameClips(frames.numpy(), controls)


def build(info: WorldInfo, folder: Path, clock: Clock | None = None, *, device: str = "cpu",
          window: int | None = None) -> RacerWorld:  # fmt: skip
    """`window`: see no further back in the memory than so many ticks, 0 for none of it."""
    net = load_network(folder).to(device)
    generator = ImageGenerator(net, schedule=SCHEDULE, ladder=info.ladder, window=window)
    return RacerWorld(info, generator, load_seeds(folder), {}, clock)

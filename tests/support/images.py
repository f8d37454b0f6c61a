"""A small U-Net of random weights that answers, and pasts for it."""

from __future__ import annotations

import numpy as np
import torch

from nextframe.model.dynamics.unet import UNet, UNetConfig
from nextframe.model.generator.images import ImageGenerator
from nextframe.model.generator.protocol import Start

SMALL_UNET = UNetConfig(
    height=16, width=24, condition_dim=2, past=2, channels=(16, 32), down=(1, 1), up=(1, 1), middle=1, embedding=16,
    heads=2, window=3, stride=2, sink=1,
)  # fmt: skip


def random_unet(config: UNetConfig = SMALL_UNET, seed: int = 0) -> UNet:
    """As training begins, but nothing is zero: what starts at zero would answer to no input."""
    torch.manual_seed(seed)
    net = UNet(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def image_generator(window: int | None = None, dtype: torch.dtype | None = torch.float32) -> ImageGenerator:
    return ImageGenerator(random_unet(), window=window, dtype=dtype)


def image_start(seed: int, ticks: int = 4, config: UNetConfig = SMALL_UNET) -> Start:
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (ticks, config.height, config.width, 3), np.uint8)
    controls = torch.from_numpy(random.uniform(-1, 1, (ticks, config.condition_dim)).astype(np.float32))
    return Start(frames=frames, controls=controls)

"""A small causal decoder from latents to frames, with random weights: 8 times in space, 4 times in time.

The shape is that of the tiny autoencoders for video (TAEHV): 3x3 convolutions, blocks that also see their own input
of the frame before, growth in time by a 1x1 convolution. Streams exactly: the input of each such block is kept from
one latent to the next, in place, so that a latent costs the same whenever it comes and the decoder can be captured.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from .net import LargeConfig

BLOCKS = 3
"""Per resolution."""


class Remembering(nn.Module):
    """A residual block over this frame and the one before. `before`: `(1, width, height, width_px)`, in place."""

    before: Tensor

    def __init__(self, width: int, height_px: int, width_px: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * width, width, 3, padding=1)
        self.second, self.third = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.register_buffer("before", torch.zeros(1, width, height_px, width_px))

    def forward(self, x: Tensor) -> Tensor:
        """Frames in order, `(time, width, height, width_px)`."""
        past = torch.cat([self.before, x[:-1]])
        y = F.relu(self.first(torch.cat([x, past], 1)))
        y = F.relu(x + self.third(F.relu(self.second(y))))
        self.before.copy_(x[-1:])
        return y


class Stage(nn.Module):
    """Blocks at one resolution, then twice the pixels and `growth` times the frames."""

    def __init__(self, widths: tuple[int, int], size: tuple[int, int], growth: int) -> None:
        super().__init__()
        width, after = widths
        self.growth = growth
        self.blocks = nn.Sequential(*(Remembering(width, *size) for _ in range(BLOCKS)))
        self.grow = nn.Conv2d(width, width * growth, 1, bias=False)
        self.narrow = nn.Conv2d(width, after, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grow(F.interpolate(self.blocks(x), scale_factor=2, mode="nearest"))
        if self.growth > 1:  # by way of channels last, so that the one copy it takes leaves them last
            x = x.permute(0, 2, 3, 1).unflatten(3, (self.growth, -1)).permute(0, 3, 1, 2, 4)
            x = x.flatten(0, 1).permute(0, 3, 1, 2)
        return self.narrow(x)


class LargeDecoder(nn.Module):
    """One latent `(channels, height, width)` to frames `(frames_per_latent, height_px, width_px, 3)` uint8."""

    def __init__(self, config: LargeConfig) -> None:
        super().__init__()
        self.config = config
        widths, (channels, high, wide) = config.decoder_widths, config.latent_shape
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            Stage((widths[at], widths[at + 1]), (high << at, wide << at), growth) for at, growth in enumerate((1, 2, 2))
        )
        self.leave = nn.Conv2d(widths[3], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents in order, `(time, channels, height, width)`."""
        dtype = self.enter.weight.dtype
        x = torch.tanh(latents / 3) * 3
        x = F.relu(self.enter(x.to(dtype, memory_format=torch.channels_last)))
        for stage in self.stages:
            x = stage(x)
        image = torch.sigmoid(self.leave(F.relu(x)).float())
        return (image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def forget(self) -> None:
        """A new session."""
        for module in self.modules():
            if isinstance(module, Remembering):
                module.before.zero_()

    @property
    def parameters_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def flop(self) -> int:
        """Of one latent: 2 per multiplication of the convolutions."""
        total, frames, area = 0, 1, self.config.latent_height * self.config.latent_width
        total += _conv_flop(self.enter, area)
        for part in self.stages:
            stage = cast(Stage, part)
            block = sum(_conv_flop(c, area) for m in stage.blocks for c in m.modules() if isinstance(c, nn.Conv2d))
            area *= 4
            total += frames * (block + _conv_flop(stage.grow, area))
            frames *= stage.growth
            total += frames * _conv_flop(stage.narrow, area)
        return total + frames * _conv_flop(self.leave, area)


def _conv_flop(conv: nn.Conv2d, area_px: int) -> int:
    return 2 * area_px * conv.weight.numel()

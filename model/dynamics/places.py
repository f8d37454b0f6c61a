"""What a network is told of a place: waves of fixed lengths, and grids that it fills itself."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..base.devices import constant
from ..tokenizers.scenes.still import POSITION_SCALE_PX

PLACE_WAVES_PX = (512.0, 256.0, 128.0, 64.0, 32.0, 16.0, 8.0)
PLACE_FREQUENCIES = tuple(2 * math.pi * POSITION_SCALE_PX / w for w in PLACE_WAVES_PX)
PLACE_DIM = 4 * len(PLACE_WAVES_PX)


def place_features(slots: Tensor) -> Tensor:
    """Sines and cosines of where each slot is, `(..., 6)` to `(..., PLACE_DIM)`; float32 keeps them exact."""
    lengths = constant(PLACE_FREQUENCIES, slots.device)
    angle = slots[..., :2, None] * lengths
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(-2)


class PlaneConfig(NamedTuple):
    """A grid over the world: `rows` by `columns` knots around its middle, `spacing` apart in a place's units."""

    rows: int
    columns: int
    spacing: float
    channels: int


class Planes(nn.Module):
    """Learned features of a place: grids from coarse to fine, read bilinearly (as Convolutional Occupancy Networks read
    theirs, Peng et al. 2020). Where a fence stands is then a matter of a few knots, not of every weight."""

    def __init__(self, configs: tuple[PlaneConfig, ...]) -> None:
        super().__init__()
        self.grids = nn.ParameterList(
            nn.Parameter(torch.randn(1, c.channels, c.rows, c.columns) * 0.1) for c in configs
        )
        self.reaches = tuple(((c.columns - 1) * c.spacing / 2, (c.rows - 1) * c.spacing / 2) for c in configs)
        self.dim = sum(c.channels for c in configs)

    def forward(self, slots: Tensor) -> Tensor:
        """Slots `(..., slots, 6)` to what lies where they are, `(..., slots, dim)`; beyond a grid its edge goes on."""
        places = slots[..., :2].flatten(0, -2).float()
        read = [
            F.grid_sample(
                grid.float(),
                (places / constant(reach, places.device))[None, None],
                padding_mode="border",
                align_corners=True,
            )[0, :, 0]
            for grid, reach in zip(self.grids, self.reaches, strict=True)
        ]
        return torch.cat(read).T.unflatten(0, slots.shape[:-1])

"""What can be read off pictures of a place: how far the view turned, and how sharp it is.

Frames are `(..., height, width, 3)` uint8.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

VIEW_DEGREES = 90.0
"""From side to side of the picture: the engine's own."""
FURTHEST = 0.4
"""A picture is not looked for further to a side than this share of its width."""
FINER = 4
"""Shifts are read to this part of a pixel."""


def shifts(frames: Tensor) -> NDArray[np.float64]:
    """How many pixels the middle of the picture moved to the left from each frame to the next, `(rows, ticks - 1)`:
    where the columns of one lie in the other. `frames`: `(rows, ticks, height, width, 3)`."""
    grey = frames.float().mean(-1)
    height, width = grey.shape[-2:]
    bands = functional.interpolate(
        grey[..., height // 4 : 3 * height // 4, :].flatten(0, 1), FINER * width, mode="linear", align_corners=False
    ).unflatten(0, grey.shape[:2])
    most = int(FURTHEST * bands.shape[-1])
    before, after = bands[:, :-1], bands[:, 1:]
    errors = []
    for shift in range(-most, most + 1):
        a, b = (before[..., shift:], after[..., : after.shape[-1] - shift]) if shift >= 0 else (
            before[..., :shift], after[..., -shift:])  # fmt: skip
        errors.append((a - b).square().mean((-1, -2)))
    return (torch.stack(errors).argmin(0) - most).double().numpy() / FINER


def legible(moved: NDArray[np.float64], asked_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a picture shows the turn that was asked for. A blank or repeating wall does not show it."""
    return np.abs(moved - asked_px) <= np.maximum(0.75, 0.3 * np.abs(asked_px))


def turned_px(width_px: int, degrees: float) -> float:
    """What a turn moves the middle of the picture by."""
    focal_px = width_px / 2 / math.tan(math.radians(VIEW_DEGREES / 2))
    return focal_px * math.tan(math.radians(degrees))


def edges(frames: Tensor) -> float:
    """Edge energy: the mean square of differences between neighbours."""
    image = frames.float() / 255
    return float(image.diff(dim=-2).square().mean() + image.diff(dim=-3).square().mean())


def db(error: Tensor) -> float:
    """PSNR of a mean squared error on 0..1."""
    return round(float(-10 * torch.log10(error.clamp(min=1e-10))), 3)

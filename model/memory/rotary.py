"""Rotary embedding of ages and positions in ticks: angles from small whole numbers, in float32, without a table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

Rotary: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Positions in ticks `(n,)` to cosines and sines `(n, head_dim / 2)`."""


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the last dimension, halves paired."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def rotary_of(head_dim: int) -> Rotary:
    """The rotation of heads of this size."""
    return partial(_angles, head_dim // 2)


def _angles(half: int, positions: Tensor) -> tuple[Tensor, Tensor]:
    frequency = torch.pi / 2 * (1 / 100.0) ** (torch.arange(half, device=positions.device) / half)
    angle = positions[:, None].float() * frequency
    return angle.cos(), angle.sin()
